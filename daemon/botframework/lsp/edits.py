"""What a change of a document says about its user: where the cursor is now, and whether somebody types.

Clients do not send the cursor. One edit near the place where it was last seen, or as small as a key makes it, is taken
for typing, and the cursor for behind it. A wrong guess costs some tokens that are read in vain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from lsprotocol import types

from botframework.lsp.blocks import units
from botframework.wire.text import LINE_END

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.lsp.documents import Document

NEAR_LINES = 30
"""About a screen: what changes farther from the cursor was changed by a program, unless it is small."""
KEY_CHARS = 16
"""What keys make within one message, an auto-closed bracket and an indentation included."""

PAIRS = frozenset(("()", "[]", "{}", "<>", '""', "''", "``"))
"""What editors insert for one key, with the cursor in the middle."""

_ENTER_IN_BRACKETS = re.compile(r"((?:\r\n|\n|\r)[ \t]*)(?:\r\n|\n|\r)[ \t]*")


class Edit(NamedTuple):
    """One edit, after it was carried out."""

    cursor: int
    """The index in the document where the cursor probably is."""
    inserted: str
    is_typing: bool
    is_key: bool
    """So small that a key may have made it: a paste or an accepted suggestion says nothing about the rhythm of keys."""


def single_edit(
    document: Document, changes: Sequence[types.TextDocumentContentChangeEvent], last_line: int | None
) -> Edit | None:
    """Understand the changes of one notification; None if they are at several places or the whole text.

    Editors that collect the keys of a moment send them as one change each: every one begins where the one before ended.

    Parameters
    ----------
    document
        As it is after them.
    last_line
        Where the cursor was last seen.
    """
    first = changes[0] if changes else None
    if not isinstance(first, types.TextDocumentContentChangePartial):
        return None
    start, end, text = first.range.start, first.range.end, first.text
    written_to = _behind(start, text)
    for change in changes[1:]:
        goes_on = types.Range(written_to, written_to)
        if not isinstance(change, types.TextDocumentContentChangePartial) or change.range != goes_on:
            return None
        text += change.text
        written_to = _behind(written_to, change.text)
    cursor = min(document.offset(start.line, start.character) + _written(text), len(document))
    is_near = last_line is not None and abs(start.line - last_line) <= NEAR_LINES
    is_small = len(text) <= KEY_CHARS and end.line - start.line <= 1
    return Edit(cursor, text, is_near or is_small, is_small)


def _behind(position: types.Position, text: str) -> types.Position:
    """The end of a text that was inserted at a position."""
    ends = [found.end() for found in LINE_END.finditer(text)]
    if not ends:
        return types.Position(position.line, position.character + units(text))
    return types.Position(position.line + len(ends), units(text[ends[-1] :]))


def _written(text: str) -> int:
    """Characters of an inserted text that lie before the cursor."""
    if text in PAIRS:
        return 1
    found = _ENTER_IN_BRACKETS.fullmatch(text)
    return len(text) if found is None else found.end(1)
