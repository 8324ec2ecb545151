"""An editing session, the same for the same seed: what is typed where, and how long the person waits before each key.

Real files, from which some lines were taken in two places each, are opened one after the other, with one key in each.
Then the lines are typed again (`retyping`), a stretch here, a stretch there; after a stretch the person goes to the
other gap of the file (a jump) or back to another file, where they left it (a switch). A session that is played to its
end leaves every file as it was on disk.

The intervals are drawn, not recorded: around 240 ms between keys with a long tail, as large studies of typing report, a
pause to think at one key in sixteen, longer ones before a jump or a switch.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.keystrokes.retyping import Edit, Kind, Retyping
from bench.keystrokes.sources import N_DOCUMENTS, choose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.keystrokes.sources import Source

INTERVAL_MS = 210.0
"""Median between two keys; the mean is about 240."""
INTERVAL_SPREAD = 0.5
"""Standard deviation of the logarithm."""
INTERVAL_LIMITS_MS = (45, 1_000)
PAUSE_SHARE = 1 / 16
PAUSE_MS = (800, 3_000)
"""Reading and thinking."""
WAY_MS: dict[str, tuple[int, int]] = {"jump": (1_000, 2_500), "switch": (1_500, 4_000), "open": (1_500, 4_000)}
"""Finding the place."""
STRETCH = (12, 40)
"""Keys at one place before the next."""
JUMP_SHARE = 0.45
"""Of the ways to the next place, those within the file."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a session."""

    document: int
    kind: Kind
    edit: Edit
    """Offsets in the document before the key."""
    cursor: int
    """Offset behind it."""
    delay_ms: int
    """Since the key before was pressed."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A session."""

    seed: int
    names: tuple[str, ...]
    texts: tuple[str, ...]
    """The documents at the start."""
    keys: tuple[Key, ...]


class _Gap:
    """A place of a document whose text is typed again."""

    def __init__(self, start: int, retyping: Retyping) -> None:
        self.start = start
        """Offset in the document as it is now."""
        self.retyping = retyping


class _Document:
    """A document in the middle of a session."""

    def __init__(self, source: Source, random_source: random.Random) -> None:
        self.name = source.name
        self.gaps: list[_Gap] = []
        text = source.text
        taken = 0
        for start, end in source.regions:
            self.gaps.append(_Gap(start - taken, Retyping(source.text[start:end], random_source)))
            text = text[: start - taken] + text[end - taken :]
            taken += end - start
        self.start_text = text
        self.current = 0
        """The gap where the person is or was last."""

    def unfinished(self) -> list[int]:
        """Gaps with something left to type."""
        return [number for number, gap in enumerate(self.gaps) if not gap.retyping.is_finished]

    def moved(self, behind: int, by: int) -> None:
        """Text before some gaps has grown."""
        for gap in self.gaps:
            if gap.start > behind:
                gap.start += by


def make_trace(
    seed: int, n_keys: int | None, *, n_documents: int = N_DOCUMENTS, files: Sequence[Path] | None = None
) -> Trace:
    """Draw a session of so many keys; without a number, one in which everything is typed.

    Raises
    ------
    LookupError
        This machine has too few source files.
    """
    source = random.Random(seed)
    documents = [_Document(chosen, source) for chosen in choose(source, n_documents, files)]
    keys: list[Key] = []
    for number, document in enumerate(documents):
        keys += _arrive(source, _stretch(source, document, number, 1), "open")
    here = n_documents - 1
    while n_keys is None or len(keys) < n_keys:
        if not any(document.unfinished() for document in documents):
            break
        here, kind = _next_place(source, documents, here)
        keys += _arrive(source, _stretch(source, documents[here], here, source.randint(*STRETCH)), kind)
    texts = tuple(document.start_text for document in documents)
    return Trace(seed, tuple(document.name for document in documents), texts, tuple(keys[:n_keys]))


def _next_place(source: random.Random, documents: Sequence[_Document], here: int) -> tuple[int, Kind]:
    """Go to the document's other gap, or to another document; where nothing is left to type nobody goes."""
    document = documents[here]
    others = [number for number, each in enumerate(documents) if number != here and each.unfinished()]
    gaps = [number for number in document.unfinished() if number != document.current]
    if gaps and (not others or source.random() < JUMP_SHARE):
        document.current = gaps[0]
        return here, "jump"
    if not others:
        return here, "typing"
    number = source.choice(others)
    if documents[number].current not in documents[number].unfinished():
        documents[number].current = documents[number].unfinished()[0]
        return number, "jump"
    return number, "switch"


def _arrive(source: random.Random, stretch: list[Key], kind: Kind) -> list[Key]:
    """Mark the first key at a place as such."""
    if stretch and kind in WAY_MS:
        stretch[0] = replace(stretch[0], kind=kind, delay_ms=source.randint(*WAY_MS[kind]))
    return stretch


def _stretch(source: random.Random, document: _Document, number: int, count: int) -> list[Key]:
    """Some keys at the document's current gap."""
    gap = document.gaps[document.current]
    keys: list[Key] = []
    while len(keys) < count and (stroke := gap.retyping.next_stroke()) is not None:
        edit = Edit(gap.start + stroke.edit.start, gap.start + stroke.edit.end, stroke.edit.text)
        keys.append(Key(number, stroke.kind, edit, gap.start + stroke.cursor, interval(source)))
        document.moved(gap.start, len(edit.text) - (edit.end - edit.start))
    return keys


def interval(source: random.Random) -> int:
    """Milliseconds between two keys."""
    if source.random() < PAUSE_SHARE:
        return source.randint(*PAUSE_MS)
    low, high = INTERVAL_LIMITS_MS
    return round(min(high, max(low, source.lognormvariate(math.log(INTERVAL_MS), INTERVAL_SPREAD))))
