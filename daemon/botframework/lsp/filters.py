"""Why nothing is shown: the reasons in the order in which they are looked at.

Before the model is asked: ``paused``, ``disabled``, ``noModel``. While it answers: ``cancelled``, ``superseded``,
``failed``. Then the filters of `judge`, in this order; the first that drops a suggestion is the reason.

1. ``cutShort``: when the limit of tokens or time cut the answer inside a line, that line goes, for half a statement
   misleads. The first line stays, since half of it is all there is.
2. ``empty``: the model ended at once.
3. ``whitespaceOnly``: nobody sees it.
4. ``equalsSuffixLine``: its last lines, or all of it, already stand behind the cursor.
5. ``repeatsAbove``: it writes the lines above the cursor again: a model in a loop.
6. ``onlyClosers``: one or two brackets, quotes or separators are typed faster than read. Not when the user asked.
7. ``lowConfidence``: the model itself does not believe in it. Not when the user asked.

What only shortens a suggestion comes before what judges it, so that the judgement is about what would be shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from botframework.lsp.closers import fit, rest_of_line
from botframework.wire.text import CLOSERS, line_start

if TYPE_CHECKING:
    from botframework.wire.messages import Timings

Reason = Literal[
    "",
    "notAsked",
    "paused",
    "disabled",
    "noModel",
    "cancelled",
    "superseded",
    "failed",
    "cutShort",
    "empty",
    "whitespaceOnly",
    "equalsSuffixLine",
    "repeatsAbove",
    "onlyClosers",
    "lowConfidence",
]
Source = Literal["", "model", "joined", "cached", "prefetched"]

MAX_COMPARED_CHARS = 8_192
"""Text above and below the cursor that a suggestion is compared with; no suggestion is longer than a page or two."""
SHORTEST_REPETITION = 8
"""Characters of one line that is taken for a repetition; shorter ones (``pass``, ``end``) stand twice in good code."""
FEW_CLOSERS = 2
"""As many closers are not worth a look."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the last request of a document."""

    shown: bool = False
    reason: Reason = "notAsked"
    detail: str = ""
    source: Source = ""
    timings: Timings | None = None


class Verdict(NamedTuple):
    """A suggestion as it may be shown, or why not."""

    text: str
    covered: int
    """Characters after the cursor that it replaces."""
    reason: Reason


@dataclass(frozen=True, slots=True)
class Standards:
    """How strict to be."""

    is_invoked: bool = False
    """The user asked for it; whatever there is may help."""
    may_cover: bool = True
    """The range may reach beyond the cursor."""
    min_logprob: float | None = None


LENIENT = Standards()
"""What nothing is known about."""


def judge(
    text: str, before: str, after: str, *, was_cut: bool, mean_logprob: float, standards: Standards = LENIENT
) -> Verdict:
    """Shorten a suggestion to what is new, and decide whether to show it.

    Parameters
    ----------
    text
        What the model wrote after the cursor, with plain line feeds.
    before, after
        The document around the cursor, or as much as is known.
    was_cut
        A limit ended the text, wherever it was.
    mean_logprob
        Of its tokens; 0 if unknown.
    """
    whole, text = text, text.rpartition("\n")[0] if was_cut and "\n" in text else text
    if not text.strip():
        return _dropped("cutShort" if text != whole else "whitespaceOnly" if text else "empty")
    before, after = before[-MAX_COMPARED_CHARS:], after[:MAX_COMPARED_CHARS]
    rest = rest_of_line(after)
    head = before[line_start(before) :]
    below = [line.strip() for line in after[len(rest) :].splitlines() if line.strip()]
    text = _without_following(text.rstrip(), head, below)
    text, covered = fit(text, rest, may_cover=standards.may_cover)
    reason: Reason = ""
    if not text.strip():
        reason = "equalsSuffixLine"
    elif _repeats(text, head, before):
        reason = "repeatsAbove"
    elif text == rest[:covered] or (not standards.is_invoked and _is_few_closers(text)):
        reason = "onlyClosers"
    elif not standards.is_invoked and standards.min_logprob is not None and mean_logprob < standards.min_logprob:
        reason = "lowConfidence"
    return _dropped(reason) if reason else Verdict(text, covered, "")


def _dropped(reason: Reason) -> Verdict:
    return Verdict("", 0, reason)


def _without_following(text: str, head: str, below: list[str]) -> str:
    """A suggestion without the lines at its end with which the text behind the cursor goes on."""
    if not below:
        return text
    raw = text.split("\n")
    lines = [(head + raw[0]).strip(), *(line.strip() for line in raw[1:])]
    for begin in range(len(lines)):
        ending = [line for line in lines[begin:] if line]
        if not ending or ending != below[: len(ending)]:
            continue
        if any(_has_words(line) for line in ending) or not _closes_its_own(raw[begin:], raw[:begin]):
            return "\n".join(raw[:begin]).rstrip()
    return text


def _closes_its_own(ending: list[str], beginning: list[str]) -> bool:
    """Whether brackets that a suggestion ends with were opened in it, so that the same ones below are others."""
    opened = sum(line.count(char) for line in beginning for char in "([{")
    closed = sum(line.count(char) for line in (*beginning, *ending) for char in ")]}")
    return closed <= opened


def _repeats(text: str, head: str, before: str) -> bool:
    raw = text.split("\n")
    lines = [line for line in ((head + raw[0]).strip(), *(line.strip() for line in raw[1:])) if line]
    if sum(map(len, lines)) < SHORTEST_REPETITION or not any(map(_has_words, lines)):
        return False
    above = [line.strip() for line in before[: len(before) - len(head)].splitlines() if line.strip()]
    return lines == above[-len(lines) :]


def _has_words(line: str) -> bool:
    return any(char.isalnum() or char == "_" for char in line)


def _is_few_closers(text: str) -> bool:
    return "\n" not in text and not text.strip(CLOSERS) and len(text.strip()) <= FEW_CLOSERS
