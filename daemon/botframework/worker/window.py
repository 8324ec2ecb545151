"""The window: which part of a file a completion's prompt shows, and whether it still fits what the file says now.

A window is the text before the *anchor* (its head) and the text after the cursor as it was when the window was laid
(its suffix). What stands between anchor and cursor is the *middle*. The window stays as long as the file's text is
head, middle, suffix, whatever was done to make it so: no edit is followed, the texts are compared.

The rest of the cursor's line is left out of the comparison when it is nothing but closers, or a bracket that the editor
closes by itself would end every window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.errors import ContextOverflow
from botframework.wire.text import CLOSERS, LINE_END, line_end, line_start
from botframework.worker.sessions import common_beginning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ANCHOR_LINES = 0
"""How many lines above the cursor's own a middle begins."""
MAX_ANCHOR_CHARS = 512
"""A line longer than this is not code that a person typed: its middle begins inside it."""
MAX_MIDDLE_CHARS = 4_096
"""Of a middle; about twice as much text as `Budget.middle` has tokens for."""
MAX_MIDDLE_TOKENS = 512
"""Beyond it the window is laid anew, even if that has to be waited for."""
CHARS_PER_TOKEN = 4
"""Typical of source code: the first guess at how much text fits."""
SHORT_TARGET_S = 0.35
"""After a jump the prompt is so short that reading it takes no longer: half of what the best known plugin takes."""
FULL_TARGET_S = 3.0
"""Reading a full window, which nobody waits for, may take so long."""
AHEAD_S = 0.07
"""A key earns so much time for reading windows that nobody waits for: on two slow cores about ten tokens."""
SHORT_TOKENS = (96, 320)
"""Fewest and most tokens of a short window: below it a model sees no function, above it a jump is no faster."""
FULL_TOKENS = (320, 1_536)
"""Fewest and most tokens of a full window: attention and the cells of the context cost time with every one of them."""
SUFFIX_SHARE = 4
"""The suffix gets one part in four: what stands before the cursor decides more."""
KEPT_START_SHARE = 1.25
"""A head may grow by a quarter before its first line moves: in large steps, and so that what was read can stay."""
SMALLEST_LIMIT = 256
"""KV cells below which no window is worth a prompt."""
MAX_PLACES = 32
"""Where a head that stands several times is looked for: in a run of equal lines it stands at each of them."""
MAX_FITTING_STEPS = 12
"""Guesses at how much text fits; each follows from the characters per token of the one before."""
NEXT_GUESS = 0.95
"""Of what would just fit at that density, which differs from line to line."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Tokens of the two parts of a window."""

    head: int
    suffix: int

    @property
    def total(self) -> int:
        """Both."""
        return self.head + self.suffix


@dataclass(frozen=True, slots=True)
class Budget:
    """How large everything may get on this machine, in tokens."""

    full: Sizes
    short: Sizes
    middle: int
    ahead: int
    """What a key earns for reading windows that nobody waits for (`worker.allowance`)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A laid window; equal texts make equal windows."""

    head: str
    suffix: str
    head_tokens: tuple[int, ...]
    suffix_tokens: tuple[int, ...]
    is_head_cut: bool
    """Whether the file has more text before the head."""
    is_suffix_cut: bool
    is_short: bool
    """Whether it is smaller than it would be with more time."""

    def middle(self, prefix: str, rest: str, before: str = "") -> str | None:
        """The text between anchor and cursor; None if the window is not that of this text.

        Parameters
        ----------
        prefix
            The file up to the cursor.
        rest
            The file after the cursor, from `after_closers`.
        before
            The middle of the request before: where the head's text stands several times, the split that agrees with it.
        """
        if not (rest.startswith(self.suffix) if self.is_suffix_cut else rest == self.suffix):
            return None
        if not self.is_head_cut:
            fits = prefix.startswith(self.head) and len(prefix) - len(self.head) <= MAX_MIDDLE_CHARS
            return prefix[len(self.head) :] if fits else None
        size = len(self.head)
        floor = max(0, len(prefix) - size - MAX_MIDDLE_CHARS)
        at = prefix.rfind(self.head, floor)
        if at < 0:
            return None
        best = prefix[at + size :]
        agreement = common_beginning(best, before)
        # Of several places the nearest that agrees best.
        for _ in range(MAX_PLACES if size else 0):
            if agreement == len(before) or (at := prefix.rfind(self.head, floor, at + size - 1)) < 0:
                break
            middle = prefix[at + size :]
            if (agrees := common_beginning(middle, before)) > agreement:
                best, agreement = middle, agrees
        return best


