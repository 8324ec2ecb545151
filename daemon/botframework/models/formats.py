"""Number formats of weights: how many bits they take, and what computes them well. Pure.

Bits per weight are those that llama.cpp publishes for Llama 3.1 8B (https://github.com/ggml-org/llama.cpp/blob/master/
tools/quantize/README.md); Q4_0 to Q5_1 by the size of their blocks in ggml, and Q3_K_M by the size of a published 7B
model. A real file differs by some percent, because a few tensors are always kept more precise: the fewer weights there
are, the more that counts.
"""

from __future__ import annotations

import re
from typing import Literal

BITS_PER_WEIGHT: dict[str, float] = {
    "IQ1_S": 2.00,
    "IQ1_M": 2.15,
    "IQ2_XXS": 2.38,
    "IQ2_XS": 2.59,
    "IQ2_S": 2.74,
    "IQ2_M": 2.93,
    "IQ3_XXS": 3.25,
    "IQ3_XS": 3.50,
    "IQ3_S": 3.66,
    "IQ3_M": 3.76,
    "IQ4_XS": 4.46,
    "IQ4_NL": 4.68,
    "Q2_K_S": 2.97,
    "Q2_K": 3.16,
    "Q3_K_S": 3.64,
    "Q3_K_M": 4.00,
    "Q3_K_L": 4.30,
    "Q4_0": 4.50,
    "Q4_1": 5.00,
    "Q4_K_S": 4.67,
    "Q4_K_M": 4.89,
    "Q5_0": 5.50,
    "Q5_1": 6.00,
    "Q5_K_S": 5.57,
    "Q5_K_M": 5.70,
    "Q6_K": 6.56,
    "Q8_0": 8.50,
    "BF16": 16.00,
    "F16": 16.00,
    "FP16": 16.00,
}
LEAST_BITS = 4.4
"""Formats below it lose so much that a smaller model is the better choice; they are recommended only where a repository
has no other."""
MOST_BITS = 9.0
"""More precise formats cost twice the memory and time of Q8_0, and nobody sees a difference in the answers; the same
holds for them."""

FormatClass = Literal["FP16", "INT8", "INT4"]

_FAMILY = re.compile(r"I?Q(\d)")
_VECTORS = ("AVX2", "AVX-512", "NEON", "SVE", "GPU")
_HALF_FLOATS = ("AVX-512", "AMX", "SVE", "GPU")


def bits_per_weight(name: str) -> float | None:
    """Bits of one weight, about; None for a name that says nothing.

    A name that is not in the table, as in ``Q4_K_XL``, counts as the largest of its digit: the estimate is for memory.
    """
    known = name.upper().removeprefix("UD-")
    if known in BITS_PER_WEIGHT:
        return BITS_PER_WEIGHT[known]
    family = _FAMILY.match(known)
    if family is None:
        return None
    return max((bits for other, bits in BITS_PER_WEIGHT.items() if f"Q{family[1]}" in other), default=None)


def estimated_bytes(parameters: int, name: str) -> int:
    """Size of a model's weights by their number and format. The hub tells the true size.

    Raises
    ------
    ValueError
        The format is unknown.
    """
    bits = bits_per_weight(name)
    if bits is None:
        raise ValueError(f"unknown number format {name!r}")
    return int(parameters * bits / 8)


def class_of(name: str) -> FormatClass:
    """The class by which `models.scores` judges how much room beside the weights is wanted."""
    bits = bits_per_weight(name) or 16.0
    if bits >= 12.0:
        return "FP16"
    return "INT8" if bits > 6.0 else "INT4"


def absent_need(name: str, abilities: frozenset[str]) -> str | None:
    """What the format needs and this machine lacks, in words; None if it lacks nothing.

    llama.cpp computes every format everywhere, but these only by plain code where no such instructions are.

    Parameters
    ----------
    abilities
        The processor's instruction sets as in `models.hardware`, and ``GPU`` if the weights go to one.
    """
    needs: tuple[str, ...] = ()
    if name.upper().startswith("IQ"):
        needs = _VECTORS
    elif name.upper() == "BF16":
        needs = _HALF_FLOATS
    if not needs or abilities.intersection(needs):
        return None
    return " or ".join(needs)
