"""The brackets that are open at the cursor, and those of them that the text behind it closes.

Nobody says what language a text is in, and quotes and comments differ: a ``'`` begins a string, a lifetime or nothing,
a ``#`` a comment or a colour. So a text is read in several ways, and a bracket only counts as unmatched when it is so
in all of them.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

BEFORE_CHARS = 4_000
"""Text before the cursor that is searched for open brackets: some hundred lines. Reading them takes about a
millisecond, and is done only when a closer, a blank line or a string asks for it."""
BEHIND_CHARS = 2_000
"""Text after the cursor that is searched for their closers."""
TAB_COLUMNS = 4
"""Only lines of one file are compared, which seldom mix; four makes a mix look right most often."""

CLOSER_OF = {"(": ")", "[": "]", "{": "}"}
CLOSERS = frozenset(CLOSER_OF.values())

_SIGN = re.compile(r"""\\.|\"""|'''|["'`#\r\n()\[\]{}]|//|/\*|\*/""", re.DOTALL)
LONG_QUOTES = frozenset(('"""', "'''", "`", "*/"))
"""Ends of what goes on over line ends."""
_SHORT_QUOTES = frozenset(("\n", '"', "'"))
"""Ends of what ends with the line anyway."""
_NEXT_LINE = re.compile(r"[^\S\r\n]*(?:[\r\n][^\S\r\n]*)*[\r\n]([^\S\r\n]*\S[^\r\n]*)")
_LABEL = re.compile(r"\s*(?:case\b|default\b|#|\w+\s*:)")
_INDENT = re.compile(r"[ \t]*")


class Reading(enum.Enum):
    """What hides a bracket from the count."""

    BARE = enum.auto()
    """Nothing."""
    QUOTES = enum.auto()
    """Strings and comments, but not between apostrophes."""
    FULL = enum.auto()
    """Strings, apostrophes and comments."""


class Match(enum.Enum):
    """What a closer at the end of the generated text closes."""

    TEXT = enum.auto()
    """Nothing: it is part of a string or a comment, or the opener may stand before all that was read."""
    GENERATED = enum.auto()
    """A bracket that was opened in the generated text."""
    TYPED = enum.auto()
    """A bracket that is open before the cursor and not closed behind it."""
    NOTHING = enum.auto()
    """Nothing that is still open: the bracket before the cursor is closed behind it."""
    STRAY = enum.auto()
    """Nothing: no such bracket is open before the cursor."""


@dataclass(frozen=True, slots=True)
class Opener:
    """An open bracket."""

    closer: str
    indent: int
    """Columns of its line's indentation."""
    line: int = 0
    """Where its line begins."""


@dataclass(slots=True)
class _State:
    stack: list[Opener] = field(default_factory=list)
    quote: str = ""
    """What ends the string or the comment that the text is in: a line end stands for itself."""
    indent: int = 0
    """Of the line that goes on."""
    loose: list[Opener] = field(default_factory=list)
    """Closers without an opener; the indentation is -1 for one that does not begin its line."""

    def copy(self) -> _State:
        return _State(list(self.stack), self.quote, self.indent)


def indent_of(line: str) -> int:
    """Columns of a line's indentation."""
    blanks = _INDENT.match(line)
    return len(blanks.group().expandtabs(TAB_COLUMNS)) if blanks else 0


class Brackets:
    """The brackets around one cursor."""

    def __init__(self, prefix: str, suffix: str) -> None:
        """Read the text around the cursor, both sides of any size; ``suffix`` without closers that will be replaced."""
        window = prefix[-BEFORE_CHARS:]
        is_cut = len(window) < len(prefix)
        if is_cut:
            window = window[window.find("\n") + 1 :]
        self._readings = [_Reading(reading, window, suffix[:BEHIND_CHARS], is_cut=is_cut) for reading in Reading]

    def closes(self, text: str, closer: str) -> tuple[Match, int]:
        """What a closer behind a generated text closes, and the indentation of that bracket's line.

        `Match.NOTHING` and `Match.STRAY` only if all readings agree that nothing is closed.
        """
        found = [reading.closes(text, closer) for reading in self._readings]
        nothing = [match for match, _ in found if match in (Match.NOTHING, Match.STRAY)]
        if len(nothing) == len(found):
            return Match.STRAY if Match.STRAY in nothing else Match.NOTHING, 0
        return found[-1] if found[-1][0] not in nothing else (Match.TEXT, 0)

    def is_inside(self, text: str) -> bool:
        """Whether a bracket or a string that was opened in the generated text is still open at its end."""
        return self._readings[-1].is_inside(text)


