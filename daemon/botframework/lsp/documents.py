"""The open documents, and what a position in them means.

A position counts lines and, within a line, UTF-16 code units. Python strings count code points. `blocks` converts
between the two.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from botframework.errors import InvalidParams
from botframework.lsp.blocks import Blocks
from botframework.wire.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lsprotocol import types

logger = logging.getLogger(__name__)

MAX_DOCUMENT_CHARS = 64 * 1024 * 1024
"""As long as the longest message that could open one; edits cannot grow a document beyond it."""
MAX_TOTAL_CHARS = 256 * 1024 * 1024
"""Of all open documents: an editor with more of it open gets no suggestions in the last ones."""
CONTEXT_CHARS = 64 * 1024
"""Text taken on either side of the cursor: about 16,000 tokens, more than a completion context holds."""


class Place(NamedTuple):
    """What is around a position."""

    before: str
    """At most `CONTEXT_CHARS` characters, ending at the position."""
    after: str
    """At most `CONTEXT_CHARS` characters, beginning at the position."""
    line: int
    """The position again, moved to where the document has one."""
    character: int


class Document:
    """One open document."""

    def __init__(self, uri: str, version: int, text: str) -> None:
        self.uri = uri
        self.version = version
        self._blocks = Blocks(text)

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def text(self) -> str:
        """All of it, copied: not for what happens at every key."""
        return str(self._blocks)

    @property
    def line_count(self) -> int:
        """Lines, counting the one after a final line end."""
        return self._blocks.breaks + 1

    def offset(self, line: int, character: int) -> int:
        """The index of a position: beyond the end is the end, inside a surrogate pair is before it."""
        return self._blocks.offset(line, character)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and UTF-16 character of an index."""
        return self._blocks.position(offset)

    def place(self, line: int, character: int) -> Place:
        """The text around a position, cut to `CONTEXT_CHARS` on either side and without lone surrogates."""
        return self.place_at(self._blocks.offset(line, character))

    def place_at(self, offset: int) -> Place:
        """The same for an index."""
        before = self._blocks.slice(max(0, offset - CONTEXT_CHARS), offset)
        after = self._blocks.slice(offset, min(len(self), offset + CONTEXT_CHARS))
        return Place(replace_surrogates(before), replace_surrogates(after), *self._blocks.position(offset))

    def between(self, start: int, end: int) -> str:
        """The text between two indices, without lone surrogates."""
        return replace_surrogates(self._blocks.slice(start, end))

    def edit(self, start: tuple[int, int], end: tuple[int, int], new: str) -> None:
        """Replace what is between two positions."""
        first, last = sorted((self.offset(*start), self.offset(*end)))
        if new and 0xD800 <= ord(new[-1]) <= 0xDBFF and last < len(self):
            new, last = new + self._char(last), last + 1  # Its other half may be there now.
        if new and 0xDC00 <= ord(new[0]) <= 0xDFFF and first > 0:
            new, first = self._char(first - 1) + new, first - 1
        if not new and 0 < first < last < len(self):
            new, first, last = self._char(first - 1) + self._char(last), first - 1, last + 1
        if not new.isascii():  # Two halves may have met.
            new = new.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        self._blocks.splice(first, last, new)

    def _char(self, index: int) -> str:
        return self._blocks.slice(index, index + 1)

    def replace(self, text: str) -> None:
        """Exchange the whole text."""
        self._blocks = Blocks(text)


class Documents:
    """All open documents by their URI."""

    def __init__(self) -> None:
        self._open: dict[str, Document] = {}
        self._chars = 0

    def __len__(self) -> int:
        return len(self._open)

    def get(self, uri: str) -> Document | None:
        """The open document, or None; also None for one that is too large to follow."""
        return self._open.get(uri)

    def require(self, uri: str) -> Document:
        """The open document.

        Raises
        ------
        InvalidParams
            There is none, or it is too large to follow.
        """
        document = self._open.get(uri)
        if document is None:
            told = "/textDocument/uri: the document is not open, or too large to be followed"
            raise InvalidParams(told, pointer="/textDocument/uri")
        return document

    def open(self, uri: str, version: int, text: str) -> None:
        """The client shows a document; from now on its text is what the client says, not what the disk says."""
        self.close(uri)
        if self._too_large(len(text)):
            logger.warning("a document of %d characters is not followed: too large", len(text))
            return
        self._open[uri] = Document(uri, version, text)
        self._chars += len(text)

    def close(self, uri: str) -> None:
        """The client closed it."""
        document = self._open.pop(uri, None)
        if document is not None:
            self._chars -= len(document)

    def change(self, uri: str, version: int, changes: Iterable[types.TextDocumentContentChangeEvent]) -> None:
        """Apply the client's edits in their order; edits of a document that is not open are ignored."""
        document = self._open.get(uri)
        if document is None:
            return
        for change in changes:
            before = len(document)
            area = getattr(change, "range", None)
            if area is None:
                document.replace(change.text)
            else:
                start, end = area.start, area.end
                document.edit((start.line, start.character), (end.line, end.character), change.text)
            self._chars += len(document) - before
            if len(document) > MAX_DOCUMENT_CHARS or self._chars > MAX_TOTAL_CHARS:
                logger.warning("a document grew to %d characters and is not followed any more", len(document))
                self.close(uri)
                return
        document.version = version

    def _too_large(self, chars: int) -> bool:
        return chars > MAX_DOCUMENT_CHARS or self._chars + chars > MAX_TOTAL_CHARS
