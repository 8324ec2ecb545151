"""What the daemons of one user remember together about one worker key: starts, deaths, suspects.

The ledger is a small JSON file beside the socket, so that three windows do not make fifteen starts of a worker that
cannot live, and so that a request which kills workers is known to all of them. Everything here is a value and pure;
only `read` and `write` touch the file. It is written under the start lock alone and replaced whole, so a reader without
the lock sees the old or the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from botframework.process.durable import replace_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BUDGET_STARTS = 5
"""Starts that may end in death within the window; the figure at which editors too give a server up."""
BUDGET_WINDOW_S = 180.0
"""Editors count the crashes of a server over the same three minutes."""
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Wait after the first, second, … death within the window: long enough that a full disk or memory may clear."""
LOAD_DEATHS_LIMIT = 2
"""A file whose loading killed this many workers in a row is not loaded again: the first might have been bad luck."""
FATAL_CALLS_LIMIT = 2
"""A request that was alone in this many fatal calls is refused."""
SUSPICION_S = 600.0
"""How long a request stays suspected or refused after the last death it was part of."""

MAX_LEDGER_BYTES = 256 * 1024
"""A larger file is not ours."""
_MAX_STARTS = 32
_MAX_SUSPECTS = 256
_MAX_WORDS = 600
_CLOCK_SLACK_S = 5.0
"""Entries further in the future than this were written before the clock was set back; they would count for ever."""


class Start(msgspec.Struct, frozen=True):
    """One worker that was started."""

    pid: int
    at: float
    died_at: float | None = None
    """None while it lives, or if it ended when its last client left."""


class Suspect(msgspec.Struct, frozen=True):
    """A request that was in a fatal call."""

    at: float
    alone: int = 0
    """Fatal calls in which it was the only one."""