class _Reading:
    """One way to read the text around the cursor."""

    def __init__(self, reading: Reading, before: str, behind: str, *, is_cut: bool) -> None:
        self._reading = reading
        self._is_cut = is_cut
        self._cursor = _State()
        _read(before, self._cursor, reading)
        following = _State(quote=self._cursor.quote, indent=self._cursor.indent)
        _read(behind, following, reading, continues_line=True)
        line = max(before.rfind("\n"), before.rfind("\r")) + 1
        goes_on = [_goes_on(opener, before[line:], line, behind) for opener in self._cursor.stack]
        self._closed, self._closes_more = _closed(self._cursor.stack, goes_on, following.loose, is_cut=is_cut)

    def closes(self, text: str, closer: str) -> tuple[Match, int]:
        state = self._after(text)
        if state.quote:
            return Match.TEXT, 0
        for index in range(len(state.stack) - 1, self._closed - 1, -1):
            opener = state.stack[index]
            if opener.closer == closer:
                known = len(self._cursor.stack)
                is_typed = index < known and opener is self._cursor.stack[index]
                return Match.TYPED if is_typed else Match.GENERATED, opener.indent
        if any(opener.closer == closer for opener in self._cursor.stack) or (self._is_cut and self._closes_more):
            return Match.NOTHING, 0
        return Match.TEXT if self._is_cut else Match.STRAY, 0

    def is_inside(self, text: str) -> bool:
        state = self._after(text)
        known = self._cursor.stack
        typed = sum(one is other for one, other in zip(state.stack, known, strict=False))
        return len(state.stack) > typed or (state.quote in LONG_QUOTES and state.quote != self._cursor.quote)

    def _after(self, text: str) -> _State:
        state = self._cursor.copy()
        _read(text, state, self._reading, continues_line=True)
        return state


def _goes_on(opener: Opener, cursor_line: str, line: int, behind: str) -> bool:
    """Whether the text behind the cursor may still be inside a bracket, judged by the indentation of its next line."""
    following = _NEXT_LINE.match(behind)
    if following is None:  # The cursor's line goes on.
        return True
    content = following.group(1)
    indent = indent_of(content)
    if indent != opener.indent or content.lstrip()[0] in CLOSERS:
        return indent >= opener.indent
    # Blocks like a namespace are not indented, and neither are the labels in some.
    is_indented = opener.line == line or indent_of(cursor_line) > opener.indent
    return opener.closer == "}" and (not is_indented or bool(_LABEL.match(content)))


def _closed(stack: list[Opener], goes_on: list[bool], closers: list[Opener], *, is_cut: bool) -> tuple[int, bool]:
    """How many brackets of a stack are out of reach because closers behind it close the last of them.

    Also whether there are closers that belong to brackets before the stack.
    """
    reach, closed = len(stack), 0
    for closer in closers:
        same = [index for index in range(reach) if stack[index].closer == closer.closer and goes_on[index]]
        level = [index for index in same if stack[index].indent == closer.indent]
        is_outer = is_cut and not level and closer.indent >= 0 and all(stack[at].indent > closer.indent for at in same)
        if not same or is_outer:
            return closed, True
        reach = (level or same)[-1]
        closed = max(closed, reach + 1)
    return closed, False


def _read(text: str, state: _State, reading: Reading, *, continues_line: bool = False) -> None:
    line = 0
    if not continues_line:
        state.indent = indent_of(text)
    for match in _SIGN.finditer(text):
        sign, at = match.group(), match.start()
        if sign in "\r\n":
            if state.quote in _SHORT_QUOTES:
                state.quote = ""
            line, state.indent, continues_line = match.end(), -1, False
        elif state.quote:
            state.quote = "" if sign == state.quote else state.quote
        elif sign in CLOSER_OF or sign in CLOSERS:
            if state.indent < 0:
                state.indent = indent_of(text[line:at])
            begins_line = not continues_line and not text[line:at].strip()
            _count(state, sign, state.indent if begins_line else -1, line)
        elif reading is not Reading.BARE:
            state.quote = _quote(sign, text[at - 1] if at else "", reading)
    if state.indent < 0:
        state.indent = indent_of(text[line:])


def _count(state: _State, bracket: str, indent: int, line: int) -> None:
    if bracket in CLOSER_OF:
        state.stack.append(Opener(CLOSER_OF[bracket], state.indent, line))
        return
    for index in range(len(state.stack) - 1, -1, -1):
        if state.stack[index].closer == bracket:
            del state.stack[index:]
            return
    state.loose.append(Opener(bracket, indent))


def _quote(sign: str, before: str, reading: Reading) -> str:
    """What ends the string or comment that a sign begins; empty if it begins none."""
    match sign:
        case '"' | '"""' | "`":
            return sign
        case "'" | "'''":
            is_apostrophe = sign == "'" and before.isalnum()
            return sign if reading is Reading.FULL and not is_apostrophe else ""
        case "//":
            return "" if before == ":" else "\n"
        case "#":
            return "\n" if before in ("", " ", "\t", "\r", "\n") else ""
        case "/*":
            return "*/"
    return ""
