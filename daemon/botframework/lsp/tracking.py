"""A range of a document that stays where it is while its user types elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from botframework.errors import ContentModified
from botframework.lsp.blocks import units
from botframework.wire.text import LINE_END

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Place = tuple[int, int]
"""Line and UTF-16 character."""


class Tracked:
    """One range. It follows changes before it, and gives up at the first one that touches it.

    What is inserted at its beginning lies before it and what is inserted at its end behind it; an empty range is
    touched by both.
    """

    def __init__(self, uri: str, start: Place, end: Place) -> None:
        self.uri = uri
        """The document's."""
        self.start = start
        self.end = end
        self.on_touched: Callable[[], None] | None = None
        """Called when the range gives up."""
        self._reason = ""

    def follow(self, changes: Iterable[types.TextDocumentContentChangeEvent]) -> None:
        """Take the changes of one notification, each of which describes the document as the one before has left it."""
        for change in changes:
            if self._reason:
                return
            if isinstance(change, types.TextDocumentContentChangePartial):
                at, to = ((place.line, place.character) for place in (change.range.start, change.range.end))
                self._follow(min(at, to), max(at, to), change.text)
            else:
                self.give_up("the whole document was exchanged")

    def _follow(self, start: Place, end: Place, text: str) -> None:
        is_inserted_at = self.start == self.end == start
        if end <= self.start and not is_inserted_at:
            behind = _behind(start, text)
            self.start, self.end = _moved(self.start, end, behind), _moved(self.end, end, behind)
        elif start < self.end or is_inserted_at:
            self.give_up("the text was changed while the model was working on it")

    def give_up(self, reason: str) -> None:
        """The range is no more what it was; whoever waits for it is told, once."""
        if self._reason:
            return
        self._reason = reason
        if self.on_touched is not None:
            self.on_touched()

    def refuse_if_touched(self) -> None:
        """Go on only with a range that is what it was.

        Raises
        ------
        ContentModified
            It is not.
        """
        if self._reason:
            raise ContentModified(self._reason)


def _behind(start: Place, text: str) -> Place:
    """The end of a text that begins at a place."""
    ends = [found.end() for found in LINE_END.finditer(text)]
    if not ends:
        return start[0], start[1] + units(text)
    return start[0] + len(ends), units(text[ends[-1] :])


def _moved(place: Place, old_end: Place, new_end: Place) -> Place:
    """Where a place is after the text up to ``old_end`` before it was exchanged for one up to ``new_end``."""
    if place[0] != old_end[0]:
        return place[0] + new_end[0] - old_end[0], place[1]
    return new_end[0], place[1] + new_end[1] - old_end[1]
