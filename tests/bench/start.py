"""(a) How soon ``initialize`` is answered after the spawn, and (b) how much memory the daemon takes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.report import Report, Row, spread
from bench.setting import HERE, daemon_command, initialize, running
from botframework.demo.editor import Editor
from botframework.process import rss_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.setting import Setting

START_RATIO = 1.2
RSS_LIMIT_MIB = 64


def seconds_to_initialize(command: Sequence[str]) -> float:
    """From just before the spawn to the answer."""
    started = time.perf_counter()
    editor = Editor(command)
    try:
        initialize(editor)
        return time.perf_counter() - started
    finally:
        editor.stop()


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    return rss_bytes(pid) / 2**20


def measure_start(setting: Setting) -> Report:
    """Both servers in turn, so that what else the machine does meets both."""
    bare = [sys.executable, str(HERE / "bare_pygls.py")]
    ours: list[float] = []
    peer: list[float] = []
    for command in (daemon_command(), bare):
        seconds_to_initialize(command)  # Writes the bytecode and warms the page cache.
    for _ in range(setting.times(40)):
        ours.append(seconds_to_initialize(daemon_command()) * 1000)
        peer.append(seconds_to_initialize(bare) * 1000)
    ratio = statistics.median(ours) / statistics.median(peer)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    python = (time.perf_counter() - started) * 1000
    row = Row(
        "`initialize` answered after spawn",
        spread(ours),
        spread(peer),
        ratio,
        f"<= {START_RATIO}",
        ratio <= START_RATIO,
    )
    return Report("a", "start", "bare pygls server", [row], f"A Python that does nothing takes {python:.0f} ms.")


def measure_memory(setting: Setting) -> Report:
    """After the model is loaded and something was completed, which is when a user has it open all day."""
    with running("--model", str(setting.model)) as (editor, _):
        fresh = rss_mib(editor.process.pid)
        for number in range(setting.times(50)):
            prefix = f"def add_{number}(a, b):\n    return "
            editor.request("botframework/complete", {"prefix": prefix, "suffix": "\n", "maxTokens": 8})
        used = rss_mib(editor.process.pid)
    peer = Editor([sys.executable, str(HERE / "bare_pygls.py")])
    try:
        initialize(peer)
        bare = rss_mib(peer.process.pid)
    finally:
        peer.stop()
    promise = f"<= {RSS_LIMIT_MIB} MiB"
    rows = [
        Row("RSS, model ready", f"{fresh:.1f} MiB", f"{bare:.1f} MiB", fresh / bare, promise, fresh <= RSS_LIMIT_MIB),
        Row(
            "RSS, after completions", f"{used:.1f} MiB", f"{bare:.1f} MiB", used / bare, promise, used <= RSS_LIMIT_MIB
        ),
    ]
    return Report("b", "memory of the daemon", "bare pygls server", rows)
