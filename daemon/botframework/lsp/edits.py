"""What a change of a document says about its user: where the cursor is now, and whether somebody types.

Clients do not send the cursor. One edit near the place where it was last seen, or as small as a key makes it, is taken
for typing, and the cursor for behind it. A wrong guess costs some tokens that are read in vain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from lsprotocol import types

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


def single_edit(
    document: Document, changes: Sequence[types.TextDocumentContentChangeEvent], last_line: int | None
) -> Edit | None:
    """Understand the changes of one notification; None if they are several or the whole text.

    Parameters
    ----------
    document
        As it is after them.
    last_line
        Where the cursor was last seen.
    """
    if len(changes) != 1 or not isinstance(changes[0], types.TextDocumentContentChangePartial):
        return None
    start, end = changes[0].range.start, changes[0].range.end
    text = changes[0].text
    cursor = min(document.offset(start.line, start.character) + _written(text), len(document))
    is_near = last_line is not None and abs(start.line - last_line) <= NEAR_LINES
    is_small = len(text) <= KEY_CHARS and end.line - start.line <= 1
    return Edit(cursor, text, is_near or is_small)


def _written(text: str) -> int:
    """Characters of an inserted text that lie before the cursor."""
    if text in PAIRS:
        return 1
    found = _ENTER_IN_BRACKETS.fullmatch(text)
    return len(text) if found is None else found.end(1)
