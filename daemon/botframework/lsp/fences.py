"""A model's answer without what it wraps around the text that it was asked for, while the answer is still coming.

Models that are asked for a text answer with a Markdown code block, often with a sentence before it and an explanation
after it. Text is held back here only as long as it could still belong to the wrapping.
"""

from __future__ import annotations

import enum
import re

MAX_PREAMBLE_LINES = 3
"""Lines with something on them that may stand before the code block; an answer with more has no block, and waits for
nothing."""
MAX_PREAMBLE_CHARS = 240
"""The same for long lines."""

THINKING = ("<think>", "</think>")
"""What some models think aloud before they answer."""

MARKDOWN = ("markdown", "md")
"""What models write behind a fence around a text with fences of its own."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r"[ \t]{0,200}(?P<marks>`{3,100}|~{3,100})(?P<info>[^`\n]{0,200})")
"""Bounded, so that nothing is held back for longer than this."""
_ONE_LINE = re.compile(r"[ \t]*(`{3,})([^`\n]+)\1[ \t]*")
"""A whole answer between marks on one line."""
_MAY_BE_FENCE = re.compile(r"[ \t]{0,200}(?:`{0,100}|~{0,100}|(?:`{3,100}|~{3,100})[^`\n]{0,200})")


class _Part(enum.Enum):
    """Where in the answer we are."""

    BEFORE = enum.auto()
    """A code block may still begin."""
    BLOCK = enum.auto()
    BARE = enum.auto()
    """There is no code block."""
    OVER = enum.auto()


def longest_fence(text: str) -> int:
    """Marks of the longest fence in a text; 0: there is none."""
    lines = (_FENCE.match(line) for line in text.splitlines())
    return max((len(found["marks"]) for found in lines if found is not None), default=0)


class Unwrapped:
    """Takes an answer piece by piece and gives the text in it, with line feeds as line ends.

    Parameters
    ----------
    own_marks
        Marks of the longest fence in the text that is to be changed, as a Markdown document has them; 0: it has none.
        With some, only a longer fence at the answer's very beginning is taken for its wrapping, or one that says
        ``markdown``; in an answer without one every fence is text.
    begins_with_thoughts
        The prompt ends with the mark that begins the model's thoughts, so that the answer does not begin with it.
    """

    def __init__(self, own_marks: int = 0, *, begins_with_thoughts: bool = False) -> None:
        self._own_marks = own_marks
        self._part = _Part.BEFORE
        self._held = THINKING[0] if begins_with_thoughts else ""
        self._line_is_text = False
        """What has come of the present line was let through."""
        self._marks = ""
        """The fence that began the block."""
        self._depth = 0
        """Blocks inside the block that are open."""

    @property
    def is_over(self) -> bool:
        """Whether the block has ended, so that whatever else comes is no part of the text."""
        return self._part is _Part.OVER

    def feed(self, piece: str) -> str:
        """Take a piece; the text that is certain now."""
        return self._advance(piece, is_last=False)

    def finish(self) -> str:
        """The rest of the text: nothing more comes."""
        return self._advance("", is_last=True)

    def _advance(self, piece: str, *, is_last: bool) -> str:
        held = (self._held + piece).replace("\r\n", "\n")
        self._held = ""
        if held.endswith("\r") and not is_last:
            held, self._held = held[:-1], "\r"
        if self._part is _Part.BEFORE:
            held = self._begin(held, is_last=is_last)
        text = ""
        if self._part in {_Part.BLOCK, _Part.BARE}:
            text, held = self._lines(held, is_last=is_last)
        self._held = "" if self.is_over else held + self._held
        return text

    def _begin(self, held: str, *, is_last: bool) -> str:
        """Look for the beginning of the text; what is not used up is given back."""
        opening, closing = THINKING
        held = held.lstrip("\n")
        while (start := held.lstrip()).startswith(opening):
            thought, mark, rest = start.partition(closing)
            if not mark:
                return "" if is_last else opening + thought[-len(closing) :]
            held = rest.lstrip("\n")
        if opening.startswith(start) and not is_last:
            return held
        return self._find_block(held, is_last=is_last)

    def _find_block(self, held: str, *, is_last: bool) -> str:
        at = words = 0
        for line in _LINE.findall(held):
            is_whole = line.endswith("\n")
            found = _FENCE.fullmatch(line.rstrip("\n"))
            if found is not None and (is_whole or is_last):
                above = held[:at]
                if self._wraps(found, above):
                    self._part, self._marks = _Part.BLOCK, found["marks"]
                    return held[at + len(line) :]
                self._part = _Part.BARE
                return held
            if is_whole or (found is None and _MAY_BE_FENCE.fullmatch(line) is None):
                words += bool(line.strip())
            at += len(line)
        most = 0 if self._own_marks else MAX_PREAMBLE_LINES
        if words <= most and len(held) <= MAX_PREAMBLE_CHARS and not is_last:
            return held
        self._part = _Part.BARE
        alone = _ONE_LINE.fullmatch(held.strip("\n")) if is_last else None
        return alone[2] if alone is not None else held

    def _wraps(self, fence: re.Match[str], above: str) -> bool:
        """Whether a fence begins the block that the answer consists of."""
        if self._own_marks:
            is_longer = len(fence["marks"]) > self._own_marks
            return not above.strip() and (is_longer or fence["info"].strip().lower() in MARKDOWN)
        # Below what is no sentence, a fence without a word ends a block that nothing has begun.
        return bool(fence["info"].strip()) or not above.strip() or above.rstrip().endswith((":", ".", "!"))

    def _lines(self, held: str, *, is_last: bool) -> tuple[str, str]:
        """The text at the beginning of what is held, and what has to wait."""
        text: list[str] = []
        for line in _LINE.findall(held):
            is_whole = line.endswith("\n")
            if not self._line_is_text:
                content = line.rstrip("\n")
                if not is_whole and not is_last and self._may_be_fence(content):
                    return "".join(text), line
                if self._ends_with(content):
                    self._part = _Part.OVER
                    break
            text.append(line)
            self._line_is_text = not is_whole
        return "".join(text), ""

    def _may_be_fence(self, start: str) -> bool:
        if self._part is _Part.BARE and self._own_marks:
            return False
        return _MAY_BE_FENCE.fullmatch(start) is not None

    def _ends_with(self, line: str) -> bool:
        """Whether this line is no text any more but the end of it."""
        found = _FENCE.fullmatch(line)
        if found is None:
            return False
        if self._part is _Part.BARE:
            return not self._own_marks
        if found["marks"][0] != self._marks[0] or len(found["marks"]) < len(self._marks):
            return False
        if found["info"].strip():
            self._depth += 1
            return False
        self._depth -= 1
        return self._depth < 0
