"""Real source files to type in, found on any machine: the running Python's standard library and its C headers."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

N_DOCUMENTS = 8
STDLIB = (
    "argparse.py",
    "ast.py",
    "configparser.py",
    "csv.py",
    "dataclasses.py",
    "difflib.py",
    "http/client.py",
    "json/decoder.py",
    "pickle.py",
    "shutil.py",
    "statistics.py",
    "subprocess.py",
    "tarfile.py",
    "textwrap.py",
    "threading.py",
)
"""Modules of some length that every Python from 3.11 on has."""
HEADERS = ("cpython/object.h", "modsupport.h", "object.h", "pymacro.h", "unicodeobject.h")
"""Braces and another indentation; only where Python's headers are installed."""
MAX_HEADERS = 2

REGIONS = 2
"""Places in each document that are typed again."""
REGION_CHARS = (250, 900)
MARGIN_LINES = 30
"""Kept above and below a region, so that there is something to read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the whole lines in it that will be typed: (start, end) offsets, each end before its line end."""

    name: str
    text: str
    regions: tuple[tuple[int, int], ...]


def candidates() -> list[Path]:
    """The files that this machine has."""
    paths = sysconfig.get_paths()
    found = [Path(paths["stdlib"]) / name for name in STDLIB]
    found += [Path(paths["include"]) / name for name in HEADERS]
    return [path for path in found if path.is_file()]


def language_of(name: str) -> str:
    """The LSP's language id."""
    return "c" if name.endswith(".h") else "python"


def choose(random_source: random.Random, count: int, files: Sequence[Path] | None = None) -> list[Source]:
    """Draw so many files with regions to type in.

    Raises
    ------
    LookupError
        There are too few files of enough length.
    """
    pool = list(candidates() if files is None else files)
    random_source.shuffle(pool)
    chosen: list[Source] = []
    for path in pool:
        n_headers = sum(source.name.endswith(".h") for source in chosen)
        if path.suffix == ".h" and n_headers == MAX_HEADERS:
            continue
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
        regions = choose_regions(random_source, text)
        if len(regions) == REGIONS:
            chosen.append(Source("/".join(path.parts[-2:]), text, regions))
        if len(chosen) == count:
            return chosen
    raise LookupError(f"only {len(chosen)} of {count} source files are long enough")


def choose_regions(random_source: random.Random, text: str) -> tuple[tuple[int, int], ...]:
    """Whole lines in different parts of the text, the upper part first."""
    lines = text.splitlines(keepends=True)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    part = (len(lines) - 2 * MARGIN_LINES) // REGIONS
    found = []
    for number in range(REGIONS):
        low = MARGIN_LINES + number * part
        starts = [index for index in range(low, low + part - MARGIN_LINES) if lines[index].strip()]
        if not starts:
            continue
        first = random_source.choice(starts)
        wanted = random_source.randint(*REGION_CHARS)
        enough = (index for index in range(first, low + part) if offsets[index + 1] - offsets[first] >= wanted)
        last = next(enough, None)
        if last is not None and lines[last].strip():
            found.append((offsets[first], offsets[last + 1] - 1))
    return tuple(found)
