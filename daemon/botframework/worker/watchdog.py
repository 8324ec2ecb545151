"""Ends the worker when a llama.cpp call does not come back.

A hung call cannot be interrupted from within; only the end of the process frees its memory and lets a fresh worker
start. The worker does it itself, so that a daemon never kills a worker that others use.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botframework.wire.flight import FlightWriter

HANG_LIMIT_S = 30.0
"""No micro-batch takes this long on a machine that is usable for typing."""
HANG_FACTOR = 20.0
"""A big model on a slow machine may take longer: then so many times the measured duration is the limit."""
EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""
_POLL_S = 0.5


class Watchdog:
    """Watches one call at a time."""

    def __init__(self, flight: FlightWriter) -> None:
        self._flight = flight
        self._began = 0.0
        self.limit_s = HANG_LIMIT_S
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def expect(self, call_s: float) -> None:
        """Tell how long a full micro-batch usually takes."""
        self.limit_s = max(HANG_LIMIT_S, HANG_FACTOR * call_s)

    def begin(self) -> None:
        """A call starts."""
        self._began = time.monotonic()

    def end(self) -> None:
        """It came back."""
        self._began = 0.0

    def _watch(self) -> None:
        tick = threading.Event()
        watched, ticks = 0.0, 0
        while not tick.wait(_POLL_S):
            began = self._began
            ticks = ticks + 1 if began and began == watched else 0
            watched = began
            # Counted, not measured: a process that was stopped for a while (a frozen container) does not hang.
            if ticks * _POLL_S > self.limit_s:
                self._flight.set_last_words(f"a llama.cpp call did not come back within {self.limit_s:.0f} s")
                os._exit(EXIT_CODE)
