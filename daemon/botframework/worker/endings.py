"""Where ghost text ends: at the point where a person would look up.

A model goes on until its limit: it leaves the function, writes what already stands below, or repeats itself. These
rules know only lines, indentation and brackets, so that they serve any language. They are decided character by
character, so that it does not matter how the text is cut into tokens; what a rule may still take back is held.

In order, at the first character that meets one:

* a bracket that closes what is not open, or is closed behind the cursor already: `closer`
* a unit that repeats inside a line, or a third copy of the last lines: `repetition`
* a line that stands next behind the cursor: `suffixLine`
* a line indented less than the one it began with, or behind the block that the cursor's line opened: `dedent`; closers
  of this block stay if the text behind the cursor lacks them
* a blank line outside of a block: `blankLine`
* a line end, when one line was asked for: `lineEnd`, or the time is over: `time`
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botframework.wire.text import line_end
from botframework.worker.brackets import CLOSER_OF, CLOSERS, LONG_QUOTES, Brackets, Match, indent_of
from botframework.worker.repetition import LINE_PERIODS, LinePeriod, LineRepetition
from botframework.worker.window import after_closers

if TYPE_CHECKING:
    from botframework.wire.messages import Ending

MAX_BLANK_LINES = 2
"""More blank lines in a row are no code, in any style guide."""
MAX_COMPARED_CHARS = 2_000
"""A line under the cursor longer than this is data: it is compared with nothing."""
SEEN_CHARS = 4_000
"""Text on each side of the cursor that is searched for its next or last lines."""

_OPENS_BLOCK = (":", "{", "(", "[", ",", "=>", "->", " do", " then", "\\")
"""Ends of lines that are sure to go on."""
_GOES_ON = re.compile(
    r"(?:else|elif|elsif|elseif|except|finally|catch|rescue|ensure|case|default|when)\b"
    r"|(?:end\w*|fi|done|esac)\b(?!\s*[(=.\[])|</"
)
"""Beginnings of lines that belong to the block above although they are not indented."""
_FIRST_WORD = re.compile(r"\w+|</?")
_LABEL = re.compile(r"\s*[^\s()]{1,40}(?: \| [^\s()]{1,40})*|.*[:;]-?", re.DOTALL)
"""What may stand before a ``)`` that closes nothing: a list's number, a shell's case, a smile."""
_ONLY_BRACKETS = "()[]{};, \t"
"""Lines of nothing else are no sign that the text below is being repeated: brackets decide about them."""
_WITH_CLOSERS = frozenset(";,")
_NEXT_LINE = re.compile(r"[\r\n]([^\S\r\n]*\S[^\r\n]*)")


class Endings:
    """Looks for the end of one ghost text while it is generated."""

    def __init__(self, prefix: str, suffix: str, *, one_line: bool) -> None:
        """Look at the text around the cursor, of any size.

        Parameters
        ----------
        prefix, suffix
            The file before and after the cursor.
        one_line
            The text ends before its first line end.
        """
        self._one_line = one_line
        self._prefix = prefix
        seen = prefix[-SEEN_CHARS:]
        begin = max(seen.rfind("\n"), seen.rfind("\r")) + 1
        head = seen[begin:]
        self._behind = after_closers(suffix[:SEEN_CHARS])
        self._rest = self._behind[: line_end(self._behind)].rstrip()
        following = _NEXT_LINE.search(self._behind, len(self._rest))
        self._next = following.group(1).rstrip() if following else ""
        self._brackets: Brackets | None = None
        above = seen[:begin].splitlines()[0 if len(seen) == len(prefix) else 1 :]
        self._lines = LineRepetition([line.rstrip() for line in above if line.strip()][-2 * LINE_PERIODS :])

        self._text = ""
        self._sure = 0
        """So much of the text no rule can take back."""
        self._given = 0
        self._ending: Ending = ""
        self._after_return = False
        self._open: list[str] = []
        """Closers of the brackets that the text opened, whatever they stand in: others are judged."""

        self._cursor_line = True
        self._typed = bool(head.strip())
        """The cursor's line has more than blanks before the cursor."""
        self._start = indent_of(head) if head else None
        """Columns; lines indented less end the text."""
        self._last = head.rstrip()
        """The last line that is not blank."""
        self._deeper = False
        self._closed = False
        """A closer of the block around the cursor was kept: only its like may follow."""
        self._blanks = 0
        self._targets: list[str] = []
        """Lines that would end the text, as long as the current one begins like them."""
        self._begin(head if len(head) <= MAX_COMPARED_CHARS else head[-MAX_COMPARED_CHARS:])
        if len(head) > MAX_COMPARED_CHARS:
            self._targets = []

    def feed(self, text: str, *, late: bool = False) -> tuple[str, Ending]:
        """Go on with generated text.

        Parameters
        ----------
        text
            Whole characters; ignored once the text has ended.
        late
            The time for this text is over: end at the next line end, if there is anything to show by then.

        Returns
        -------
        sure
            What is certain to belong to the ghost text by now, without what was returned before.
        ending
            The rule that ended the text; empty: go on.
        """
        for char in text:
            if self._ending:
                break
            self._ending = self._end_line(char, late=late) if char in "\r\n" else self._add(char)
        return self._give(), self._ending

    def flush(self) -> str:
        """The end of the generation: what was held back and may stay. Line ends and blanks at the end do not."""
        if not self._ending and self._line.strip():
            self._judge_line()
        self._ending = self._ending or "lineEnd"
        return self._give()

    def _give(self) -> str:
        sure, self._given = self._text[self._given : self._sure], self._sure
        return sure

    def _begin(self, line: str) -> None:
        self._line = line
        self._line_at = len(self._text) - len(line)
        self._targets = self._lines.third_copies()
        if self._next.strip(_ONLY_BRACKETS):
            self._targets.append(self._next)
        self._period = LinePeriod(line)
        self._overlap = 0
        """Characters at the end that are the beginning of the rest of the cursor's line."""
        self._only_closers = False
        self._must_go_on = False

    # --- within a line ---

    def _add(self, char: str) -> Ending:
        self._after_return = False
        ending: Ending = ""
        if not char.isspace():
            if not self._line.strip():
                ending = self._begin_content(char)
            elif self._only_closers and char not in CLOSERS and char not in _WITH_CLOSERS:
                ending = "dedent"
            ending = ending or self._count(char)
        if ending:
            return ending
        self._text += char
        self._line += char
        self._period.add(char)
        if self._cursor_line and self._rest:
            self._overlap = self._overlap_with_rest()
        kept = self._line_at + self._period.kept
        if self._period.too_many:
            self._sure = max(self._sure, kept)
            return "repetition"
        if self._must_go_on and not self._goes_on():
            return "dedent"
        if not char.isspace() and not self._is_held():
            self._sure = max(self._sure, min(kept, len(self._text) - self._overlap))
        return ""

    def _begin_content(self, char: str) -> Ending:
        """The first character of a line that is not a blank."""
        indent = indent_of(self._line)
        if self._start is None or (self._cursor_line and not self._typed):
            self._start = indent
            return ""
        is_closer = char in CLOSERS
        if indent <= self._start and not is_closer and self._is_inside():
            return ""
        if self._closed and (not is_closer or indent >= indent_of(self._last)):
            return "dedent"
        if indent < self._start:
            self._only_closers = True
            return "" if is_closer else "dedent"
        if indent == self._start and not is_closer:
            if self._blanks and self._last:
                return "blankLine"
            self._must_go_on = self._typed and self._deeper
        return ""

    def _count(self, char: str) -> Ending:
        """Keep count of a bracket."""
        if char in CLOSER_OF:
            self._open.append(CLOSER_OF[char])
        elif char in CLOSERS:
            if char in self._open:
                while self._open.pop() != char:
                    pass
                return "dedent" if self._only_closers else ""
            return self._judge_closer(char)
        return ""

    def _judge_closer(self, closer: str) -> Ending:
        """Decide about a closer of something before the cursor."""
        match, indent = self._read_brackets().closes(self._text, closer)
        if match is Match.STRAY and closer == ")" and _LABEL.fullmatch(self._line):
            return ""
        if match in (Match.NOTHING, Match.STRAY):
            if self._next in self._targets and self._next.startswith(self._line + closer) and self._line.strip():
                return "suffixLine"
            repeats_rest = self._overlap and self._rest[self._overlap : self._overlap + 1] == closer
            if self._line.strip() and not repeats_rest:
                self._accept_line()
            return "closer"
        if self._only_closers and not self._line.strip():
            goes_on_below = bool(self._next) and indent_of(self._next) > indent
            if match is not Match.TYPED or indent != indent_of(self._line) or goes_on_below:
                return "dedent"
        return ""

    def _goes_on(self) -> bool:
        """Whether the line may still begin with a word that continues the block."""
        content = self._line.strip()
        word = _FIRST_WORD.match(content)
        if word and word.end() == len(content) and content != "</":
            return True
        self._must_go_on = False
        return bool(_GOES_ON.match(content))

    def _is_held(self) -> bool:
        line = self._line
        self._targets = [each for each in self._targets if each.startswith(line) or each == line.rstrip()]
        return bool(self._targets) or self._only_closers or self._must_go_on

    def _overlap_with_rest(self) -> int:
        most = min(self._overlap + 1, len(self._rest), len(self._text))
        return next((count for count in range(most, 0, -1) if self._text.endswith(self._rest[:count])), 0)

    # --- at the end of a line ---

    def _end_line(self, char: str, *, late: bool) -> Ending:
        if char == "\n" and self._after_return:
            self._text += char
            self._after_return = False
            self._line_at += 1
            return ""
        self._after_return = char == "\r"
        is_blank = not self._line.strip()
        ending: Ending = self._blank_line() if is_blank else self._judge_line()
        if ending:
            return ending
        if self._one_line:
            return "lineEnd"
        if late and self._text[: self._sure].strip():
            return "time"
        if not is_blank:
            self._last = self._line.rstrip()
            self._lines.add(self._last)
            self._deeper = self._deeper or indent_of(self._last) > (self._start or 0)
            self._closed = self._closed or self._only_closers
            self._blanks = 0
        self._text += char
        self._cursor_line = False
        self._begin("")
        return ""

    def _judge_line(self) -> Ending:
        """Decide about a line that is complete."""
        line = self._line.rstrip()
        is_generated = not self._cursor_line or bool(self._text.strip())
        if is_generated and line in self._targets:
            return "suffixLine" if line == self._next else "repetition"
        if self._must_go_on and not _GOES_ON.match(line.strip()):
            return "dedent"
        self._accept_line()
        return ""

    def _accept_line(self) -> None:
        """All of the line stays, but blanks at its end and what the rest of the cursor's line says as well."""
        end = len(self._text)
        if self._cursor_line and self._rest:
            repeats_rest = self._overlap == len(self._rest) and self._overlap > 1
            end -= self._overlap if repeats_rest else 0
        else:
            end = len(self._text.rstrip(" \t"))
        self._sure = max(self._sure, end)

    def _blank_line(self) -> Ending:
        self._blanks += 1
        if self._blanks > MAX_BLANK_LINES:
            return "blankLine"
        began = bool(self._last)
        return "blankLine" if began and (self._closed or not self._is_in_block()) else ""

    def _is_in_block(self) -> bool:
        is_deeper = indent_of(self._last) > (self._start or 0)
        return is_deeper or self._last.endswith(_OPENS_BLOCK) or self._is_inside()

    def _is_inside(self) -> bool:
        """Whether a bracket or a string that the text opened goes on."""
        if not self._open and not any(sign in self._text for sign in LONG_QUOTES):
            return False
        return self._read_brackets().is_inside(self._text)

    def _read_brackets(self) -> Brackets:
        """Read the text around the cursor; most ghost texts end without that."""
        if self._brackets is None:
            self._brackets = Brackets(self._prefix, self._behind)
        return self._brackets
