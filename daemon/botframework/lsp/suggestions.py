"""Suggestions that were computed before, found again by the text around the cursor.

Who types what a suggestion says, takes over a part of it, deletes that again, undoes it or comes back to the spot is
given the same suggestion, or what is left of it, without a question to the model. No edit is followed for this: texts
are compared.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from botframework.lsp.closers import beyond_closers

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.wire.messages import Timings

BASE_CHARS = 1_024
"""Text before a suggestion by which its place is known again: some 25 lines, more than a file repeats."""
AHEAD_CHARS = 256
"""The same behind it, from the first character on that is not a closer."""
MAX_TYPED_CHARS = 2_048
"""How far into a suggestion the cursor may be; no suggestion is longer."""
MAX_SUGGESTIONS = 512
"""Of all documents together, about 2 MB; beyond it the least recently used are forgotten."""
MAX_AGE_S = 600.0
"""What the rest of the file says may have changed by then."""
MAX_EMPTY_AGE_S = 5.0
"""That the model had nothing to say is believed for as long as an editor asks twice for one stop of the cursor."""

_INDEXED_CHARS = 32


class Spot(NamedTuple):
    """A place in a document as its text tells it, with plain line feeds: line ends differ between model and editor."""

    before: str
    """The document up to the place, or as much of it as is needed."""
    ahead: str
    """What follows beyond closers and line ends: closers come and go while one types."""

    @classmethod
    def of(cls, before: str, after: str) -> Spot:
        """The spot between two texts."""
        return cls(plain(before), plain(beyond_closers(after)[:AHEAD_CHARS]))


class Base(NamedTuple):
    """Where a suggestion begins."""

    tail: str
    is_whole: bool
    """The document begins with the tail."""
    ahead: str

    @classmethod
    def of(cls, spot: Spot) -> Base:
        """Remember a spot."""
        return cls(spot.before[-BASE_CHARS:], len(spot.before) < BASE_CHARS, spot.ahead)

    def is_at(self, before: str, end: int) -> bool:
        """Whether this is the place that lies so many characters behind the beginning of ``before``."""
        return before.endswith(self.tail, 0, end) and (not self.is_whole or end == len(self.tail))

    def typed_until(self, spot: Spot) -> str | None:
        """What stands between here and a spot; None if the spot does not lie behind this one."""
        if spot.ahead != self.ahead:
            return None
        if self.is_whole:
            return spot.before[len(self.tail) :] if spot.before.startswith(self.tail) else None
        at = spot.before.rfind(self.tail, max(0, len(spot.before) - MAX_TYPED_CHARS - len(self.tail)))
        return None if at < 0 else spot.before[at + len(self.tail) :]


def plain(text: str) -> str:
    """Line feeds for every kind of line end."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model wrote after a spot, before any filter."""

    id: str
    base: Base
    text: str
    """With plain line feeds."""
    was_cut: bool
    """A limit ended it, wherever it was."""
    mean_logprob: float
    timings: Timings | None
    is_prefetched: bool = False

    def goes_on(self, typed: str) -> bool:
        """Whether something worth showing is left behind its typed beginning; where nothing is typed, it may be empty.

        A line that a limit cut is not shown, so where only that is left the model has to write it anew.
        """
        whole = self.text.rpartition("\n")[0] if self.was_cut and "\n" in self.text else self.text
        return not typed or (self.text.startswith(typed) and bool(whole[len(typed) :].strip()))


class Found(NamedTuple):
    """A draft, and how much of it stands in the document already."""

    draft: Draft
    typed: int
    """Characters of its text."""

    @property
    def left(self) -> str:
        """What is still to be written."""
        return self.draft.text[self.typed :]


class Suggestions:
    """The drafts of all documents."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._drafts: OrderedDict[tuple[str, str, str], tuple[Draft, float]] = OrderedDict()
        """By document, the last characters before it and the first ones behind, with the time of its making."""
        self._longest: dict[str, int] = {}
        """Of a document's drafts; bounds the search."""

    def __len__(self) -> int:
        return len(self._drafts)

    def put(self, uri: str, draft: Draft) -> None:
        """Keep a draft; one that began at the same spot is forgotten."""
        key = (uri, draft.base.tail[-_INDEXED_CHARS:], draft.base.ahead)
        self._drafts[key] = draft, self._clock()
        self._drafts.move_to_end(key)
        self._longest[uri] = max(self._longest.get(uri, 0), min(len(draft.text), MAX_TYPED_CHARS))
        while len(self._drafts) > MAX_SUGGESTIONS:
            self._drafts.popitem(last=False)

    def find(self, uri: str, spot: Spot) -> Found | None:
        """The draft that began most recently before a spot and agrees with what was written since."""
        if uri not in self._longest:
            return None
        before, ahead = spot
        for back in range(min(self._longest[uri], len(before)) + 1):
            end = len(before) - back
            key = (uri, before[max(0, end - _INDEXED_CHARS) : end], ahead)
            kept = self._drafts.get(key)
            if kept is None:
                continue
            draft, made_at = kept
            age = self._clock() - made_at
            if age > MAX_AGE_S or (not draft.text.strip() and age > MAX_EMPTY_AGE_S):
                del self._drafts[key]
            # Where a draft has nothing left, the model has not been asked yet; where it began, it has.
            elif draft.base.is_at(before, end) and draft.goes_on(before[end:]):
                self._drafts.move_to_end(key)
                return Found(draft, back)
        return None

    def forget(self, uri: str) -> None:
        """A document is closed."""
        if self._longest.pop(uri, None) is not None:
            for key in [key for key in self._drafts if key[0] == uri]:
                del self._drafts[key]

    def clear(self) -> None:
        """Forget everything."""
        self._drafts.clear()
        self._longest.clear()
