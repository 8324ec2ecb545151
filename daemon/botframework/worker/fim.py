"""Fill-in-the-middle prompts: which layout a model wants, and which part of a file fits.

A completion's prompt is a window of the file around the cursor. The KV cache of a document is read again from the first
token that differs, so the window is chosen to stay where it is while the user types: its first line moves in blocks
counted from the file's start, and what the prefix leaves to the suffix is handed over in large steps. All of it is a
pure function of the text, so no state can disagree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botframework.errors import InvalidParams, ModelCannotInfill
from botframework.worker.plaintext import cut_long_runs, replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ABSENT = -1
"""The id of a token that the vocabulary does not have."""
ORDER_KEY = "botframework.fim.order"
"""GGUF metadata in which a model says what it was trained on."""
TYPED_KEY = "botframework.fim.typed"
"""GGUF metadata: ``after`` if the typed part of the line is best given as the beginning of the middle."""
MIN_BUDGET = 16
"""Below this no window is worth a prompt."""
SUFFIX_SHARE = 4
"""The suffix gets one part in four: what stands before the cursor decides more."""
TYPED_SHARE = 8
"""The line under the cursor, where it is set apart, gets an eighth: with a small context still some 150 tokens."""
HANDOVER_STEPS = 8
"""Room that one side leaves is given to the other in eighths of the budget, so that a keystroke does not move a cut."""
SUFFIX_BLOCKS = 4
"""The suffix's end is found to a quarter of as many characters as its share has tokens."""
MAX_BLOCKS = 16
"""Blocks looked at on one side: bounds the work on text that compresses absurdly well (a megabyte of spaces)."""
SMALLEST_BLOCK = 16
"""Characters. A block is cut smaller only for text with several tokens to a character."""
CHARS_PER_TOKEN = 4
"""Typical of source code; below it a file is tried whole before anything is measured."""

Order = Literal["psm", "spm"]

SUFFIX_FIRST_FAMILIES = ("codestral",)
"""Models documented suffix first. StarCoder and CodeLlama saw both orders, but another suffix-first layout."""


@dataclass(frozen=True, slots=True)
class FimTokens:
    """Ids of the tokens that mark the parts of a prompt."""

    pre: int = ABSENT
    suf: int = ABSENT
    mid: int = ABSENT
    pad: int = ABSENT
    rep: int = ABSENT
    sep: int = ABSENT
    bos: int = ABSENT
    """Stands before every prompt, if the model wants that (its ``add_bos``)."""


@dataclass(frozen=True, slots=True)
class FimPrompt:
    """A prompt and whether it leaves out some of the text."""

    tokens: list[int]
    cut_prefix: bool
    cut_suffix: bool


def pick_order(tokens: FimTokens, setting: Literal["auto", "psm", "spm"], metadata: Mapping[str, str]) -> Order:
    """Choose the layout: what the user set, else what the file says, else what is known of the family, else psm.

    Parameters
    ----------
    tokens
        The model's own.
    setting
        The user's choice.
    metadata
        Scalars of the GGUF's metadata as text; only a few names are looked up.

    Raises
    ------
    ModelCannotInfill
        A token that every layout needs is absent.
    """
    absent = [name for name in ("pre", "suf", "mid") if getattr(tokens, name) == ABSENT]
    name = f"{metadata.get('general.architecture', '')} {metadata.get('general.name', '')}".lower()
    if absent:
        raise ModelCannotInfill(
            f"This model cannot fill in code: its vocabulary lacks the fill-in-the-middle tokens {', '.join(absent)}. "
            "Choose a code model that was trained for completion.",
            missing=absent,
        )
    if setting != "auto":
        return setting
    said = metadata.get(ORDER_KEY, "").lower()
    if said not in ("psm", "spm"):
        return "spm" if any(family in name for family in SUFFIX_FIRST_FAMILIES) else "psm"
    return "spm" if said == "spm" else "psm"


