"""Typing a piece of real code as a person does in an editor that closes brackets and indents by itself.

The editor's part follows VS Code: an opener brings its closer, a closer that stands there already is typed over, a line
end between two brackets makes three lines, a new line is indented like the one before, a line of nothing but blanks
loses them when it is left. The person's part is drawn from a seed: 1 to 4 characters a key, slips that are deleted,
words deleted and typed again, undone keys, pasted lines.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

Kind = Literal["typing", "autoClose", "newline", "delete", "paste", "undo", "jump", "switch", "open"]
"""What a key was; the last three are first keys: at another place, in a file that was open, in a new one."""

PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
INDENT = "    "
CHUNK_SHARES = (0.55, 0.25, 0.12, 0.08)
"""Of keys that bring 1, 2, 3 and 4 characters: fast typists' keys reach a server together."""
SLIP_SHARE = 0.05
WORD_DELETE_SHARE = 0.01
UNDO_SHARE = 0.015
PASTE_SHARE = 0.04
"""Of line starts."""
PASTE_LINES = (2, 4)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters from ``start`` to ``end`` of a document by ``text``."""

    start: int
    end: int
    text: str

    def applied_to(self, document: str) -> str:
        """The document afterwards."""
        return document[: self.start] + self.text + document[self.end :]


@dataclass(frozen=True, slots=True)
class Stroke:
    """One key, with offsets counted from the beginning of the region."""

    kind: Kind
    edit: Edit
    cursor: int
    """Behind the key."""


@dataclass(slots=True)
class _Closer:
    """A bracket that the editor put behind the cursor."""

    blanks: str = ""
    """What stands between: the line end and the indentation, when the closer has a line of its own."""


def bracket_pairs(text: str) -> dict[int, int]:
    """Opener to closer, both inside the text; quotes pair within their line, brackets inside quotes do not count."""
    pairs: dict[int, int] = {}
    waiting: list[int] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in "\"'":
            if text.startswith(char * 3, at):
                end = text.find(char * 3, at + 3)
                at = len(text) if end < 0 else end + 3
                continue
            line_end = text.find("\n", at)
            end = text.find(char, at + 1, len(text) if line_end < 0 else line_end)
            if end > 0 and "\\" not in text[at:end]:
                pairs[at] = end
                at = end
        elif char == "#":
            line_end = text.find("\n", at)
            at = len(text) if line_end < 0 else line_end
            continue
        elif char in "([{":
            waiting.append(at)
        elif char in ")]}":
            if waiting and PAIRS[text[waiting[-1]]] == char:
                pairs[waiting.pop()] = at
            else:
                waiting.clear()
        at += 1
    return pairs


class Retyping:
    """Types one text at one place, key by key; the place is empty at first and holds the text at the end."""

    def __init__(self, target: str, random_source: random.Random) -> None:
        self._target = target
        self._random = random_source
        self._pairs: Mapping[int, int] = bracket_pairs(target)
        self._closing = {closer: opener for opener, closer in self._pairs.items()}
        self._text = ""
        """What stands there now: everything before the cursor, and behind it what the editor added."""
        self._cursor = 0
        self._done = 0
        """Characters of the target that stand before the cursor."""
        self._waiting: list[_Closer] = []
        self._unit = "\t" if "\n\t" in f"\n{target}" else INDENT
        self._strokes = self._type()

    @property
    def is_finished(self) -> bool:
        """Whether everything is typed."""
        return self._done == len(self._target)

    @property
    def text(self) -> str:
        """What stands there now."""
        return self._text

    def next_stroke(self) -> Stroke | None:
        """The next key; None when the text is finished."""
        return next(self._strokes, None)

    # --- the person ---------------------------------------------------------------------------------------------------

    def _type(self) -> Iterator[Stroke]:
        yield from self._indent("")
        while not self.is_finished:
            char = self._target[self._done]
            if self._done in self._closing:
                yield from self._type_over(char)
            elif self._closes_below():
                yield from self._step_down()
            elif char == "\n":
                yield from self._new_line()
            elif self._done in self._pairs:
                yield self._open(char)
            elif self._is_at_line_start() and self._random.random() < PASTE_SHARE and (end := self._pasted_end()):
                yield from self._paste(end)
            elif char.isalnum() and self._random.random() < SLIP_SHARE:
                yield from self._slip()
            else:
                yield from self._chunk()

    def _chunk(self) -> Iterator[Stroke]:
        count = self._random.choices(range(1, len(CHUNK_SHARES) + 1), CHUNK_SHARES)[0]
        plain = self._plain(count)
        yield self._insert("typing", plain)
        chance = self._random.random()
        if chance < UNDO_SHARE:
            yield self._take_back("undo", len(plain))
        elif chance < UNDO_SHARE + WORD_DELETE_SHARE and (word := re.search(r"\w{2,}$", self._text[: self._cursor])):
            yield self._take_back("delete", min(len(word[0]), self._since_pair()))

    def _plain(self, count: int) -> str:
        """The next characters that the editor does nothing about."""
        end = self._done + 1
        while end < min(self._done + count, len(self._target)):
            if self._target[end] == "\n" or end in self._pairs or end in self._closing:
                break
            end += 1
        return self._target[self._done : end]

    def _since_pair(self) -> int:
        """How many characters before the cursor may be deleted without touching a bracket of a pair."""
        count = 0
        while count < self._done:
            at = self._done - count - 1
            if at in self._pairs or at in self._closing or self._target[at] == "\n":
                break
            count += 1
        return count

    def _slip(self) -> Iterator[Stroke]:
        wrong = "".join(self._random.choices(string.ascii_lowercase, k=self._random.randint(1, 3)))
        yield self._stroke("typing", Edit(self._cursor, self._cursor, wrong), self._cursor + len(wrong))
        for _ in wrong:
            yield self._stroke("delete", Edit(self._cursor - 1, self._cursor, ""), self._cursor - 1)

    def _paste(self, end: int) -> Iterator[Stroke]:
        text = self._target[self._done : end]
        yield self._insert("paste", text)
        if self._random.random() < 0.3:
            yield self._take_back("undo", len(text))
            yield self._insert("paste", text)

    def _pasted_end(self) -> int:
        """Where some whole lines end that no pair of brackets leaves; 0: there are none."""
        if self._waiting:
            return 0
        end = self._done
        for _ in range(self._random.randint(*PASTE_LINES)):
            end = self._target.find("\n", end + 1)
            if end < 0:
                return 0
        crossing = any(opener < end <= closer for opener, closer in self._pairs.items() if opener >= self._done)
        return 0 if crossing else end

    # --- the editor ---------------------------------------------------------------------------------------------------

    def _open(self, char: str) -> Stroke:
        self._waiting.append(_Closer())
        edit = Edit(self._cursor, self._cursor, char + PAIRS[char])
        self._done += 1
        return self._stroke("autoClose", edit, self._cursor + 1)

    def _type_over(self, char: str) -> Iterator[Stroke]:
        closer = self._waiting.pop()
        if closer.blanks:
            edit = Edit(self._cursor, self._cursor + len(closer.blanks), "")
            yield self._stroke("delete", edit, self._cursor)
        self._done += 1
        yield self._stroke("autoClose", Edit(self._cursor, self._cursor + 1, char), self._cursor + 1)

    def _closes_below(self) -> bool:
        """Whether the real text has its closer where the editor put one, on a line of its own."""
        if not self._waiting or not (blanks := self._waiting[-1].blanks):
            return False
        end = self._done + len(blanks)
        return self._target[self._done : end] == blanks and end in self._closing

    def _step_down(self) -> Iterator[Stroke]:
        """Go behind the closer below; that is no key, only the next one comes from there."""
        if count := self._left_blanks():
            yield self._stroke("delete", Edit(self._cursor - count, self._cursor, ""), self._cursor - count)
        closer = self._waiting.pop()
        way = len(closer.blanks) + 1
        self._done += way
        self._cursor += way

    def _left_blanks(self) -> int:
        """How many blanks the editor put on this line that the real text does not have."""
        line = self._text[: self._cursor].rpartition("\n")[2]
        return len(line) if self._is_at_line_start() else 0

    def _new_line(self) -> Iterator[Stroke]:
        line = self._text[: self._cursor].rpartition("\n")[2]
        indent = line[: len(line) - len(line.lstrip())]
        last = line.rstrip()[-1:]
        start = self._cursor - self._left_blanks()
        inner = indent + (self._unit if last and last in "([{:" else "")
        behind = ""
        if self._waiting and self._done - 1 in self._pairs and last in "([{":
            self._waiting[-1].blanks = behind = "\n" + indent
        self._done += 1
        cursor = start + 1 + len(inner)
        yield self._stroke("newline", Edit(start, self._cursor, "\n" + inner + behind), cursor)
        yield from self._indent(inner)

    def _indent(self, have: str) -> Iterator[Stroke]:
        """Make the indentation what the real text has; an empty line stays as the editor left it until it is left."""
        line = self._target[self._done :].partition("\n")[0]
        if not line:
            return
        want = line[: len(line) - len(line.lstrip())]
        while not want.startswith(have):
            cut = len(have) - (len(have) - 1) // len(self._unit) * len(self._unit)
            have = have[:-cut]
            yield self._stroke("delete", Edit(self._cursor - cut, self._cursor, ""), self._cursor - cut)
        self._done += len(have)
        while have != want:
            more = want[len(have) :][: len(self._unit)]
            have += more
            yield self._insert("typing", more)

    # --- edits --------------------------------------------------------------------------------------------------------

    def _is_at_line_start(self) -> bool:
        return self._done == 0 or self._target[self._done - 1] == "\n"

    def _insert(self, kind: Kind, text: str) -> Stroke:
        self._done += len(text)
        return self._stroke(kind, Edit(self._cursor, self._cursor, text), self._cursor + len(text))

    def _take_back(self, kind: Kind, count: int) -> Stroke:
        self._done -= count
        return self._stroke(kind, Edit(self._cursor - count, self._cursor, ""), self._cursor - count)

    def _stroke(self, kind: Kind, edit: Edit, cursor: int) -> Stroke:
        self._text = edit.applied_to(self._text)
        self._cursor = cursor
        return Stroke(kind, edit, cursor)
