"""The download of a model as work-done progress."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botframework.lsp.generate import PROGRESS, work_done
from botframework.quantities import GIB, MIB, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botframework.lsp.messages import ProgressToken
    from botframework.lsp.protocol import DaemonProtocol

TITLE = "Downloading model"
RATE_AFTER_S = 1.0
"""Before that nothing is said about the speed: the first bytes tell of a full pipe, not of a network."""


@contextmanager
def download_progress(
    protocol: DaemonProtocol, token: ProgressToken | None
) -> Iterator[Callable[[int, int | None], None]]:
    """Report a download under the client's token, if it brought one; the user may stop the running task by it.

    Gives what is to be called with the bytes that are there and those of the whole (None: unknown).
    """
    if token is None:
        yield lambda _done, _total: None
        return
    rate = Rate()

    def report(done: int, total: int | None) -> None:
        value: dict[str, object] = {"kind": "report", "message": words(done, total, rate.per_second(done))}
        if total:
            value["percentage"] = min(100, 100 * done // total)
        protocol.tell(PROGRESS, {"token": token, "value": value}, replaces=("progress", token))

    with work_done(protocol, token, TITLE, percentage=0):
        yield report


class Rate:
    """Bytes per second since the first report: what lay on the disk already was not downloaded now."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None

    def per_second(self, done: int) -> float | None:
        """With ``done`` bytes there now; None while it is too early to tell."""
        now = self._clock()
        if self._first is None:
            self._first = now, done
        began, at_first = self._first
        return (done - at_first) / (now - began) if now - began >= RATE_AFTER_S else None


def words(done: int, total: int | None, per_second: float | None) -> str:
    """As in ``1.2 of 4.7 GiB, 31 MiB/s``; no percent sign, which one editor's mode line takes for a format."""
    whole = total or done
    unit, name = (GIB, "GiB") if whole >= GIB else (MIB, "MiB")
    digits = 1 if whole < 100 * unit else 0
    reached = f"{done / unit:.{digits}f}"
    of = f"{reached} of {total / unit:.{digits}f} {name}" if total else f"{reached} {name}"
    return of if per_second is None else f"{of}, {size(per_second)}/s"
