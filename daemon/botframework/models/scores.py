"""The five scores of a model on a machine, from 0 to 100, each with a sentence that says why. Pure.

Sizes are bytes. How much memory is available says `models.fit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from botframework.quantities import GIB
from botframework.quantities import size as words

if TYPE_CHECKING:
    from botframework.models.formats import FormatClass
    from botframework.models.recommendation import Scores

KV_TARGET = 4 * GIB
"""Memory beside the weights that is ample for context: 32,768 tokens of Qwen2.5-Coder 7B take 1.8 GiB."""
PRECISION_RESERVES: dict[FormatClass, int] = {"FP16": 2 * GIB, "INT8": GIB, "INT4": 500 << 20}
"""Wanted beside 1.2 times the weights: 2 GB, 1 GB and 500 MB of memory, which comes in powers of two."""
SLOWEST_GB_S, RANGE_GB_S = 50.0, 450.0
"""10^9 bytes per second: laptops' main memory scores 0, and from 500 on, a fast graphics card's, everything is 100."""
ACCURACY_SHARE, EFFICIENCY_SHARE = 0.7, 0.3
FORMAT_PENALTY = 20.0
WEIGHTS = {"size": 1.0, "precision": 2.0, "kv": 0.5, "performance": 1.0, "density": 4.0}
"""Of the total. Size, bandwidth and what remains beside the weights say little about which of several models that fit
is the better one; what it can do says most. Found with the golden tables of the tests, by looking at what a person
would choose."""


class Score(NamedTuple):
    """One score and its reason."""

    value: float | None
    """None: unknown."""
    sentence: str


def size(weights: int, memory: int) -> Score:
    """100 if the weights take less than half of the memory, 0 if more than all of it, linear between."""
    share = weights / memory if memory else float("inf")
    value = _clamped(200.0 * (1.0 - share))
    if share > 1.0:
        return Score(value, f"Its weights of {words(weights)} are more than the memory of {words(memory)}.")
    left = "more than half of it stays free" if value == 100.0 else "little stays free" if value < 30.0 else "it fits"
    return Score(value, f"Its weights take {words(weights)} of {words(memory)} ({share:.0%}): {left}.")


def precision(weights: int, memory: int, format_name: str, format_class: FormatClass) -> Score:
    """100 if 1.2 times the weights and the reserve of the format's class fit, 0 below the weights, linear between.

    Parameters
    ----------
    weights
        In this format.
    """
    wanted = 1.2 * weights + PRECISION_RESERVES[format_class]
    value = _clamped(100.0 * (memory - weights) / (wanted - weights))
    if value == 100.0:
        return Score(value, f"{format_name} has the room that {format_class} wants: {words(wanted)}.")
    return Score(
        value,
        f"{format_name} is tight: {format_class} wants {words(wanted)}, there are {words(memory)}.",
    )


def kv(weights: int, memory: int, target: int = KV_TARGET) -> Score:
    """What the weights leave for context, as a share of ``target``; 0 if nothing remains."""
    remaining = max(0, memory - weights)
    value = _clamped(100.0 * remaining / target)
    if not remaining:
        return Score(value, "Nothing remains for context.")
    return Score(value, f"{words(remaining)} remain for context; {words(target)} are ample.")


def performance(gb_per_s: float | None, active_bytes: int) -> Score:
    """How fast the memory is that holds the weights: 0 up to 50 GB/s, 100 from 500 on; None if nobody knows.

    Parameters
    ----------
    gb_per_s
        10^9 bytes per second.
    active_bytes
        Weights that are read for one token: with experts not all of them.
    """
    if gb_per_s is None:
        return Score(None, "The bandwidth of the memory is unknown, and so is the speed.")
    value = _clamped(100.0 * (gb_per_s - SLOWEST_GB_S) / RANGE_GB_S)
    fastest = gb_per_s * 1e9 / active_bytes
    return Score(value, f"Memory of {gb_per_s:.0f} GB/s allows at most {_rounded(fastest)} tokens per second.")


def efficiency(accuracy: float, weights: int) -> float:
    """Points of accuracy per GiB of weights."""
    return accuracy * GIB / weights


def density(
    benchmark: str,
    accuracy: float | None,
    baseline: float,
    *,
    weights: int,
    best_efficiency: float,
    absent: str | None = None,
) -> Score:
    """Accuracy for its size: 0.7 times its share of the baseline and 0.3 times its share of the best points per GiB.

    Parameters
    ----------
    benchmark, accuracy
        The published figure, measured at FP16 as makers do; None if there is none.
    baseline
        The best published figure at FP16 of any model for this role.
    best_efficiency
        The best `efficiency` of the models that fit.
    absent
        Hardware that the format needs and the machine has not: 20 points less.
    """
    if accuracy is None:
        return Score(None, f"No published {benchmark} is known to us: the other scores rank it.")
    share = _shared(accuracy, baseline)
    points = efficiency(accuracy, weights)
    value = 100.0 * (ACCURACY_SHARE * share + EFFICIENCY_SHARE * _shared(points, best_efficiency))
    sentence = f"{benchmark}: {accuracy:.1f}, {share:.0%} of the best known to us; {points:.0f} points per GiB."
    if absent is not None:
        value -= FORMAT_PENALTY
        sentence += f" Its format is slow without {absent}."
    return Score(_clamped(value), sentence)


def total(found: Scores) -> float:
    """The mean of the known scores, weighted by `WEIGHTS`."""
    values: dict[str, float | None] = {name: getattr(found, name) for name in WEIGHTS}
    known = [(WEIGHTS[name], value) for name, value in values.items() if value is not None]
    return sum(weight * value for weight, value in known) / sum(weight for weight, _ in known)


def _shared(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _clamped(value: float) -> float:
    return min(100.0, max(0.0, value))


def _rounded(value: float) -> str:
    """Two digits that mean something: it is a bound, not a measurement."""
    return f"{value:.1f}" if value < 10.0 else f"{value:.0f}" if value < 100.0 else f"{round(value, -1):.0f}"
