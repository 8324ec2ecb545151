"""Holes in files that the embedded model was not trained on.

The model's manifest names every file of its corpus with digest and split. With the corpus at hand
(``packaging/embedded_model/corpus.py``) its held-out files are taken; without it, what is installed beside the project
and belongs to no package of the corpus, or is one of its held-out files.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import lzma
import random
import sysconfig
import tokenize
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[3]
MANIFEST = ROOT / "packaging" / "embedded_model" / "manifest.tsv.xz"
FILE_BYTES = (2_000, 200_000)
"""Below it a file has no window to speak of, above it it is a table."""
LONGEST_LINE = 300
MIN_LINES_BEFORE = 16
"""A hole has so many lines above it: as far as an anchor may be behind."""
MIN_REST = 4
"""Characters that a hole misses at least."""
BLANKS = " \t"

Kind = Literal["inside a word", "after whitespace", "token border", "line start"]
KINDS: tuple[Kind, ...] = ("inside a word", "after whitespace", "token border", "line start")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A line of a file in which cursors will stand: offsets of its start and of its end, blanks there not counted."""

    file: SourceFile
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hole:
    """A cursor in a line; what is missing goes to the line's end."""

    kind: Kind
    at: int


class Manifest:
    """What the embedded model has seen."""

    def __init__(self, path: Path = MANIFEST) -> None:
        rows = list(csv.DictReader(io.StringIO(lzma.decompress(path.read_bytes()).decode()), delimiter="\t"))
        self.trained = {row["sha256"] for row in rows if row["split"] == "train"}
        self.heldout = {row["sha256"] for row in rows if row["split"] == "heldout"}
        self.packages = {_plain(row["package"]) for row in rows if row["split"] == "train"}

    def is_unseen(self, package: str, data: bytes) -> bool:
        """Whether no version of this file was trained on; of a package in the corpus only the digest proves it."""
        digest = hashlib.sha256(data).hexdigest()
        return digest in self.heldout or (digest not in self.trained and _plain(package) not in self.packages)


def from_corpus(folder: Path, manifest: Manifest) -> list[SourceFile]:
    """The held-out files of the corpus.

    Raises
    ------
    ValueError
        One of them is not what the manifest holds out.
    """
    offsets = np.load(folder / "heldout.offsets.npy")
    blob = (folder / "heldout.bin").read_bytes()
    names = json.loads((folder / "heldout.json").read_text(encoding="utf-8"))["names"]
    files = []
    for index, name in enumerate(names):
        data = blob[offsets[index] : offsets[index + 1]]
        if hashlib.sha256(data).hexdigest() not in manifest.heldout:
            raise ValueError(f"{name} in {folder} is not among the held-out files of the manifest")
        files.append(SourceFile(name, data.decode()))
    return files


def from_installed(manifest: Manifest) -> list[SourceFile]:
    """Unseen files of this environment, of the standard library and of this project, in a fixed order."""
    files, digests = [], set()
    for package, path in sorted(_installed()):
        try:
            data = path.read_bytes()
        except OSError:
            continue
        digest = hashlib.sha256(data).digest()
        if FILE_BYTES[0] <= len(data) <= FILE_BYTES[1] and digest not in digests and manifest.is_unseen(package, data):
            digests.add(digest)
            try:
                files.append(SourceFile(f"{package}/{path.name}", data.decode()))
            except UnicodeDecodeError:
                continue
    return files


def _installed() -> Iterator[tuple[str, Path]]:
    for distribution in metadata.distributions():
        for file in distribution.files or ():
            if file.suffix == ".py" and "_vendor" not in file.parts:
                yield distribution.metadata["Name"], Path(str(distribution.locate_file(file)))
    for path in (ROOT / "daemon").rglob("*.py"):
        yield "botframework", path
    # All of it counts as one package of the corpus: only the held-out files will pass.
    for path in Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"):
        if "site-packages" not in path.parts:
            yield "cpython", path


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def draw(files: Sequence[SourceFile], count: int, seed: int) -> list[Spot]:
    """Lines of code, spread over the files: one of each file in random order, then a second one, and so on."""
    source = random.Random(seed)
    pools = []
    for file in files:
        if spots := _spots(file):
            source.shuffle(spots)
            pools.append(spots)
    drawn: list[Spot] = []
    while pools and len(drawn) < count:
        source.shuffle(pools)
        drawn += [pool.pop() for pool in pools]
        pools = [pool for pool in pools if pool]
    return drawn[:count]


def _spots(file: SourceFile) -> list[Spot]:
    """Lines that hold code, not at the file's start, with something before and after them."""
    if "\r" in file.text:
        return []
    numbers: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
            if token.type in {tokenize.NAME, tokenize.OP}:
                numbers.add(token.start[0] - 1)
    except (tokenize.TokenError, SyntaxError):
        return []
    spots, start = [], 0
    for number, line in enumerate(file.text.split("\n")):
        content = line.rstrip()
        is_code = number in numbers and len(content.strip()) > MIN_REST and len(line) <= LONGEST_LINE
        if is_code and number >= MIN_LINES_BEFORE and start + len(line) < len(file.text):
            spots.append(Spot(file, start, start + len(content)))
        start += len(line) + 1
    return spots


def cursors(spot: Spot, borders: set[int], seed: int) -> list[Hole]:
    """One cursor of each kind, where the line has a place for it.

    Parameters
    ----------
    spot
        The line.
    borders
        Offsets in the line at which one token ends and another begins.
    seed
        The same one draws the same cursors.
    """
    text, start = spot.file.text, spot.start
    line = text[start : spot.end]
    source = random.Random(f"{seed} {spot.file.name} {start}")
    places: dict[Kind, list[int]] = {kind: [] for kind in KINDS}
    for at in range(1, len(line) - MIN_REST + 1):
        if (kind := _kind(line, at, borders)) is not None:
            places[kind].append(at)
    places["line start"] = [0]
    return [Hole(kind, start + source.choice(found)) for kind, found in places.items() if found]


def _kind(line: str, at: int, borders: set[int]) -> Kind | None:
    before, after = line[at - 1], line[at]
    if before in BLANKS:
        return None if after in BLANKS else "after whitespace"
    if _is_word(before) and _is_word(after):
        return "inside a word"
    return "token border" if at in borders else None


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def line_start(text: str, at: int, lines: int) -> int:
    """Where the line begins that is so many lines above the one of an offset."""
    start = text.rfind("\n", 0, at) + 1
    for _ in range(lines):
        start = text.rfind("\n", 0, max(0, start - 1)) + 1
    return start
