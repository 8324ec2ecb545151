"""``make bench``: every benchmark beside its peer, in one run. ``ARGS="c d --quick"`` chooses and shortens.

The tables go to the terminal, and behind them the same as Markdown. Models, the peer's build and the picture of (g) are
kept in ``tests/artefacts``; a first run needs the network and, for (g), a compiler; (m) needs what `make binary` makes.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench import busy, cancel, decode, frames, frozen, ghost_paint, pull, start
from bench.keystrokes import accepting, beside_chat, restart, typing_session
from bench.quality import comparison
from bench.report import Report, markdown, show
from bench.setting import CACHE, EMBEDDED, Setting
from support.gguf_factory import qwen_shape
from support.llama_sdist import OfflineError

BENCHES = {
    "a": start.measure_start,
    "b": start.measure_memory,
    "c": decode.measure,
    "d": cancel.measure,
    "e": frames.measure,
    "f": busy.measure,
    "g": typing_session.measure,
    "h": beside_chat.measure,
    "i": restart.measure,
    "j": accepting.measure,
    "k": ghost_paint.measure,
    "l": pull.measure,
    "m": frozen.measure,
    "q": comparison.measure,
}


def pick_model(choice: str, console: Console) -> tuple[Path, str]:
    """The model to measure with: a file, the embedded one, or one of the real thing's shape, made once."""
    if choice == "embedded":
        return EMBEDDED, "embedded model"
    if choice != "qwen":
        return Path(choice), Path(choice).name
    target = CACHE / "random-0.5b-sure.gguf"
    if not target.exists():
        console.print("making a model of Qwen2.5-Coder-0.5B's shape with random weights (530 MB, once) …")
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            qwen_shape(target, cache=CACHE)
        except OfflineError as error:
            console.print(f"[yellow]{error}; measuring with the embedded model instead[/]")
            return EMBEDDED, "embedded model"
    return target, "shape of Qwen2.5-Coder-0.5B, Q8_0, random weights"


def main() -> int:
    """Measure and print; the exit code says nothing about promises, which depend on the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("letters", nargs="*", help="which: a b c d e f g h i j k l m q; all if none")
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions")
    parser.add_argument("--model", default="qwen", help="qwen (the default), embedded, or a GGUF file")
    parser.add_argument("--corpus", type=Path, help="(q): the embedded model's corpus, for its held-out files")
    parser.add_argument("--holes", type=int, default=0, help="(q): how many")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    chosen = [letter for letter in BENCHES if not options.letters or letter in options.letters]
    with tempfile.TemporaryDirectory(prefix="bf-") as runtime:
        os.environ["BOTFRAMEWORK_RUNTIME_DIR"] = runtime
        # Snapshots of the documents that are measured with do not belong among the user's.
        os.environ["XDG_CACHE_HOME"] = f"{runtime}/cache"
        # Both servers of (a) start from bytecode, as installed programs do.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        # (q) asks a model that was trained and (l) none; nothing is made for them.
        model, name = pick_model("embedded" if set(chosen) <= {"l", "q"} else options.model, console)
        setting = Setting(model, name, options.quick, options.corpus, options.holes)
        console.print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}\n")
        reports: list[Report] = []
        for letter in chosen:
            reports.append(BENCHES[letter](setting))
            show(reports[-1], console)
    console.print(markdown(reports), markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
