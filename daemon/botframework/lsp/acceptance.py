"""Which suggestions were seen and which were taken over. Counted on this machine only, each suggestion once.

Editors tell it in different ways: by the command of the suggestion (VS Code, Neovim), by the notifications of Copilot's
clients, or by nothing but the edit itself (LSP4IJ). An edit is taken for an acceptance if it writes the beginning of
the suggestion at its place, and more of it than a key or a burst of keys.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.lsp.suggestions import MAX_SUGGESTIONS, plain

if TYPE_CHECKING:
    from botframework.lsp.pulse import Tally
    from botframework.lsp.suggestions import Base, Spot

MAX_REMEMBERED = MAX_SUGGESTIONS
"""Suggestions whose acceptance may still be told: as many as can be shown again, or one of them would count twice."""
BURST_CHARS = 8
"""Editors that collect keys for 150 ms send as many as a fast writer types in it; what is longer was not typed."""
FEWEST_CHARS = 2
"""Characters beside blanks of a whole suggestion that is taken over: the last one may just have been typed."""


@dataclass(slots=True)
class _Sent:
    """A suggestion that a client has been given."""

    uri: str
    base: Base
    text: str
    is_counted: bool = False
    is_accepted: bool = False


class Acceptance:
    """Follows the suggestions that were sent."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._sent: OrderedDict[str, _Sent] = OrderedDict()
        self._latest: dict[str, str] = {}
        """The id of each document's newest suggestion."""
        self._tells_shows = False
        """The client says when it shows a suggestion, so sending one is not showing it."""

    def sent(self, uri: str, suggestion_id: str, base: Base, text: str) -> None:
        """A suggestion, or what is left of it, is on its way to the client."""
        known = self._sent.get(suggestion_id)
        if known is None:
            self._sent[suggestion_id] = known = _Sent(uri, base, text)
            if len(self._sent) > MAX_REMEMBERED:
                self._sent.popitem(last=False)
        else:
            known.base, known.text = base, text
            self._sent.move_to_end(suggestion_id)
        self._latest[uri] = suggestion_id
        if not self._tells_shows:
            self._count_shown(known)

    def shown(self, suggestion_id: str) -> None:
        """The client says that it is on the screen."""
        self._tells_shows = True
        known = self._sent.get(suggestion_id)
        if known is not None:
            self._count_shown(known)

    def accepted(self, suggestion_id: str) -> None:
        """The client says that it, or a part of it, was taken over."""
        known = self._sent.get(suggestion_id)
        if known is not None and not known.is_accepted:
            self._count_shown(known)
            known.is_accepted = True
            self._tally.count_accepted()

    def edited(self, uri: str, spot: Spot, inserted: str, rest: str) -> None:
        """The document has changed: see whether its newest suggestion was taken over.

        Parameters
        ----------
        spot
            The end of the change.
        inserted
            What was written there.
        rest
            The rest of the line behind it.
        """
        known = self._sent.get(self._latest.get(uri, ""))
        if known is None or known.is_accepted or not inserted.strip():
            return
        inserted = plain(inserted)
        typed = known.base.typed_until(spot)
        if not typed or not known.text.startswith(typed) or not typed.endswith(inserted):
            return
        left = known.text[len(typed) :]
        # An editor may leave closers alone that stood there already.
        is_whole = rest.startswith(left) and len("".join(inserted.split())) >= FEWEST_CHARS
        if is_whole or len(inserted.strip()) > BURST_CHARS:
            self.accepted(self._latest[uri])

    def closed(self, uri: str) -> None:
        """A document is closed; the client may still tell what became of its suggestions."""
        self._latest.pop(uri, None)

    def _count_shown(self, known: _Sent) -> None:
        if not known.is_counted:
            known.is_counted = True
            self._tally.count_shown()
