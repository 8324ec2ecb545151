"""New text in the place of old text: with the indentation, the line ends and the outer blanks of the place."""

from __future__ import annotations

import re
from typing import NamedTuple

_PARTS = re.compile(r"[ \t\n]+|[^ \t\n]+")
_LEADING = re.compile(r"(?:[ \t]*\n)*(?P<blanks>[ \t]*)")


class Spot(NamedTuple):
    """Where new text goes. Texts have line feeds as line ends."""

    before: str
    """The text of the line that stands before the range."""
    old: str
    """The text of the range; empty: the new text is inserted."""
    after: str
    """The text of the line that stands behind the range."""
    line_end: str = "\n"
    """The document's."""

    @property
    def is_whole_line(self) -> bool:
        """Whether nothing but indentation stands before the range."""
        return not self.before.strip()


class Fitted:
    """Takes new text piece by piece and gives it as it has to stand in the document.

    Blank lines at its beginning and blanks at its end are dropped, those of the old text stay. When its first line is
    indented otherwise than the old text's, every line is moved by the difference: models like to begin at the margin.
    """

    def __init__(self, spot: Spot) -> None:
        self._spot = spot
        self._head, self._first, self._wanted, self._tail = _frame(spot)
        self._got: str | None = None
        """The indentation of the first line, once it is known."""
        self._blanks = ""
        """What has come since the last character that is none: perhaps the end."""

    def feed(self, piece: str) -> str:
        """Take a piece; the text that is certain now."""
        text = "".join(self._take(part) for part in _PARTS.findall(piece))
        return text.replace("\n", self._spot.line_end)

    def finish(self) -> str:
        """The rest: nothing more comes."""
        # Of an empty text nothing is left, not even the old text's line end.
        return "" if self._got is None else self._tail.replace("\n", self._spot.line_end)

    def _take(self, part: str) -> str:
        if not part.strip(" \t\n"):
            self._blanks += part
            return ""
        blanks, self._blanks = self._blanks, ""
        if self._got is None:
            self._got = blanks.rpartition("\n")[2]
            return self._begin(self._got) + part
        above, line_end, indentation = blanks.rpartition("\n")
        if not line_end:
            return blanks + part
        # Blank lines in between lose their blanks, what stood at the end of a line with words on it does not.
        rest, *empty = above.split("\n")
        return rest + "\n" * (len(empty) + 1) + self._moved(indentation) + part

    def _begin(self, got: str) -> str:
        if self._first is not None:
            return self._head + self._first
        if self._spot.before.strip() and got:
            return "\n" + got  # At the end of a line, and the model goes on below it.
        return "" if self._spot.before.strip() else got

    def _moved(self, indentation: str) -> str:
        wanted, got = self._wanted, self._got or ""
        if wanted is None or wanted == got:
            return indentation
        if indentation.startswith(got):
            return wanted + indentation[len(got) :]
        if wanted.startswith(got):
            return wanted[len(got) :] + indentation
        if got.startswith(wanted):
            return indentation[len(got) - len(wanted) :]
        return indentation


def _frame(spot: Spot) -> tuple[str, str | None, str | None, str]:
    """Blank lines before the new text, blanks before its first line, the first line's indentation, and its end.

    None for the first line's blanks or indentation: whatever the model gives.
    """
    if spot.old.strip():
        found = _LEADING.match(spot.old)
        assert found is not None  # noqa: S101 - it matches everything
        head = spot.old[: found.start("blanks")]
        blanks = found["blanks"]
        tail = spot.old[len(spot.old.rstrip(" \t\n")) :]
        if head:
            return head, blanks, blanks, tail
        return "", blanks, spot.before + blanks if spot.is_whole_line else None, tail
    blanks, line_end, rest = spot.old.partition("\n")
    indentation = spot.before + blanks
    if not spot.is_whole_line:
        return "", blanks if spot.after.strip() or spot.old else None, None, line_end + rest
    if not spot.old and spot.after.strip():
        # Above a line that stays: on lines of its own, indented as that one.
        own = spot.after[: len(spot.after) - len(spot.after.lstrip(" \t"))]
        return "", own, indentation + own, "\n" + spot.before
    return ("", blanks, indentation, line_end + rest) if indentation else ("", None, None, line_end + rest)