def build_prompt(
    request_prefix: str,
    suffix: str,
    *,
    tokens: FimTokens,
    order: Order,
    tokenize: Callable[[str], list[int]],
    budget: int,
    typed_after: bool = False,
) -> FimPrompt:
    """Lay out the text around the cursor, cut to fit.

    Parameters
    ----------
    request_prefix
        The file up to the cursor, of any size: only the window is ever tokenised.
    suffix
        The file after the cursor.
    tokens
        The marks.
    order
        From `pick_order`.
    tokenize
        Turns text into tokens without reading special tokens out of it, and without BOS. Most of the texts that it is
        asked for come again with the next key, so it may well remember some hundred of them.
    budget
        The prompt's largest number of tokens, marks included.
    typed_after
        Put what stands before the cursor on its line behind the middle's mark, as the beginning of the middle. For
        models that were trained on middles whose words are cut; others continue a cut word badly there. A line with
        more than its share of tokens is left in the prefix.

    Returns
    -------
    prompt
        ``[PRE] prefix [SUF] suffix [MID] typed`` or ``[SUF] suffix [PRE] prefix [MID] typed``. A cut prefix begins at
        the start of a line and a cut suffix ends at the end of one, except in lines of a thousand characters or more.
    """
    if budget < MIN_BUDGET:
        raise InvalidParams(f"a budget of {budget} tokens is too small to fill in code; it starts at {MIN_BUDGET}")
    head = [tokens.bos] if tokens.bos != ABSENT else []
    room = budget - len(head) - 3

    def plain(text: str) -> list[int]:
        pieces = cut_long_runs(replace_surrogates(text))
        return tokenize(pieces[0]) if len(pieces) == 1 else [token for piece in pieces for token in tokenize(piece)]

    typed: list[int] = []
    if typed_after:
        # Set aside whatever the line needs, or each key would move the window.
        share = room // TYPED_SHARE
        room -= share
        start = max(request_prefix.rfind("\n"), request_prefix.rfind("\r")) + 1
        if len(request_prefix) - start <= share * CHARS_PER_TOKEN:
            typed = plain(request_prefix[start:])
        if 0 < len(typed) <= share:
            request_prefix = request_prefix[:start]
        else:
            typed = []
    before, after = _fit(request_prefix, suffix, room, plain)
    if order == "psm":
        body = [tokens.pre, *before.tokens, tokens.suf, *after.tokens, tokens.mid, *typed]
    else:
        body = [tokens.suf, *after.tokens, tokens.pre, *before.tokens, tokens.mid, *typed]
    return FimPrompt([*head, *body], cut_prefix=before.cut, cut_suffix=after.cut)


@dataclass(frozen=True, slots=True)
class _Side:
    tokens: list[int]
    cut: bool


