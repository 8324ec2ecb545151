"""(i) The first completion after a restart of daemon and worker: with a snapshot of the document, and without."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from bench.keystrokes.replay import Desk, complete_line
from bench.keystrokes.trace import make_trace
from bench.keystrokes.typing_session import new_root
from bench.report import Report, Row
from bench.setting import running
from botframework.config import sessions_dir

if TYPE_CHECKING:
    from bench.keystrokes.trace import Trace
    from bench.setting import Setting

RATIO = 0.15
SEED = 5
RUNS = 5
WRITE_DEADLINE_S = 60.0
"""The document's window is read in the background, and written when nobody has typed for some seconds."""
POLL_S = 0.1


def first_after_start(setting: Setting, root: str, trace: Trace, *, wait: bool) -> tuple[float, int]:
    """Start everything, open the document, type a key: time to the first token, and prompt tokens read for it."""
    key = trace.keys[0]
    with running("--model", str(setting.model), root_uri=root) as (editor, _):
        desk = Desk(editor, trace, root)
        desk.show(key.document)
        change, place = desk.press(key)
        answer = complete_line(editor, change, place, "first")
        if wait:
            wait_for_snapshot(root)
    return answer["clock"][0], answer["usage"]["evaluatedTokens"]


def wait_for_snapshot(root: str) -> None:
    """Until the workspace's folder holds one; no message tells of it."""
    folder = sessions_dir(root)
    give_up_at = time.monotonic() + WRITE_DEADLINE_S
    while time.monotonic() < give_up_at:
        if any(path.stat().st_size and not path.name.startswith(".") for path in folder.iterdir()):
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"no snapshot in {WRITE_DEADLINE_S:.0f} s")


def measure(setting: Setting) -> Report:
    """Cold, then the same key in the same text once more."""
    trace = make_trace(SEED, 1, n_documents=1)
    cold: list[tuple[float, int]] = []
    warm: list[tuple[float, int]] = []
    for _ in range(setting.times(RUNS)):
        root = new_root()
        cold.append(first_after_start(setting, root, trace, wait=True))
        warm.append(first_after_start(setting, root, trace, wait=False))
        with running("--model", str(setting.model), root_uri=root) as (editor, _):
            editor.request("botframework/sessions/clear")
    cold_ms = statistics.median(each for each, _ in cold)
    warm_ms = statistics.median(each for each, _ in warm)
    ratio = warm_ms / cold_ms
    row = Row(
        "first token of the first key after a start, p50",
        f"{warm_ms:.1f} ms, {statistics.median(count for _, count in warm):.0f} tokens read",
        f"{cold_ms:.1f} ms, {statistics.median(count for _, count in cold):.0f} tokens read",
        ratio,
        f"<= {RATIO}",
        ratio <= RATIO,
    )
    return Report("i", "restart with a snapshot", "the same without a snapshot", [row], setting.model_name)
