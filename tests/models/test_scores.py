from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.models import scores
from botframework.models.recommendation import Scores

if TYPE_CHECKING:
    from botframework.models.formats import FormatClass

GIB = 1 << 30
BYTES = st.integers(min_value=1, max_value=1 << 42)


@pytest.mark.parametrize(
    ("weights", "memory", "expected"),
    [(4, 10, 100), (5, 10, 100), (6, 10, 80), (7.5, 10, 50), (10, 10, 0), (11, 10, 0), (1, 0, 0)],
)
def test_size(weights: float, memory: int, expected: float) -> None:
    """100 below half of the memory, 0 above all of it, linear between."""
    score = scores.size(int(weights * GIB), memory * GIB)

    assert score.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("format_class", "weights", "memory", "expected"),
    [
        ("FP16", 10, 14, 100),
        ("FP16", 10, 12, 50),
        ("INT8", 10, 13, 100),
        ("INT8", 10, 11.5, 50),
        ("INT4", 10, 12.5, 100),
        ("INT4", 10, 11.25, 50),
        ("INT4", 10, 10, 0),
        ("INT4", 10, 9.9, 0),
    ],
)
def test_precision(format_class: FormatClass, weights: int, memory: float, expected: float) -> None:
    """Each class wants 1.2 times the weights and its reserve: 2 GiB, 1 GiB or 500 MB; 0 when the weights do not fit."""
    score = scores.precision(weights * GIB, int(memory * GIB), "the format", format_class)

    assert score.value == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    ("weights", "memory", "expected"), [(4, 8, 100), (4, 12, 100), (6, 8, 50), (8, 8, 0), (9, 8, 0)]
)
def test_kv(weights: int, memory: int, expected: float) -> None:
    """What remains beside the weights, as a share of 4 GiB."""
    score = scores.kv(weights * GIB, memory * GIB)

    assert score.value == expected


@pytest.mark.parametrize(("format_class", "mib"), [("FP16", 2_048), ("INT8", 1_024), ("INT4", 500)])
def test_precision_wants_exactly_its_reserve(format_class: FormatClass, mib: int) -> None:
    """One byte less than 1.2 times the weights and the reserve is not all of it."""
    wanted = 12 * GIB + (mib << 20)

    assert scores.precision(10 * GIB, wanted, "the format", format_class).value == 100.0
    assert scores.precision(10 * GIB, wanted - 1, "the format", format_class).value != 100.0


def test_kv_has_a_target_of_its_own() -> None:
    """Who wants less context is content with less."""
    assert scores.kv(6 * GIB, 8 * GIB, target=2 * GIB).value == 100


@pytest.mark.parametrize(("gb_per_s", "expected"), [(20, 0), (50, 0), (275, 50), (500, 100), (3350, 100), (None, None)])
def test_performance(gb_per_s: float | None, expected: float | None) -> None:
    """From 50 to 500 GB/s; nobody's guess where the bandwidth is unknown."""
    assert scores.performance(gb_per_s, GIB).value == expected


def test_a_tiny_model_has_a_size_too() -> None:
    """In the sentences nothing is 0.0 GiB."""
    assert "Its weights take 63.0 MiB of 3.0 GiB" in scores.size(63 << 20, 3 * GIB).sentence
    assert "Its weights take 102 MiB of" in scores.size(GIB // 10, 3 * GIB).sentence


def test_performance_tells_how_many_tokens_that_are() -> None:
    """No more tokens than the active weights can be read in a second."""
    assert "at most 20 tokens per second" in scores.performance(100.0, 5 * 10**9).sentence


@pytest.mark.parametrize(
    ("accuracy", "gib", "best", "absent", "expected"),
    [
        (80.0, 1, 80.0, None, 100.0),
        (40.0, 1, 40.0, None, 65.0),
        (80.0, 4, 80.0, None, 77.5),
        (80.0, 1, 80.0, "AVX2", 80.0),
        (1.0, 64, 80.0, "AVX2", 0.0),
        (None, 1, 80.0, None, None),
    ],
)
def test_density(accuracy: float | None, gib: int, best: float, absent: str | None, *, expected: float | None) -> None:
    """0.7 for the share of the best accuracy, 0.3 for that of the best points per GiB, 20 less without hardware."""
    score = scores.density("a benchmark", accuracy, 80.0, weights=gib * GIB, best_efficiency=best, absent=absent)

    assert score.value == (None if expected is None else pytest.approx(expected))


def test_the_total_leaves_out_what_is_unknown() -> None:
    """An unknown score is no zero: the others rank."""
    known = Scores(size=50.0, precision=50.0, kv=50.0, performance=50.0, density=50.0)
    unknown = Scores(size=50.0, precision=50.0, kv=50.0, performance=None, density=None)

    assert (scores.total(known), scores.total(unknown)) == (50.0, 50.0)


@given(weights=BYTES, memory=st.integers(min_value=0, max_value=1 << 42))
def test_every_score_is_from_0_to_100_and_has_a_sentence(weights: int, memory: int) -> None:
    """Whatever the sizes are."""
    found = (
        scores.size(weights, memory),
        scores.precision(weights, memory, "Q8_0", "INT8"),
        scores.kv(weights, memory),
        scores.performance(memory / 1e9, weights),
        scores.density("a benchmark", 50.0, 60.0, weights=weights, best_efficiency=1.0),
    )

    assert all(0.0 <= (score.value or 0.0) <= 100.0 for score in found)
    assert all(score.sentence.endswith(".") for score in found)


@given(weights=BYTES, memory=BYTES, more=BYTES)
def test_more_memory_never_scores_less(weights: int, memory: int, more: int) -> None:
    """The first three scores rise with the memory."""

    def values(available: int) -> tuple[float, ...]:
        found = (
            scores.size(weights, available),
            scores.precision(weights, available, "Q4_K_M", "INT4"),
            scores.kv(weights, available),
        )
        return tuple(score.value or 0.0 for score in found)

    assert all(after >= before for before, after in zip(values(memory), values(memory + more), strict=True))
