"""Sessions without cells: what a sequence held, kept in the worker's memory until its document is used again.

A parked state is the KV cache of one sequence as llama.cpp saves it, together with the tokens that it was made from.
Loading it evaluates nothing. This module is the memory tier; `worker.snapshots` is the one on disk.
"""

from __future__ import annotations

import time
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.worker.sessions import Owner

ENTRY_BYTES = 1_024
"""What a parked state costs beside its content: objects, names, dictionary entries; rounded up."""


class StateCells(Protocol):
    """What parking needs of a `worker.llama.Context`."""

    def forget(self, sequence: int) -> None:
        """Free all cells of a sequence."""
        ...

    def end_of(self, sequence: int) -> int:
        """The position after the last token."""
        ...

    def save_state(self, sequence: int) -> bytes:
        """What the cache holds of a sequence; empty if it cannot be had."""
        ...

    def load_state(self, sequence: int, state: bytes) -> bool:
        """Put it back; False leaves the sequence empty."""
        ...


@dataclass(frozen=True, slots=True)
class ParkedState:
    """One sequence's content."""

    tokens: array[int]
    """Of type code ``i``; ``tokens[i]`` sits at position i."""
    state: bytes
    """As `llama.Context.save_state` gave it."""
    note: bytes = b""
    """What the owner wants to find again with it; opaque here."""

    @property
    def size(self) -> int:
        """Bytes of memory that it takes."""
        return len(self.state) + self.tokens.itemsize * len(self.tokens) + len(self.note) + ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class ParkedEntry:
    """A line of the session list."""

    name: str
    lane: str
    tokens: int
    bytes: int
    idle_s: float


def save(cells: StateCells, sequence: int, tokens: Sequence[int], note: bytes = b"") -> ParkedState | None:
    """Copy a sequence's content out of the cache; the sequence keeps it.

    None when there is nothing to keep: the cache cannot give it, or its end is not where the tokens say.
    """
    if not tokens or cells.end_of(sequence) != len(tokens):
        return None
    state = cells.save_state(sequence)
    return ParkedState(array("i", tokens), state, note) if state else None


def load(cells: StateCells, sequence: int, parked: ParkedState) -> bool:
    """Put a state back in the place of what the sequence held.

    False: the sequence is empty, as if the state had never been. The usual reason is too few free cells.
    """
    if cells.load_state(sequence, parked.state) and cells.end_of(sequence) == len(parked.tokens):
        return True
    cells.forget(sequence)
    return False


class ParkedStates:
    """Parked states of all sessions within a limit of bytes. Used by the scheduling thread only."""

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``limit`` is in bytes; 0 parks nothing."""
        self.limit = limit
        self.bytes = 0
        self._clock = clock
        self._entries: OrderedDict[tuple[Owner, str], tuple[ParkedState, float]] = OrderedDict()
        """Least recently used first; with the time of that use."""

    def put(
        self, owner: Owner, lane: str, parked: ParkedState, *, is_wanted: bool = False
    ) -> list[tuple[Owner, str, ParkedState]]:
        """Keep a state, in the place of the session's older one.

        Parameters
        ----------
        is_wanted
            Somebody is about to take it: it is kept even if it alone is larger than the limit, until the next comes.

        Returns
        -------
        The states that had to go for it, least recently used first, for whoever writes them to disk; the new one
        itself if it is larger than the limit.
        """
        self.forget(owner, lane)
        if parked.size > self.limit and not is_wanted:
            return [(owner, lane, parked)]
        gone = []
        while self._entries and self.bytes + parked.size > self.limit:
            (old_owner, old_lane), (old, _) = self._entries.popitem(last=False)
            self.bytes -= old.size
            gone.append((old_owner, old_lane, old))
        self._entries[owner, lane] = (parked, self._clock())
        self.bytes += parked.size
        return gone

    def take(self, owner: Owner, lane: str) -> ParkedState | None:
        """Remove and return a session's state."""
        entry = self._entries.pop((owner, lane), None)
        if entry is None:
            return None
        self.bytes -= entry[0].size
        return entry[0]

    def peek(self, owner: Owner, lane: str) -> ParkedState | None:
        """Return a session's state and keep it; counts as use."""
        entry = self._entries.get((owner, lane))
        if entry is None:
            return None
        self._entries[owner, lane] = (entry[0], self._clock())
        self._entries.move_to_end((owner, lane))
        return entry[0]

    def tokens_of(self, owner: Owner, lane: str) -> list[int]:
        """Tokens of a session's state; empty when there is none. Does not count as use."""
        entry = self._entries.get((owner, lane))
        return [] if entry is None else list(entry[0].tokens)

    def forget(self, owner: Owner, lane: str) -> bool:
        """Drop a session's state. False: there was none."""
        return self.take(owner, lane) is not None

    def forget_connection(self, connection: int) -> None:
        """Drop every state of a connection that is gone."""
        for owner, lane in [key for key in self._entries if key[0][0] == connection]:
            self.forget(owner, lane)

    def of_connection(self, connection: int) -> list[ParkedEntry]:
        """List a connection's states, least recently used first."""
        now = self._clock()
        return [
            ParkedEntry(owner[1], lane, len(parked.tokens), parked.size, now - at)
            for (owner, lane), (parked, at) in self._entries.items()
            if owner[0] == connection
        ]

    def __len__(self) -> int:
        return len(self._entries)
