"""Text that says the same again and again, found while it is being written: what small models do when they are lost."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LINE_PERIODS = 4
"""A block of up to so many lines counts as a unit that may repeat."""
_SEED_CHARS = 12
"""A line is looked at once so many characters have been seen before in it: shorter echoes are in every line."""
_RULER_CHARS = 256
"""How long a line may consist of one or two signs, or of no letters and digits at all: rulers and table borders do."""
_COPIES = ((8, 8), (16, 4))
"""Copies of a unit that are too many, for units of fewer characters than the first figure: ``0, `` often stands in a
row."""
_COPIES_OF_LONG = 3


class LineRepetition:
    """The last lines, and which next line would begin the third copy of one or several of them."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Begin with the lines above the cursor, without blank ones."""
        self._lines = deque(lines, maxlen=2 * LINE_PERIODS)

    def add(self, line: str) -> None:
        """A line that is not blank, without blanks at its end."""
        self._lines.append(line)

    def third_copies(self) -> list[str]:
        """The lines that would begin a third copy. Lines without a letter or digit alone are none."""
        lines = list(self._lines)
        found = []
        for period in range(1, LINE_PERIODS + 1):
            last = lines[-period:]
            is_second = len(lines) >= 2 * period and last == lines[-2 * period : -period]
            if is_second and any(char.isalnum() for line in last for char in line):
                found.append(last[0])
        return found


class LinePeriod:
    """Finds a unit that repeats inside one line, in constant time a character."""

    def __init__(self, line: str = "") -> None:
        """Begin with what the line already has."""
        self._line = ""
        self._seen: dict[str, int] = {}
        self._period = 0
        self._run = 0
        """So many characters at the end equal those a period before."""
        for char in line:
            self.add(char)

    def add(self, char: str) -> None:
        """Go on with one character."""
        self._line = line = self._line + char
        at = len(line) - 1
        if self._period and line[at - self._period] == char:
            self._run += 1
        else:
            self._period = self._run = 0
        if len(line) < _SEED_CHARS:
            return
        seed = line[-_SEED_CHARS:]
        before = self._seen.get(seed)
        self._seen[seed] = at
        if before is not None and not self._period:
            self._period = period = at - before
            run = _SEED_CHARS
            while at - run - period >= 0 and line[at - run] == line[at - run - period]:
                run += 1
            self._run = run

    @property
    def too_many(self) -> bool:
        """Whether the line is nothing but copies of a unit by now."""
        period = self._period
        if not period or self._run < period:
            return False
        unit = self._line[-period:]
        if period <= 2 or not any(char.isalnum() for char in unit):
            return self._run + period >= _RULER_CHARS
        limit = next((copies for size, copies in _COPIES if period < size), _COPIES_OF_LONG)
        return self._run // period + 1 >= limit

    @property
    def kept(self) -> int:
        """Where the third copy begins, as an index into the line; the line's length if there is none."""
        if not self._period:
            return len(self._line)
        return min(len(self._line) - self._run + self._period, len(self._line))
