"""The text of a document in blocks, so that a keystroke in 50 MB costs what it costs in a small file.

A Python string cannot be edited: one more character means a copy of everything. Here it means a copy of one block.
Places are indices of code points, or lines and UTF-16 code units within them; what was found last is remembered,
because the next question is about the same spot.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from botframework.wire.text import LINE_END

BLOCK_CHARS = 16 * 1024
"""Of one block: an edit copies so much, which takes microseconds, and 64 Mi characters are 4,096 blocks."""

_UTF16 = "utf-16-le"
_LONE = "surrogatepass"


def units(text: str) -> int:
    """UTF-16 code units of a text."""
    return len(text) if text.isascii() else len(text.encode(_UTF16, _LONE)) // 2


class _Block:
    """A piece of the text, never parted between CR and LF."""

    __slots__ = ("_ends", "breaks", "text", "units")

    def __init__(self, text: str) -> None:
        self.text = text
        self.units = units(text)
        self.breaks = text.count("\n")
        if "\r" in text:
            self.breaks += text.count("\r") - text.count("\r\n")
        self._ends: list[int] | None = None

    @property
    def ends(self) -> list[int]:
        """Where line ends end, looked for when first asked: most blocks of a large document never are."""
        if self._ends is None:
            self._ends = [found.end() for found in LINE_END.finditer(self.text)] if self.breaks else []
        return self._ends

    def index(self, start: int, count: int) -> int:
        """The index that lies ``count`` code units after ``start``; inside a surrogate pair is before it."""
        if self.units == len(self.text):
            return min(start + count, len(self.text))
        data = self.text[start : start + count].encode(_UTF16, _LONE)[: 2 * count]
        if len(data) == 2 * count > 0 and 0xD8 <= data[-1] <= 0xDB and not _is_lone(self.text, start, count, data):
            data = data[:-2]
        return start + len(data.decode(_UTF16, _LONE))


def _is_lone(text: str, start: int, count: int, data: bytes) -> bool:
    """Whether the last unit, a high surrogate, is a character of its own."""
    last = start + len(data[:-2].decode(_UTF16, _LONE))
    return last < min(len(text), start + count) and 0xD800 <= ord(text[last]) <= 0xDBFF


class _Spot(NamedTuple):
    """A block and what lies before it."""

    block: int
    chars: int
    breaks: int


_BEGIN = _Spot(0, 0, 0)


class Blocks:
    """A text that is edited in place."""

    def __init__(self, text: str) -> None:
        self._blocks = _cut(text)
        self._spot = _BEGIN
        self._chars = len(text)
        self._breaks = sum(block.breaks for block in self._blocks)

    def __len__(self) -> int:
        return self._chars

    def __str__(self) -> str:
        return "".join(block.text for block in self._blocks)

    @property
    def breaks(self) -> int:
        """Line ends."""
        return self._breaks

    def slice(self, first: int, last: int) -> str:
        """The text from one index to another, both within the text."""
        if first >= last:
            return ""
        spot = self._at_char(first)
        number, begin, end = spot.block, first - spot.chars, last - spot.chars
        text = self._blocks[number].text
        if end <= len(text):
            return text[begin:end]
        pieces = [text[begin:]]
        end -= len(text)
        while end > 0:
            number += 1
            text = self._blocks[number].text
            pieces.append(text[:end])
            end -= len(text)
        return "".join(pieces)

    def offset(self, line: int, character: int) -> int:
        """The index of a position: beyond the end is the end, inside a surrogate pair is before it."""
        if line < 0:
            return 0
        if line > self._breaks:
            return self._chars
        number, before, start = self._line_start(line)
        character = max(character, 0)
        while True:
            block = self._blocks[number]
            later = bisect_right(block.ends, start) if block.breaks else 0
            if later < block.breaks:
                stop = block.ends[later] - (2 if block.text.endswith("\r\n", start, block.ends[later]) else 1)
                return before + min(block.index(start, character), stop)
            there = block.units if start == 0 else units(block.text[start:])
            if character < there or number + 1 == len(self._blocks):
                return before + block.index(start, character)
            character -= there
            before, number, start = before + len(block.text), number + 1, 0

    def position(self, index: int) -> tuple[int, int]:
        """Line and UTF-16 character of an index."""
        spot = self._at_char(index)
        block, within = self._blocks[spot.block], index - spot.chars
        earlier = bisect_right(block.ends, within)
        line = spot.breaks + earlier
        if earlier:
            return line, units(block.text[block.ends[earlier - 1] : within])
        character, number = units(block.text[:within]), spot.block
        while number:
            number -= 1
            block = self._blocks[number]
            if block.breaks:
                return line, character + units(block.text[block.ends[-1] :])
            character += block.units
        return line, character

    def splice(self, first: int, last: int, new: str) -> None:
        """Put ``new`` in the place of the text between two indices."""
        spot = self._at_char(first)
        low = high = spot.block
        head = self._blocks[low].text[: first - spot.chars]
        rest = last - spot.chars
        while rest > len(self._blocks[high].text):
            rest -= len(self._blocks[high].text)
            high += 1
        text = f"{head}{new}{self._blocks[high].text[rest:]}"
        if low and (text.startswith("\n") or not text):
            low -= 1
            text = self._blocks[low].text + text
        # CR and LF of two blocks may have come together, and blocks that deletions left small are joined again.
        if high + 1 < len(self._blocks) and (text.endswith("\r") or len(text) < BLOCK_CHARS // 4):
            high += 1
            text += self._blocks[high].text
        if low < spot.block:
            self._spot = self._back(spot)
        made = _cut(text)
        gone = self._blocks[low : high + 1]
        self._chars += len(new) - (last - first)
        self._breaks += sum(block.breaks for block in made) - sum(block.breaks for block in gone)
        self._blocks[low : high + 1] = made

    def _line_start(self, line: int) -> tuple[int, int, int]:
        """Block, characters before the block, and index within the block of a line's beginning."""
        if line == 0:
            return 0, 0, 0
        spot = self._spot
        while spot.breaks >= line:
            spot = self._back(spot)
        while spot.breaks + self._blocks[spot.block].breaks < line:
            spot = self._next(spot)
        self._spot = spot
        return spot.block, spot.chars, self._blocks[spot.block].ends[line - spot.breaks - 1]

    def _at_char(self, index: int) -> _Spot:
        """The block that holds an index; the last one for the end of the text."""
        spot = self._spot
        while spot.chars > index:
            spot = self._back(spot)
        while spot.chars + len(self._blocks[spot.block].text) <= index and spot.block + 1 < len(self._blocks):
            spot = self._next(spot)
        self._spot = spot
        return spot

    def _next(self, spot: _Spot) -> _Spot:
        block = self._blocks[spot.block]
        return _Spot(spot.block + 1, spot.chars + len(block.text), spot.breaks + block.breaks)

    def _back(self, spot: _Spot) -> _Spot:
        block = self._blocks[spot.block - 1]
        return _Spot(spot.block - 1, spot.chars - len(block.text), spot.breaks - block.breaks)


def _cut(text: str) -> list[_Block]:
    """Blocks of a text; one that may be edited soon has room to grow."""
    if len(text) <= 2 * BLOCK_CHARS:
        return [_Block(text)]
    blocks, begin = [], 0
    while begin < len(text):
        end = begin + BLOCK_CHARS
        if text.startswith("\n", end) and text.startswith("\r", end - 1):
            end += 1
        blocks.append(_Block(text[begin:end]))
        begin = end
    return blocks