class Ledger(msgspec.Struct, frozen=True):
    """The file's content."""

    starts: tuple[Start, ...] = ()
    load_deaths: int = 0
    suspects: dict[str, Suspect] = {}
    """By the fingerprint in hexadecimal."""
    last_words: str = ""
    """Of the last death, for the error message of a daemon that was not there."""

    # --- starting -----------------------------------------------------------------------------------------------------

    def deaths(self, now: float) -> int:
        """Starts that ended in death within the window."""
        return sum(_counts(start, now) for start in self.starts)

    def is_exhausted(self, now: float) -> bool:
        """Whether no further start is allowed."""
        return self.deaths(now) >= BUDGET_STARTS

    @property
    def model_is_quarantined(self) -> bool:
        """Whether loading this file has killed too many workers."""
        return self.load_deaths >= LOAD_DEATHS_LIMIT

    def wait_s(self, now: float, backoff_s: tuple[float, ...] = BACKOFF_S) -> float:
        """Seconds until the next start is allowed; 0 when it is allowed now."""
        deaths = self.deaths(now)
        if deaths == 0:
            return 0.0
        last = max(start.died_at for start in self.starts if start.died_at is not None)
        pause = backoff_s[min(deaths, len(backoff_s)) - 1]
        # Never longer than the pause itself, whatever the clock has done since.
        return min(pause, max(0.0, last + pause - now))

    def settled(self, now: float) -> Ledger:
        """Forget what no longer matters; called when no worker lives.

        A start that nobody saw die was an orderly one and counts for nothing, or closing an editor six times would
        exhaust the budget.
        """
        starts = tuple(start for start in self.starts if _counts(start, now))
        orderly = any(start.died_at is None for start in self.starts)
        suspects = {name: suspect for name, suspect in self.suspects.items() if _is_fresh(suspect, now)}
        load_deaths = 0 if orderly else self.load_deaths
        return msgspec.structs.replace(self, starts=starts, suspects=suspects, load_deaths=load_deaths)

    def started(self, pid: int, now: float) -> Ledger:
        """With one more start."""
        return msgspec.structs.replace(self, starts=(*self.starts, Start(pid, now))[-_MAX_STARTS:])

    def known_as(self, pid: int, own: int) -> Ledger:
        """With the last start of process ``pid`` under the process id that the worker itself has.

        They differ in a program of one file: what we start is its bootloader.
        """
        starts = list(self.starts)
        for index in reversed(range(len(starts))):
            if starts[index].pid == pid:
                starts[index] = msgspec.structs.replace(starts[index], pid=own)
                break
        return msgspec.structs.replace(self, starts=tuple(starts))

    # --- dying --------------------------------------------------------------------------------------------------------

    def knows_death_of(self, pid: int, since: float) -> bool:
        """Whether a daemon has noted this death already; ``since`` keeps a reused pid apart."""
        return any(
            start.pid == pid and start.died_at is not None and start.died_at >= since - _CLOCK_SLACK_S
            for start in self.starts
        )

    def died(
        self, pid: int, now: float, *, since: float, loading: bool, fatal: Iterable[bytes] = (), last_words: str = ""
    ) -> Ledger:
        """With the death of a worker that this daemon had been connected to since ``since``.

        Every daemon that was connected reports it; the first one's report counts.
        """
        if self.knows_death_of(pid, since):
            return self
        starts = list(self.starts)
        known = [index for index, start in enumerate(starts) if start.pid == pid and start.died_at is None]
        if known:
            starts[known[-1]] = msgspec.structs.replace(starts[known[-1]], died_at=now)
        else:
            starts.append(Start(pid, now, now))
        names = [fingerprint.hex() for fingerprint in fatal]
        suspects = {name: suspect for name, suspect in self.suspects.items() if _is_fresh(suspect, now)}
        for name in names:
            before = suspects.pop(name, Suspect(now))  # put back at the end: the newest are kept
            suspects[name] = Suspect(now, before.alone + (len(names) == 1))
        return Ledger(
            starts=tuple(starts[-_MAX_STARTS:]),
            load_deaths=self.load_deaths + 1 if loading else 0,
            suspects=dict(list(suspects.items())[-_MAX_SUSPECTS:]),
            last_words=last_words[:_MAX_WORDS],
        )

    # --- suspects -----------------------------------------------------------------------------------------------------

    def is_suspect(self, fingerprint: bytes, now: float) -> bool:
        """Whether the request must be computed alone."""
        suspect = self.suspects.get(fingerprint.hex())
        return suspect is not None and _is_fresh(suspect, now)

    def refused_for_s(self, fingerprint: bytes, now: float) -> float:
        """Seconds for which the request is still refused; 0 when it is not."""
        suspect = self.suspects.get(fingerprint.hex())
        if suspect is None or suspect.alone < FATAL_CALLS_LIMIT or not _is_fresh(suspect, now):
            return 0.0
        return suspect.at + SUSPICION_S - now

    def cleared(self, fingerprint: bytes) -> Ledger:
        """Without a suspect that was computed alone and did no harm; one that has killed alone stays suspected."""
        name = fingerprint.hex()
        if name not in self.suspects or self.suspects[name].alone:
            return self
        suspects = {other: suspect for other, suspect in self.suspects.items() if other != name}
        return msgspec.structs.replace(self, suspects=suspects)


def _counts(start: Start, now: float) -> bool:
    return start.died_at is not None and now - BUDGET_WINDOW_S < start.died_at <= now + _CLOCK_SLACK_S


def _is_fresh(suspect: Suspect, now: float) -> bool:
    return now - SUSPICION_S < suspect.at <= now + _CLOCK_SLACK_S


_decoder = msgspec.json.Decoder(Ledger)


def read(path: Path) -> Ledger:
    """Read the file; anything that is not a ledger is an empty one."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_LEDGER_BYTES + 1)
        return Ledger() if len(raw) > MAX_LEDGER_BYTES else _decoder.decode(raw)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Ledger()


def write(path: Path, ledger: Ledger) -> None:
    """Replace the file whole. Not flushed to the disk: after a power cut there is nothing worth remembering.

    Raises
    ------
    OSError
        The folder is full or gone.
    """
    replace_whole(path, msgspec.json.encode(ledger), durable=False)
