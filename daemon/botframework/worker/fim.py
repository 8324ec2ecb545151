"""Fill-in-the-middle layouts: which order of prefix and suffix a model wants, and where the typed text stands.

With the typed text behind the middle's mark, ``[PRE] head [SUF] suffix [MID] typed`` or ``[SUF] suffix [PRE] head
[MID] typed``, the middle is the session: typing appends to the prompt and deleting cuts its tail, so the KV cache of
everything else stays. EFIM (arXiv 2505.21889) proposes the same layout for serving. Models that were trained suffix
first have the property also in their own layout, ``[SUF] suffix [PRE] head typed [MID]``, but for the one mark at the
end.

Which part of a file becomes head and suffix is decided in `worker.window`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botframework.errors import ModelCannotInfill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from botframework.wire.messages import FimOrder, FimTyped

ABSENT = -1
"""The id of a token that the vocabulary does not have."""
ORDER_KEY = "botframework.fim.order"
"""GGUF metadata in which a model says what it was trained on."""
TYPED_KEY = "botframework.fim.typed"
"""GGUF metadata: ``after`` if the typed text is to be given as the beginning of the middle, else ``before``."""
METADATA_KEYS = (ORDER_KEY, TYPED_KEY, "general.architecture", "general.name")
"""What `pick_layout` looks at."""

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
class Layout:
    """How a model is asked."""

    order: FimOrder
    typed: FimTyped
    tokens: FimTokens

    def window(self, head: Sequence[int], suffix: Sequence[int]) -> list[int]:
        """The part of a prompt that stays while the user types, for ``typed`` after the middle's mark."""
        t = self.tokens
        bos = [t.bos] if t.bos != ABSENT else []
        if self.order == "psm":
            return [*bos, t.pre, *head, t.suf, *suffix, t.mid]
        return [*bos, t.suf, *suffix, t.pre, *head, t.mid]

    def prompt(self, head: Sequence[int], suffix: Sequence[int], typed: Sequence[int]) -> list[int]:
        """Put a prompt together; with ``typed`` before, that is the whole text up to the cursor and head is empty."""
        if self.typed == "after":
            return [*self.window(head, suffix), *typed]
        return self.window([*head, *typed], suffix)


def pick_layout(
    tokens: FimTokens,
    order: Literal["auto", "psm", "spm"],
    typed: Literal["auto", "before", "after"],
    metadata: Mapping[str, str],
) -> Layout:
    """Choose the layout: what the user set, else what the file says, else what suits the model's family.

    Parameters
    ----------
    tokens
        The model's own.
    order, typed
        The user's choice.
    metadata
        Scalars of the GGUF's metadata as text; only `METADATA_KEYS` are looked up.

    Returns
    -------
    layout
        Prefix first with the typed text after the middle's mark, unless somebody says otherwise: for the others of the
        four combinations only a model that was trained suffix first has a reason.

    Raises
    ------
    ModelCannotInfill
        A token that every layout needs is absent.
    """
    absent = [name for name in ("pre", "suf", "mid") if getattr(tokens, name) == ABSENT]
    if absent:
        raise ModelCannotInfill(
            f"This model cannot fill in code: its vocabulary lacks the fill-in-the-middle tokens {', '.join(absent)}. "
            "Choose a code model that was trained for completion.",
            missing=absent,
        )
    said = metadata.get(ORDER_KEY, "").lower()
    name = f"{metadata.get('general.architecture', '')} {metadata.get('general.name', '')}".lower()
    is_suffix_first = said == "spm" or (said != "psm" and any(family in name for family in SUFFIX_FIRST_FAMILIES))
    chosen: FimOrder = ("spm" if is_suffix_first else "psm") if order == "auto" else order
    place: FimTyped = "after" if chosen == "psm" else "before"
    if typed != "auto":
        place = typed
    elif (told := metadata.get(TYPED_KEY, "").lower()) in ("after", "before"):
        place = "after" if told == "after" else "before"
    return Layout(chosen, place, tokens)
