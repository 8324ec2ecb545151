"""How a suggestion meets the rest of its line.

Editors close brackets and quotes by themselves, so behind the cursor there often stands text that the writer has not
reached yet. The model is asked as if it were not there, and writes it itself. What it has written of it is replaced:
the suggestion's range covers it. VS Code shows such a suggestion only if the covered characters stand in it, in their
order.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from botframework.wire.text import CLOSERS, line_end

QUOTES = "\"'`"
SHORTEST_OVERLAP = 3
"""Characters in which the end of a suggestion and the text behind it must agree to be taken for the same."""

_OPENERS = {")": "(", "]": "[", "}": "{", ">": "<"}
_SEPARATORS = ";:,"
_ESCAPED = re.compile(r"\\.")


class Fitted(NamedTuple):
    """A suggestion that fits its place."""

    text: str
    covered: int
    """Characters after the cursor that it replaces; all of them are ASCII, so they are UTF-16 code units too."""


def rest_of_line(after: str) -> str:
    """The text after the cursor up to the end of its line."""
    return after[: line_end(after)]


def is_closers(rest: str) -> bool:
    """Whether nothing stands behind the cursor that is worth keeping in its place."""
    return not rest.strip(CLOSERS)


def beyond_closers(after: str) -> str:
    """The text after the cursor from the first character on that no editor puts there by itself."""
    return after.lstrip(CLOSERS + "\r\n")


def fit(text: str, rest: str, *, may_cover: bool = True) -> Fitted:
    """Fit a suggestion to the rest of its line; what it repeats of it is replaced or left out.

    Parameters
    ----------
    text
        The suggestion, with plain line feeds.
    rest
        The text after the cursor up to the end of its line.
    may_cover
        Whether the range may reach beyond the cursor.
    """
    rest = rest.rstrip()
    if not rest:
        return Fitted(text, 0)
    if not is_closers(rest):
        return Fitted(_without_overlap(text.split("\n", 1)[0], rest), 0)
    scan = _Scan(text, rest)
    text, met = text[: scan.run()].rstrip(), scan.met
    covered = len(met)
    while covered and (not may_cover or not _is_within(rest[: met[covered - 1][1]], text)):
        covered -= 1
    if covered < len(met):
        # These closers cannot be replaced, so they stay where they are and are left out here.
        return Fitted(text[: met[covered][0]].rstrip(), met[covered - 1][1] if covered else 0)
    if not met and "\n" in text and text.split("\n", 1)[0].strip():
        # It has forgotten what is still open; whatever comes after its first line would end up inside.
        return Fitted(text.split("\n", 1)[0].rstrip(), 0)
    return Fitted(text, met[-1][1] if met else 0)


class _Scan:
    """Goes through a suggestion and meets the closers of the rest of the line that it writes itself."""

    def __init__(self, text: str, rest: str) -> None:
        self.text = text
        self.rest = rest
        self.met: list[tuple[int, int]] = []
        """For each closer that was met its index in the text and its end in the rest."""
        self._at = _skip_blanks(rest, 0)
        self._own: list[str] = []
        self._quote = ""
        first = _ESCAPED.sub("", text.split("\n", 1)[0])
        # With an even number of quotes the text closes one string and opens another: the rest stays the end of that.
        self._inside = rest[self._at] if rest[self._at] in QUOTES and first.count(rest[self._at]) % 2 else ""
        self._angles = ">" in rest

    def run(self) -> int:
        """Go; the index of a closer is returned that closes what the rest says is something else, or the length."""
        index = -1
        while (index := index + 1) < len(self.text) and self._at < len(self.rest):
            char = self.text[index]
            if self._quote or self._inside:
                index += char == "\\"
                self._in_string(index, char)
            elif char in QUOTES:
                self._quote = char
            elif char in "([{" or (char == "<" and self._angles):
                self._own.append(char)
            elif char in ")]}" or (char == ">" and self._angles):
                if not self._close(index, char):
                    return index
            elif char in _SEPARATORS and not self._own and self._separates(index, char):
                self._meet(index)
        return len(self.text)

    def _in_string(self, index: int, char: str) -> None:
        if self._quote:
            self._quote = "" if char in (self._quote, "\n") else self._quote
        elif char == self._inside:
            self._meet(index)
            follows = self.rest[self._at : self._at + 1]
            self._inside = follows if follows == char == self.text[index + 1 : index + 2] else ""

    def _close(self, index: int, char: str) -> bool:
        """Take a closing bracket; False: it fits nothing."""
        if self._own and self._own[-1] == _OPENERS[char]:
            self._own.pop()
        elif self.rest[self._at] == char:
            self._meet(index)
        else:
            return self.rest[self._at] not in ")]}"
        return True

    def _separates(self, index: int, char: str) -> bool:
        """Whether a separator is the one of the rest: right behind a closer that was met, or at the line's end."""
        if self.rest[self._at] != char:
            return False
        if self.met:
            return not self.text[self.met[-1][0] + 1 : index].strip()
        line = self.text[index:].split("\n", 1)[0].rstrip()
        return self.rest[self._at :].startswith(line)

    def _meet(self, index: int) -> None:
        self.met.append((index, self._at + 1))
        self._at = _skip_blanks(self.rest, self._at + 1)


def _skip_blanks(rest: str, at: int) -> int:
    while at < len(rest) and rest[at] in " \t":
        at += 1
    return at


def _is_within(part: str, text: str) -> bool:
    """Whether the characters of ``part`` stand in the text, in this order."""
    left = iter(text)
    return all(char in left for char in part)


def _without_overlap(text: str, rest: str) -> str:
    """A line without the end that already stands behind the cursor."""
    for end in (rest, rest.lstrip()):
        if text.endswith(end):
            return text.removesuffix(end)
    for count in range(min(len(text), len(rest)), SHORTEST_OVERLAP - 1, -1):
        if text.endswith(rest[:count]):
            return text[:-count]
    return text
