"""Shares with their uncertainty. Holes of one file are not independent: whole files are drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESAMPLES = 4_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share or a difference of shares, in points of percent, with its confidence interval."""

    value: float
    low: float
    high: float


class Resampling:
    """Bootstrap weights over the files of a run: all figures are computed with the same ones, so they are paired."""

    def __init__(self, files: Sequence[str], seed: int = 1) -> None:
        """``files`` names the file of each hole."""
        _, self._of = np.unique(np.array(files), return_inverse=True)
        count = int(self._of.max()) + 1
        self._weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)

    def estimate(self, values: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None) -> Estimate:
        """The mean of a value of each hole (0 or 1, or a difference of such), of all holes or of some."""
        mask = np.ones(len(values), dtype=bool) if chosen is None else chosen
        size = self._weights.shape[1]
        sums = np.bincount(self._of[mask], weights=values[mask], minlength=size)
        counts = np.bincount(self._of[mask], minlength=size)
        totals = self._weights @ counts
        drawn = (self._weights @ sums)[totals > 0] / totals[totals > 0]
        low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return Estimate(100 * float(values[mask].mean()), 100 * float(low), 100 * float(high))
