"""Work of many seconds: a bar where somebody watches, a line for every tenth otherwise, and an end by Ctrl-C."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from botframework.cli import exits
from botframework.cli.terminal import harmless
from botframework.process import exit_now
from botframework.quantities import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botframework.cli.terminal import Terminal

    Work = Callable[[threading.Event], "Result"]

Result = TypeVar("Result")
STEP_PERCENT = 10
"""Between two lines in a file."""


class Progress:
    """How far something is, in bytes. `tell` may be called by any thread."""

    def __init__(self, terminal: Terminal, title: str) -> None:
        self._terminal = terminal
        self._title = title
        self._started = time.monotonic()
        self._first_bytes: int | None = None
        self._told_percent = 0

    def tell(self, done: int, total: int | None) -> None:
        """So many bytes of so many; None: nobody knows of how many."""
        if self._first_bytes is None:
            # What an earlier try has brought is no work of ours, and not our speed.
            self._first_bytes = done
            self._told_percent = done * 100 // total if total else 0
            self._say(f"{self._title}: {size(total)}" + (f", {size(done)} of it are there" if done else ""))
        percent = done * 100 // total if total else 0
        if percent >= self._told_percent + STEP_PERCENT:
            self._told_percent = percent - percent % STEP_PERCENT
            self._say(f"{self._title}: {percent} %, {size(done)}{self._speed(done)}")

    def _speed(self, done: int) -> str:
        passed_s = time.monotonic() - self._started
        here = done - (self._first_bytes or 0)
        return f", {size(here / passed_s)}/s" if passed_s > 0 and here > 0 else ""

    def _say(self, text: str) -> None:
        self._terminal.note(text)

    def end(self, done: int) -> None:
        """All of it is done."""
        self._say(f"{self._title}: done after {duration(time.monotonic() - self._started)}{self._speed(done)}")


class Bar(Progress):
    """The same as a bar on a terminal."""

    def __init__(self, terminal: Terminal, title: str, bars: Any) -> None:
        super().__init__(terminal, title)
        self._bars = bars
        self._task = bars.add_task(harmless(title), total=None)

    def tell(self, done: int, total: int | None) -> None:
        """As above."""
        self._bars.update(self._task, completed=done, total=total)

    def end(self, done: int) -> None:
        """As above: the bar is full."""
        self._bars.update(self._task, completed=done, total=done)


@contextlib.contextmanager
def shown(terminal: Terminal, title: str) -> Iterator[Progress]:
    """Show how far it is for the time of a block."""
    if not terminal.is_watched:
        yield Progress(terminal, title)
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=terminal.console(terminal.err), expand=True) as bars:
        yield Bar(terminal, title, bars)


def stoppable(work: Work[Result]) -> Result:
    """Do something in a thread, and give its result; at a Ctrl-C the event that it is given is set.

    A second Ctrl-C does not wait for it: the process ends.

    Raises
    ------
    KeyboardInterrupt
        It was stopped, and has come to its end.
    """
    stop = threading.Event()
    outcome: Future[Result] = Future()

    def carry_out() -> None:
        try:
            outcome.set_result(work(stop))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            outcome.set_exception(error)

    # No pool of threads: interrupted while it starts one, it does not know it.
    thread = threading.Thread(target=carry_out, name="work")
    try:
        thread.start()
        return outcome.result()
    except KeyboardInterrupt:
        stop.set()
        try:
            if thread.is_alive():
                outcome.exception()
        except KeyboardInterrupt:
            exit_now(exits.INTERRUPTED)
        raise