def _fit(prefix: str, suffix: str, room: int, tokenize: Callable[[str], list[int]]) -> tuple[_Side, _Side]:
    if len(prefix) + len(suffix) <= room * CHARS_PER_TOKEN:
        whole = tokenize(prefix), tokenize(suffix)
        if len(whole[0]) + len(whole[1]) <= room:
            return _Side(whole[0], cut=False), _Side(whole[1], cut=False)
    suffix_share = room // SUFFIX_SHARE
    prefix_share = room - suffix_share
    step = max(room // HANDOVER_STEPS, 1)
    front = _Front(prefix, block=prefix_share, tokenize=tokenize)
    back = _Back(suffix, block=max(suffix_share // SUFFIX_BLOCKS, 1), tokenize=tokenize)
    before, after = front.needs(prefix_share), back.needs(suffix_share)
    if before <= prefix_share:
        fits = back.needs(room - before) <= room - before
        suffix_share = room - before if fits else room - min(_round_up(before, step), prefix_share)
    elif after <= suffix_share:
        fits = front.needs(room - after) <= room - after
        prefix_share = room - after if fits else room - min(_round_up(after, step), suffix_share)
    second = back.take(suffix_share)
    return front.take(min(prefix_share, room - len(second.tokens))), second


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step


class _Front:
    """The text before the cursor, in blocks of characters counted from the file's start."""

    def __init__(self, text: str, *, block: int, tokenize: Callable[[str], list[int]]) -> None:
        self._text = text
        self._tokenize = tokenize
        self._block = block
        self._counts: list[int] = []
        """Tokens of the last block, of the one before it, …"""
        self._last = (len(text) - 1) // block
        self._first = max(self._last - MAX_BLOCKS + 1, 0)

    def needs(self, limit: int) -> int:
        """About how many tokens the text has; anything above the limit when that is passed, or the text too long."""
        total = sum(self._counts)
        while total <= limit and (index := self._last - len(self._counts)) >= self._first:
            self._counts.append(len(self._tokenize(self._text[self._cut(index) : self._cut(index + 1)])))
            total += self._counts[-1]
        return total if self._first == 0 or total > limit else limit + 1

    def take(self, share: int) -> _Side:
        """Tokens of the longest run of blocks at the end that fits."""
        self.needs(share)
        kept, total = 0, 0
        while kept < len(self._counts) and total + self._counts[kept] <= share:
            total += self._counts[kept]
            kept += 1
        too_coarse = kept < len(self._counts) and total < share // 2
        while kept > 0 and not (too_coarse and self._block > SMALLEST_BLOCK):
            start = self._cut(self._last - kept + 1)
            tokens = self._tokenize(self._text[start:])
            if len(tokens) <= share:  # the blocks together may have a token more than one by one
                return _Side(tokens, cut=start > 0)
            kept -= 1
        return self._take_finer(share)

    def _take_finer(self, share: int) -> _Side:
        if self._block > SMALLEST_BLOCK:
            return _Front(self._text, block=max(self._block // 4, SMALLEST_BLOCK), tokenize=self._tokenize).take(share)
        # A window of a few tokens: the one case in which it moves with every key.
        start = max(len(self._text) - self._block, 0)
        tokens = self._tokenize(self._text[start:])
        dropped = max(len(tokens) - share, 0)
        return _Side(tokens[dropped:], cut=start > 0 or dropped > 0)

    def _cut(self, index: int) -> int:
        """Where a block starts: at the first line that begins in it, else just there."""
        at = min(index * self._block, len(self._text))
        if index <= 0 or at == len(self._text):
            return max(at, 0)
        line = self._text.find("\n", at - 1, min(at + self._block - 1, len(self._text))) + 1
        return line or at


class _Back:
    """The text after the cursor, in blocks of characters counted from the cursor."""

    def __init__(self, text: str, *, block: int, tokenize: Callable[[str], list[int]]) -> None:
        self._text = text
        self._tokenize = tokenize
        self._block = block
        self._counts: list[int] = []
        self._blocks = -(-len(text) // block)
        self._seen = min(self._blocks, MAX_BLOCKS * SUFFIX_BLOCKS)

    def needs(self, limit: int) -> int:
        """About how many tokens the text has; anything above the limit when that is passed, or the text too long."""
        total = sum(self._counts)
        while total <= limit and len(self._counts) < self._seen:
            start = len(self._counts) * self._block
            self._counts.append(len(self._tokenize(self._text[start : start + self._block])))
            total += self._counts[-1]
        return total if self._seen == self._blocks or total > limit else limit + 1

    def take(self, share: int) -> _Side:
        """Tokens of the longest run of whole lines at the start that fits."""
        self.needs(share)
        kept, total = 0, 0
        while kept < len(self._counts) and total + self._counts[kept] <= share:
            total += self._counts[kept]
            kept += 1
        while kept > 0:
            end = kept * self._block
            if end < len(self._text):
                end = self._text.rfind("\n", 0, end) + 1 or end
            tokens = self._tokenize(self._text[:end])
            if len(tokens) <= share:
                return _Side(tokens, cut=end < len(self._text))
            kept -= 1
        tokens = self._tokenize(self._text[: self._block])[: max(share, 0)]
        return _Side(tokens, cut=bool(self._text))
