"""(m) The frozen program beside the source tree: its start, its size, and what it gives up for running everywhere.

It is measured as `make binary` has left it in ``dist`` (or where ``BOTFRAMEWORK_DIST`` says): one folder, as the
extension carries it, and one file. The peer is the daemon of this checkout, whose llama.cpp was compiled for the
processor of this very machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.decode import tokens_per_second
from bench.report import Report, Row, spread
from bench.setting import HERE, SOURCE_TREE, daemon_command, running
from bench.start import seconds_to_initialize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.setting import Setting
    from botframework.demo.editor import Editor

DIST = Path(os.environ.get("BOTFRAMEWORK_DIST") or HERE.parents[1] / "dist")
ONE_FOLDER = DIST / "botframework" / "botframework"
ONE_FILE = DIST / "onefile" / "botframework"
START_RATIO = 1.3
SIZE_MB = 120
SPEED_RATIO = 0.9
STARTS = 20
COPIES = 10
DECODES = 6
PROMPTS = 6
FUNCTIONS = "\n".join(f"def function_{number}(a, b):\n    return a * {number} + b\n" for number in range(20))
"""Some 350 tokens."""


def measure(setting: Setting) -> Report:
    """Start, size and speed."""
    title, peer = "the frozen program", "source tree"
    if not (ONE_FOLDER.exists() and ONE_FILE.exists()):
        return Report("m", title, peer, [], f"There is no {ONE_FOLDER} or no {ONE_FILE}: make binary.")
    starts, note = measure_starts(setting)
    return Report("m", title, peer, [*starts, *measure_sizes(), *measure_speeds(setting)], note)


def measure_starts(setting: Setting) -> tuple[list[Row], str]:
    """All of them in turn, so that what else the machine does meets each."""
    programs = {"source": SOURCE_TREE, "folder": (str(ONE_FOLDER),), "file": (str(ONE_FILE),)}
    took: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        seconds_to_initialize(daemon_command(program=program))  # Writes the bytecode and warms the page cache.
    for _ in range(setting.times(STARTS)):
        for name, program in programs.items():
            took[name].append(seconds_to_initialize(daemon_command(program=program)) * 1000)
    copied = [milliseconds(copy_folder) for _ in range(setting.times(COPIES))]
    unpacking = [whole - program for whole, program in zip(took["file"], took["folder"], strict=True)]
    source = statistics.median(took["source"])
    folder, file = (statistics.median(took[name]) / source for name in ("folder", "file"))
    what = "`initialize` answered after spawn"
    rows = [
        Row(
            f"{what}, one folder",
            spread(took["folder"]),
            spread(took["source"]),
            folder,
            f"<= {START_RATIO}",
            folder <= START_RATIO,
        ),
        Row(f"{what}, one file", spread(took["file"]), spread(took["source"]), file),
        Row("of it for unpacking (less one folder's time)", spread(unpacking)),
        Row("copying the one folder on this disk", spread(copied)),
    ]
    files = [path for path in ONE_FOLDER.parent.rglob("*") if path.is_file()]
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    return rows, f"One folder: {megabytes:.0f} MB in {len(files)} files. {setting.model_name}."


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def copy_folder() -> None:
    """As many files and bytes as the one file unpacks, to where it unpacks them."""
    with tempfile.TemporaryDirectory(prefix="bf-") as target:
        shutil.copytree(ONE_FOLDER.parent, Path(target) / "copy", symlinks=True)


def measure_sizes() -> list[Row]:
    """What is downloaded."""
    rows = []
    for what, size in (("size of one file", ONE_FILE.stat().st_size), ("one folder, deflated", deflated_bytes())):
        rows.append(Row(what, f"{size / 1e6:.1f} MB", "", None, f"<= {SIZE_MB} MB", size <= SIZE_MB * 1e6))
    return rows


def deflated_bytes() -> int:
    """The one folder in a zip archive, as which an extension is published."""
    with tempfile.TemporaryFile() as archive:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(ONE_FOLDER.parent.rglob("*")):
                packed.write(path, path.relative_to(ONE_FOLDER.parent))
        return archive.seek(0, 2)


def measure_speeds(setting: Setting) -> list[Row]:
    """Two daemons with a worker each, of which only one computes at a time."""
    model = ("--model", str(setting.model))
    with (
        # A runtime folder of its own, or the second daemon would find the first one's worker and use that.
        tempfile.TemporaryDirectory(prefix="bf-") as runtime,
        running(*model) as (native, ready),
        running(*model, program=("env", f"BOTFRAMEWORK_RUNTIME_DIR={runtime}", str(ONE_FOLDER))) as (portable, _),
    ):
        decoding = in_turn(
            portable, native, lambda editor, number: tokens_per_second(editor, number)[0], setting.times(DECODES)
        )
        reading = in_turn(portable, native, prompt_rate, setting.times(PROMPTS))
    threads = f"{ready['nThreads']} thread(s)"
    return [
        speed_row(f"decode, portable llama.cpp, {threads}", *decoding),
        speed_row(f"reading a prompt, portable llama.cpp, {threads}", *reading),
    ]


def in_turn(
    portable: Editor, native: Editor, rate: Callable[[Editor, int], float], rounds: int
) -> tuple[list[float], list[float]]:
    """The rates of both, after a round that does not count; who is first changes from round to round."""
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            value = rate((portable, native)[which], number)
            if number:
                found[which].append(value)
    return found


def prompt_rate(editor: Editor, number: int) -> float:
    """Tokens per second of a prompt of which nothing is in the cache."""
    answer = editor.request(
        "botframework/complete",
        {
            "prefix": f"# {number}\n{FUNCTIONS}",
            "maxTokens": 1,
            "deadlineMs": 120_000,
            "sampling": {"temperature": 0.0},
        },
    )
    rate: float = answer["usage"]["evaluatedTokens"] / answer["timings"]["promptMs"] * 1000
    return rate


def speed_row(what: str, ours: Sequence[float], native: Sequence[float]) -> Row:
    """With the median of the rounds' ratios: what else the machine does changes, and meets both of a round."""
    ratio = statistics.median(mine / other for mine, other in zip(ours, native, strict=True))
    unit = "tokens/s"
    return Row(what, spread(ours, unit), spread(native, unit), ratio, f">= {SPEED_RATIO}", ratio >= SPEED_RATIO)
