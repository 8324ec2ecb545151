"""The prompts that are compared: the same text before and after a cursor, arranged in different ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.quality.holes import MIN_LINES_BEFORE, line_start
from botframework.worker import window as windows
from botframework.worker.fim import FimTokens, Layout
from botframework.worker.healing import held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.quality.holes import Hole, Spot
    from botframework.wire.messages import FimOrder
    from botframework.worker.healing import VocabularyIndex
    from botframework.worker.window import Sizes, Window

LINES = (*range(9), MIN_LINES_BEFORE)
"""How far the anchor stands above the cursor's line; the last one tells what comes after the first eight."""
FEW_LINES = (0, 4, 8)
"""The same for the order that the model does not ask for: another suffix behind each anchor costs much reading."""

Shape = Literal["middle", "classic", "no suffix"]


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to ask."""

    shape: Shape
    order: FimOrder
    """Of no meaning without a suffix."""
    lines: int
    """Where the middle begins; 0 for the others."""
    heals: bool


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt, and what the answer must begin with."""

    prompt: tuple[int, ...]
    held: tuple[int, ...]


def variants(own: FimOrder) -> list[Variant]:
    """All of them, for a model that asks for this order."""
    found = []
    for heals in (True, False):
        for order in ("psm", "spm"):
            steps = LINES if order == own else FEW_LINES
            found += [Variant("middle", order, lines, heals) for lines in steps]
            found.append(Variant("classic", order, 0, heals))
        found.append(Variant("no suffix", own, 0, heals))
    return found


class Prompts:
    """Lays out one line's prompts; all of them see the same text."""

    def __init__(
        self,
        tokens: FimTokens,
        index: VocabularyIndex,
        tokenize: Callable[[str], list[int]],
        sizes: Sizes,
        spot: Spot,
    ) -> None:
        self._tokens, self._index, self._tokenize = tokens, index, tokenize
        self._text = spot.file.text
        far = line_start(self._text, spot.start, MIN_LINES_BEFORE)
        # Laid when the cursor stood at the farthest anchor: the lines below were typed since.
        self.window: Window = windows.lay(self._text[:far], self._text[spot.end :].lstrip(" \t"), sizes, tokenize)
        self._start = far - len(self.window.head)
        self._known: dict[tuple[int, int], list[int]] = {}

    def question(self, hole: Hole, variant: Variant) -> Question:
        """The prompt for a cursor."""
        anchor = self._start
        if variant.shape == "middle":
            anchor = line_start(self._text, hole.at, variant.lines)
        typed = self._plain(anchor, hole.at)
        held = held_back(typed, self._index) if variant.heals else 0
        kept = typed[: len(typed) - held]
        head: Sequence[int] = self._plain(self._start, anchor)
        if variant.shape == "no suffix":
            prompt = kept
        else:
            layout = Layout(variant.order, "after" if variant.shape == "middle" else "before", self._tokens)
            prompt = layout.prompt(head, self.window.suffix_tokens, kept)
        return Question(tuple(prompt), tuple(typed[len(typed) - held :]))

    def forced(self, hole: Hole, lines: int) -> int:
        """Tokens of the middle that is given."""
        return len(self._plain(line_start(self._text, hole.at, lines), hole.at))

    def _plain(self, start: int, end: int) -> list[int]:
        found = self._known.get((start, end))
        if found is None:
            found = self._known[start, end] = self._tokenize(self._text[start:end])
        return found
