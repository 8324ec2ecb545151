"""The open documents, and what a position in them means.

A position counts lines and, within a line, UTF-16 code units. Python strings count code points. Everything that
converts between the two is here.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

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

_BREAK = re.compile(r"\r\n|\n|\r")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ASTRAL = re.compile(r"[\U00010000-\U0010ffff]")


class Place(NamedTuple):
    """What is around a position."""

    before: str
    """At most `CONTEXT_CHARS` characters, ending at the position."""
    after: str
    """At most `CONTEXT_CHARS` characters, beginning at the position."""
    line: int
    """The position again, moved to where the document has one."""
    character: int


def clean(text: str) -> str:
    """Replace lone surrogates, which no encoding and no tokenizer accepts, by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def _units(text: str) -> int:
    """UTF-16 code units of a text."""
    return len(text) if text.isascii() else len(text) + len(_ASTRAL.findall(text))


def _line_starts(text: str) -> list[int]:
    return [0, *(found.end() for found in _BREAK.finditer(text))]


class Document:
    """One open document."""

    def __init__(self, uri: str, version: int, text: str) -> None:
        self.uri = uri
        self.version = version
        self.text = text
        self._starts = _line_starts(text)

    @property
    def line_count(self) -> int:
        """Lines, counting the one after a final line end."""
        return len(self._starts)

    def offset(self, line: int, character: int) -> int:
        """The index in ``text`` of a position: beyond the end is the end, inside a surrogate pair is before it."""
        if line < 0:
            return 0
        if line >= len(self._starts):
            return len(self.text)
        start = self._starts[line]
        content = self._line(line)
        if character >= len(content) * 2:
            return start + len(content)
        if _ASTRAL.search(content) is None:
            return start + min(max(character, 0), len(content))
        units = 0
        for index, char in enumerate(content):
            units += 2 if char > "\uffff" else 1
            if units > character:
                return start + index
        return start + len(content)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and UTF-16 character of an index in ``text``."""
        line = bisect_right(self._starts, offset) - 1
        return line, _units(self.text[self._starts[line] : offset])

    def _line(self, line: int) -> str:
        """A line without its end."""
        start = self._starts[line]
        if line + 1 == len(self._starts):
            return self.text[start:]
        end = self._starts[line + 1]
        return self.text[start : end - (2 if self.text[start:end].endswith("\r\n") else 1)]

    def place(self, line: int, character: int) -> Place:
        """The text around a position, cut to `CONTEXT_CHARS` on either side and without lone surrogates."""
        offset = self.offset(line, character)
        before = self.text[max(0, offset - CONTEXT_CHARS) : offset]
        after = self.text[offset : offset + CONTEXT_CHARS]
        return Place(clean(before), clean(after), *self.position(offset))

    def edit(self, start: tuple[int, int], end: tuple[int, int], new: str) -> None:
        """Replace what is between two positions."""
        first, last = sorted((self.offset(*start), self.offset(*end)))
        if new and 0xD800 <= ord(new[-1]) <= 0xDBFF and last < len(self.text):
            new, last = new + self.text[last], last + 1  # Its other half may be there now.
        if new and 0xDC00 <= ord(new[0]) <= 0xDFFF and first > 0:
            new, first = self.text[first - 1] + new, first - 1
        if not new and first > 0 and last < len(self.text):
            new, first, last = self.text[first - 1] + self.text[last], first - 1, last + 1
        if _SURROGATE.search(new):
            new = new.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        self._splice(first, last, new)

    def _splice(self, first: int, last: int, new: str) -> None:
        """Exchange text and look for line ends only where they can have changed."""
        grown = len(new) - (last - first)
        self.text = f"{self.text[:first]}{new}{self.text[last:]}"
        # One character more on either side: CR and LF may have come together or been parted.
        head = bisect_right(self._starts, max(0, first - 1)) - 1
        tail = bisect_right(self._starts, last + 1)
        begin = self._starts[head]
        end = self._starts[tail] + grown if tail < len(self._starts) else len(self.text)
        found = [match.end() for match in _BREAK.finditer(self.text, begin, end)]
        if tail < len(self._starts):
            rest = self._starts[tail:] if not grown else [start + grown for start in self._starts[tail:]]
            if found and found[-1] == end:
                found.pop()
            self._starts[head + 1 :] = found + rest
        else:
            self._starts[head + 1 :] = found

    def replace(self, text: str) -> None:
        """Exchange the whole text."""
        self.text = text
        self._starts = _line_starts(text)


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
            self._chars -= len(document.text)

    def change(self, uri: str, version: int, changes: Iterable[types.TextDocumentContentChangeEvent]) -> None:
        """Apply the client's edits in their order; edits of a document that is not open are ignored."""
        document = self._open.get(uri)
        if document is None:
            return
        for change in changes:
            before = len(document.text)
            area = getattr(change, "range", None)
            if area is None:
                document.replace(change.text)
            else:
                start, end = area.start, area.end
                document.edit((start.line, start.character), (end.line, end.character), change.text)
            self._chars += len(document.text) - before
            if len(document.text) > MAX_DOCUMENT_CHARS or self._chars > MAX_TOTAL_CHARS:
                logger.warning("a document grew to %d characters and is not followed any more", len(document.text))
                self.close(uri)
                return
        document.version = version

    def _too_large(self, chars: int) -> bool:
        return chars > MAX_DOCUMENT_CHARS or self._chars + chars > MAX_TOTAL_CHARS