def budget(limit: int, prefill_tokens_per_s: float) -> Budget:
    """Size the windows from the context and the measured speed.

    Parameters
    ----------
    limit
        Tokens that one sequence may have.
    prefill_tokens_per_s
        Of this model on this machine.

    Raises
    ------
    ContextOverflow
        The context is too small for any window.
    """
    if limit < SMALLEST_LIMIT:
        raise ContextOverflow(
            f"a context of {limit} tokens is too small to complete code; it takes {SMALLEST_LIMIT}",
            contextTokens=limit,
        )
    middle = min(MAX_MIDDLE_TOKENS, limit // 4)
    # Beside the middle an answer of an eighth must fit, and a head may have grown.
    room = int((limit - middle - limit // 8) / KEPT_START_SHARE)
    full = min(_clamp(prefill_tokens_per_s * FULL_TARGET_S, FULL_TOKENS), room)
    short = min(_clamp(prefill_tokens_per_s * SHORT_TARGET_S, SHORT_TOKENS), full)
    return Budget(split(full), split(short), middle, ahead=max(1, int(prefill_tokens_per_s * AHEAD_S)))


def _clamp(wanted: float, limits: tuple[int, int]) -> int:
    return max(limits[0], min(int(wanted), limits[1]))


def split(total: int) -> Sizes:
    """Give each part of a window its share."""
    return Sizes(total - total // SUFFIX_SHARE, total // SUFFIX_SHARE)


def after_closers(suffix: str) -> str:
    """The text after the cursor without the rest of its line, if that is nothing but closers."""
    end = line_end(suffix)
    return suffix[end:] if not suffix[:end].strip(CLOSERS) else suffix


def anchor(prefix: str, lines: int = ANCHOR_LINES) -> int:
    """Where the middle begins: at the start of the cursor's line or of one above, as far as lines are of human length.

    Parameters
    ----------
    prefix
        The file up to the cursor.
    lines
        How many lines above the cursor's own.
    """
    floor = max(0, len(prefix) - MAX_ANCHOR_CHARS)
    found = end = len(prefix)
    for _ in range(lines + 1):
        before = max(prefix.rfind("\n", floor, end), prefix.rfind("\r", floor, end))
        if before < 0:
            return floor if floor == 0 or found == len(prefix) else found
        found = before + 1
        end = before - (prefix[before - 1 : before + 1] == "\r\n")
    return found


def _anchor_within(prefix: str, limit: int, tokenize: Callable[[str], list[int]]) -> int:
    at = anchor(prefix)
    while at < len(prefix) and len(tokenize(prefix[at:])) > limit:
        at += (len(prefix) - at + 1) // 2
    return at


def lay(
    prefix: str,
    rest: str,
    sizes: Sizes,
    tokenize: Callable[[str], list[int]],
    *,
    middle_tokens: int = MAX_MIDDLE_TOKENS,
    is_short: bool = False,
    keep: Window | None = None,
) -> Window:
    """Lay a window around the cursor.

    Parameters
    ----------
    prefix
        The file up to the cursor, of any size: only what fits is ever tokenised.
    rest
        The file after the cursor, from `after_closers`.
    sizes
        Tokens; what one side leaves the other gets.
    tokenize
        Turns text into tokens without reading special tokens out of it, and without BOS.
    middle_tokens
        More than this is not left between anchor and cursor.
    is_short
        Whether these are the sizes of a short window.
    keep
        The window before: its first line stays if the head does not grow too long by it, and so does its suffix if it
        is still what stands there.

    Returns
    -------
    window
        A cut head begins and a cut suffix ends at a line's border, except where lines are longer than the window.
    """
    # Half of the middle is left to be typed: one that begins full would end the window with the next key.
    text = prefix[: _anchor_within(prefix, middle_tokens // 2, tokenize)]
    suffix, suffix_tokens = _kept_suffix(keep, rest, sizes, is_short=is_short)
    if suffix is None:
        suffix, suffix_tokens = _fit(rest, sizes.suffix, tokenize, _take_front)
    head, head_tokens = _kept_head(keep, text, sizes, tokenize)
    if head is None:
        head, head_tokens = _fit(text, sizes.total - len(suffix_tokens), tokenize, _take_back)
        if len(head) < len(text) and len(suffix_tokens) > sizes.suffix * KEPT_START_SHARE:
            # It was laid when there was less text before it, and must not keep that out now.
            suffix, suffix_tokens = _fit(rest, sizes.suffix, tokenize, _take_front)
            head, head_tokens = _fit(text, sizes.total - len(suffix_tokens), tokenize, _take_back)
        if len(head) == len(text) and len(suffix) < len(rest) and keep is None:
            suffix, suffix_tokens = _fit(rest, sizes.total - len(head_tokens), tokenize, _take_front)
    is_head_cut, is_suffix_cut = len(head) < len(text), len(suffix) < len(rest)
    return Window(
        head,
        suffix,
        tuple(head_tokens),
        tuple(suffix_tokens),
        is_head_cut=is_head_cut,
        is_suffix_cut=is_suffix_cut,
        is_short=is_short and (is_head_cut or is_suffix_cut),
    )


def _kept_suffix(
    keep: Window | None, rest: str, sizes: Sizes, *, is_short: bool
) -> tuple[str, Sequence[int]] | tuple[None, Sequence[int]]:
    if keep is None or (keep.is_short and not is_short) or len(keep.suffix_tokens) > sizes.total:
        return None, ()
    holds = rest.startswith(keep.suffix) if keep.is_suffix_cut else rest == keep.suffix
    return (keep.suffix, keep.suffix_tokens) if holds else (None, ())


def _kept_head(
    keep: Window | None, text: str, sizes: Sizes, tokenize: Callable[[str], list[int]]
) -> tuple[str, Sequence[int]] | tuple[None, Sequence[int]]:
    """The text from the first line of the window before, if the head does not grow too long by it."""
    if keep is None or not keep.head or not keep.is_head_cut:
        return None, ()
    most = int(sizes.head * KEPT_START_SHARE)
    first = LINE_END.search(keep.head)
    beginning = keep.head if first is None else keep.head[: first.end()]
    # From the back: the nearest such line gives the shortest head, and a line that stands twice must not make it long.
    reach = max(0, len(text) - most * CHARS_PER_TOKEN * 2)
    at = text.find(keep.head, reach)
    if at < 0:
        at = text.rfind(beginning, reach)
    if at < 0:
        return None, ()
    tokens = tokenize(text[at:])
    return (text[at:], tokens) if sizes.head // 2 <= len(tokens) <= most else (None, ())


def _fit(
    text: str, limit: int, tokenize: Callable[[str], list[int]], take: Callable[[str, int], str]
) -> tuple[str, list[int]]:
    """As much of a text as makes at most so many tokens, about three quarters of them at least if there is so much."""
    chars = limit * CHARS_PER_TOKEN
    best: tuple[str, list[int]] = ("", [])
    was_too_long = False
    for _ in range(MAX_FITTING_STEPS if limit > 0 else 0):
        part = take(text, chars)
        tokens = tokenize(part)
        fitting = int(len(part) * limit * NEXT_GUESS / max(len(tokens), 1))
        if len(tokens) > limit:
            was_too_long = True
            chars = min(fitting, len(part) * 3 // 4)
            continue
        best = max(best, (part, tokens), key=lambda found: len(found[0]))
        if was_too_long or len(part) == len(text) or len(tokens) >= limit * 3 // 4:
            break
        chars = max(fitting, chars + CHARS_PER_TOKEN)
    return best


def _take_back(text: str, chars: int) -> str:
    """The last characters, from the start of a line if one starts in their first half."""
    start = len(text) - chars
    if start <= 0:
        return text
    found = LINE_END.search(text, start - 1, start + chars // 2)
    return text[start if found is None else found.end() :]


def _take_front(text: str, chars: int) -> str:
    """The first characters, up to the end of a line if one ends in their second half."""
    if chars >= len(text):
        return text
    line = line_start(text[chars // 2 : chars])
    end = chars // 2 + line if line else chars
    return text[: end + text.startswith("\r\n", end - 1)]
