"""(k) From the key to painted ghost text in a real VS Code, beside the least that a language client can be.

Two windows of one browser, one with the extension and one with the bare client of ``tests/vscode/bare_extension``, on
the same daemon and the same model. They take turns, so that what else the machine does meets both. The clock is the
browser's: from the key event to the end of the frame that shows the text.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import Report, Row, spread
from bench.setting import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.setting import Setting
    from support.vscode.window import Window

PROMISE_MS = 30.0
SAMPLES = 40
WARM_UP = 3
"""The first keys meet code that the browser has not compiled yet."""
GHOST_MS = 2_000
"""Where no text comes within this time none will: the key does not count."""
SETTLE_MS = 400
"""Between a key and the next measured one, so that what the daemon reads ahead is not in the way."""
CODE = '''\
"""Orders and what they cost."""

import logging

logger = logging.getLogger(__name__)


def total(orders, tax):
    result = 0
    for order in orders:
        result += order.price * order.count
    return result * (1 + tax)


'''
DEFAULTS = {"completion": {"debounceMs": 0, "deadlineMs": 10_000}}

ARM = """(limit) => {
  window.sample = new Promise((resolve) => {
    let start = 0;
    addEventListener('keydown', (event) => { start = event.timeStamp; }, {capture: true, once: true});
    const shown = () => document.querySelector('.view-lines .ghost-text-decoration') !== null;
    const observer = new MutationObserver(() => {
      if (start === 0 || !shown()) return;
      observer.disconnect();
      // The task behind the next frame's callbacks runs when the frame is handed over.
      requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => resolve(performance.now() - start);
        channel.port2.postMessage(null);
      });
    });
    observer.observe(document.body, {subtree: true, childList: true, attributes: true});
    setTimeout(() => { observer.disconnect(); resolve(null); }, limit);
  });
}"""


@dataclass(slots=True)
class Side:
    """One of the two windows, and what was measured in it."""

    window: Window
    journal: Path
    painted: list[float] = field(default_factory=list)
    """Milliseconds from the key to the text."""
    answered: list[float] = field(default_factory=list)
    """Milliseconds of the daemon within them."""

    def _answers(self) -> list[float]:
        return [float(line) for line in self.journal.read_text().split()] if self.journal.exists() else []

    def write(self, text: str) -> None:
        """Type at the end of the file, and let the daemon read it."""
        window = self.window
        window.press("Escape")
        window.to_end()
        window.type(text, delay_ms=0)
        window.page.wait_for_timeout(SETTLE_MS)

    def press(self, key: str) -> bool:
        """Press a key with nothing grey on the screen, and measure until something is; False: it does not count."""
        self.window.press("Escape")
        self.window.no_ghost()
        known = len(self._answers())
        self.window.evaluate(ARM, GHOST_MS)
        self.window.press(key)
        took: float | None = self.window.evaluate("() => window.sample")
        answers = self._answers()[known:]
        if took is None or not answers:  # Without an answer VS Code went on with what it had.
            return False
        self.painted.append(took)
        self.answered.append(answers[0])
        return True


def beginnings(number: int) -> tuple[tuple[str, str], ...]:
    """Text to write at the end of the file, none of it twice, and the key behind it that brings a suggestion."""
    return (
        (f"\ndef total_{number}(orders_{number}, tax_{number}):\n    return orders", "_"),
        (f"\nlogger.info('order {number}')\nlogger.inf", "o"),
    )


def measure_sides(sides: list[Side], count: int) -> None:
    """Key by key in turns."""
    for number in range(WARM_UP + count // 2):
        for text, key in beginnings(number):
            for side in sides:
                side.write(text)
                side.press(key)
        if number == WARM_UP - 1:
            for side in sides:
                side.painted.clear()
                side.answered.clear()


def wait_until_ready(window: Window) -> None:
    """Type until there is ghost text, and take it all back; the bare client tells of no other sign."""
    window.type("if __name", delay_ms=50)

    def is_answered() -> bool:
        window.press("_")
        window.page.wait_for_timeout(SETTLE_MS)
        text = window.ghost()
        window.press("Escape")
        window.press("Backspace")
        return bool(text)

    window.until(is_answered)
    window.press("Shift+Home")
    window.press("Delete")


@contextlib.contextmanager
def two_windows(setting: Setting) -> Iterator[list[Side]]:
    """Ours and the bare one, ready."""
    from support.vscode.installation import DAEMON
    from support.vscode.packages import install_bare, install_ours
    from support.vscode.programs import program
    from support.vscode.session import new_window, running_browser, running_server

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bf-paint-")))
        browser = stack.enter_context(running_browser())
        sides = []
        for name, install in (("ours", install_ours), ("bare", install_bare)):
            journal = folder / f"{name}.journal"
            relay = (sys.executable, "-P", HERE / "ghost_paint_relay.py", journal, DAEMON)
            tapped = program(folder / f"{name}-daemon", *relay)
            model = str(setting.model)
            settings = {
                "botframework.path": str(tapped),
                "botframework.model": model,
                "bare.command": [str(tapped), "--stdio"],
                "bare.options": {**DEFAULTS, "model": model},
                "editor.inlineSuggest.minShowDelay": 0,
            }
            extensions = install(folder / name / "extensions")
            server = stack.enter_context(running_server(extensions, {"orders.py": CODE}, settings))
            window = stack.enter_context(new_window(browser, server))
            window.open("orders.py")
            wait_until_ready(window)
            sides.append(Side(window, journal))
        yield sides


def measure(setting: Setting) -> Report:
    """Both in turn."""
    from support.vscode.installation import missing

    title, peer = "key to painted ghost text in VS Code", "bare vscode-languageclient"
    if (reason := missing()) is not None:
        return Report("k", title, peer, note=f"Not measured: {reason}.")
    with two_windows(setting) as sides:
        measure_sides(sides, setting.times(SAMPLES))
    ours, bare = sides
    more = statistics.median(ours.painted) - statistics.median(bare.painted)
    rows = [
        Row(
            "key to painted ghost text",
            spread(ours.painted),
            spread(bare.painted),
            statistics.median(ours.painted) / statistics.median(bare.painted),
            f"p50 <= {PROMISE_MS:.0f} ms more",
            more <= PROMISE_MS,
        ),
        Row("of that, in the daemon", spread(ours.answered), spread(bare.answered)),
        Row("of that, in VS Code and the browser", spread(outside(ours)), spread(outside(bare))),
    ]
    note = f"p50 differs by {more:+.1f} ms; {len(ours.painted)} and {len(bare.painted)} keys, in turns."
    return Report("k", title, peer, rows, note)


def outside(side: Side) -> list[float]:
    """What of each key's time was not the daemon's."""
    return [painted - answered for painted, answered in zip(side.painted, side.answered, strict=True)]
