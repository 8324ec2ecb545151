"""From the answers to figures: rows of a report, and Markdown for ARCHITECTURE.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.quality.holes import KINDS
from bench.quality.layouts import FEW_LINES, LINES, Variant
from bench.quality.statistics import Estimate, Resampling
from bench.report import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bench.quality.running import Found
    from botframework.wire.messages import FimOrder

FARTHEST = 8
"""Lines: the middles of the headline figures begin 0 to so many lines before the cursor."""
TOLERANCE = 0.5
"""Points of percent that the middle session may be below the better classic layout."""
ORDER_NAMES: dict[FimOrder, str] = {"psm": "prefix first", "spm": "suffix first"}
METRICS = ("exact", "first")
METRIC_NAMES = {"exact": "exact match", "first": "first 4 characters"}


@dataclass(frozen=True, slots=True)
class Step:
    """One point of the curve."""

    lines: int
    tokens: float
    """Of the forced middle, on average."""
    share: dict[str, Estimate]
    change: dict[str, Estimate]
    """Against the anchor at the start of the cursor's line."""


class Summary:
    """Figures of one run, all from the same resampling."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.own = found.layout.order
        self._resampling = Resampling([result.file for result in found.results])
        self._kinds = np.array([result.kind for result in found.results])

    def values(self, metric: str, group: Sequence[Variant]) -> NDArray[np.float64]:
        """Of each hole, the share of these variants that got it right."""
        rows = [[getattr(result.scores[variant], metric) for variant in group] for result in self.found.results]
        return np.asarray(np.array(rows, dtype=np.float64).mean(axis=1))

    def layouts(self, *, heals: bool) -> dict[str, list[Variant]]:
        """Everything that is compared, the middle session in the model's own order first."""
        found: dict[str, list[Variant]] = {}
        for order in sorted(ORDER_NAMES, key=lambda order: order != self.own):
            steps = [lines for lines in (LINES if order == self.own else FEW_LINES) if lines <= FARTHEST]
            found[f"middle session, {ORDER_NAMES[order]}"] = [Variant("middle", order, lines, heals) for lines in steps]
        for order, name in ORDER_NAMES.items():
            found[f"classic, {name}"] = [Variant("classic", order, 0, heals)]
        found["no suffix"] = [Variant("no suffix", self.own, 0, heals)]
        return found

    def share(self, metric: str, group: Sequence[Variant], kind: str | None = None) -> Estimate:
        """How many holes were answered right."""
        return self._resampling.estimate(self.values(metric, group), None if kind is None else self._kinds == kind)

    def difference(
        self, metric: str, one: Sequence[Variant], other: Sequence[Variant], kind: str | None = None
    ) -> Estimate:
        """How many more by one layout than by another."""
        values = self.values(metric, one) - self.values(metric, other)
        return self._resampling.estimate(values, None if kind is None else self._kinds == kind)

    def better_classic(self, metric: str) -> str:
        """The classic layout with more right answers."""
        layouts = self.layouts(heals=True)
        names = [name for name in layouts if name.startswith("classic")]
        return max(names, key=lambda name: float(self.values(metric, layouts[name]).mean()))

    def curve(self) -> list[Step]:
        """The middle session in the model's own order, against the length of the forced middle."""
        steps = []
        for lines in LINES:
            here, start = ([Variant("middle", self.own, at, True)] for at in (lines, 0))
            steps.append(
                Step(
                    lines,
                    float(np.mean([result.forced[lines] for result in self.found.results])),
                    {metric: self.share(metric, here) for metric in METRICS},
                    {metric: self.difference(metric, here, start) for metric in METRICS},
                )
            )
        return steps


def rows(summary: Summary) -> list[Row]:
    """What goes to the terminal."""
    found = []
    layouts = summary.layouts(heals=True)
    first = next(iter(layouts))
    for metric in METRICS:
        better = layouts[summary.better_classic(metric)]
        for name, group in layouts.items():
            difference = summary.difference(metric, group, better)
            is_promised = name == first
            found.append(
                Row(
                    f"{METRIC_NAMES[metric]}: {name}",
                    _share(summary.share(metric, group)),
                    "" if group == better else _points(difference),
                    promise=f">= -{TOLERANCE} points" if is_promised else "",
                    kept=difference.value >= -TOLERANCE if is_promised else None,
                )
            )
    found += [
        Row(
            f"anchor {step.lines} lines above the cursor's ({step.tokens:.0f} tokens)",
            ", ".join(f"{METRIC_NAMES[metric]} {_share(step.share[metric])}" for metric in METRICS),
        )
        for step in summary.curve()
    ]
    for kind in KINDS:
        count = sum(result.kind == kind for result in summary.found.results)
        for metric in METRICS:
            healed, cut = layouts[first], summary.layouts(heals=False)[first]
            found.append(
                Row(
                    f"{METRIC_NAMES[metric]}, cursor at: {kind} ({count}): {first}",
                    f"{_share(summary.share(metric, healed, kind))} with healing",
                    f"{_share(summary.share(metric, cut, kind))} without",
                )
            )
    divergences = summary.found.divergences
    session, chunking, stepwise = divergences.flat()
    if session:
        low, high = excess(session, stepwise)
        found.append(
            Row(
                f"mean KL divergence from one piece, {len(session)} keys of sessions",
                f"{np.mean(session):.2e} nats, more by {low:+.1e} to {high:+.1e}",
                f"{np.mean(stepwise):.2e} nats one token at a time",
                float(np.mean(session)) / max(float(np.mean(stepwise)), 1e-12),
                "<= 1 within its uncertainty",
                low <= 0,
            )
        )
        found.append(Row("  between pieces of 64 and of 512 tokens", "", f"{np.mean(chunking):.2e} nats"))
        found += [
            Row(f"  {event} ({len(values)})", f"{np.mean(values):.2e} nats")
            for event, values in divergences.session.items()
            if values
        ]
    return found


def excess(values: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """By how much the mean of pairs is larger: the 95 % interval of a paired bootstrap."""
    differences = np.array(values) - np.array(others)
    drawn = np.random.default_rng(1).integers(len(differences), size=(2_000, len(differences)))
    low, high = np.quantile(differences[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def markdown(summary: Summary, source: str) -> str:
    """The section for ARCHITECTURE.md."""
    found = summary.found
    files = len({result.file for result in found.results})
    layouts, cut = summary.layouts(heals=True), summary.layouts(heals=False)
    names = {metric: summary.better_classic(metric) for metric in METRICS}
    first = next(iter(layouts))
    few = ", ".join(map(str, FEW_LINES))
    introduction = (
        f"{len(found.results):,} holes in {files} files ({source}); the model asks for {ORDER_NAMES[summary.own]}. A "
        f"hole is the rest of a line, or the next line. Windows of {found.sizes.head} and {found.sizes.suffix} tokens, "
        "the same text in every layout; greedy, with healing. Percent, with 95 % intervals (bootstrap over files). "
        f"The middle begins 0 to {FARTHEST} lines before the cursor's line, the mean over all of them (in the other "
        f"order over {few}). The differences, in points, are paired with the better classic layout: {names['exact']} "
        f"in exact matches, {names['first']} in first characters."
    )
    text = [
        introduction,
        "",
        "| Layout | exact match | difference | first 4 characters | difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, group in layouts.items():
        cells = []
        for metric in METRICS:
            cells.append(_share(summary.share(metric, group)))
            same = name == names[metric]
            cells.append("" if same else _points(summary.difference(metric, group, layouts[names[metric]])))
        text.append(f"| {name} | {' | '.join(cells)} |")
    text += [
        "",
        f"How far the anchor may stay behind ({first}):",
        "",
        "| lines | tokens of the middle | exact match | against 0 lines | first 4 characters | against 0 lines |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for step in summary.curve():
        cells = [f"{_share(step.share[m])} | {_points(step.change[m]) if step.lines else ''}" for m in METRICS]
        text.append(f"| {step.lines} | {step.tokens:.0f} | {' | '.join(cells)} |")
    text += [
        "",
        "By the cursor's place, with healing and without; the difference that healing makes:",
        "",
        "| Cursor | Layout | exact: healed | not | difference | first 4: healed | not | difference |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind in KINDS:
        count = sum(result.kind == kind for result in found.results)
        for name in layouts:
            cells = []
            for metric in METRICS:
                cells.append(f"{summary.share(metric, layouts[name], kind).value:.1f}")
                cells.append(f"{summary.share(metric, cut[name], kind).value:.1f}")
                cells.append(_points(summary.difference(metric, layouts[name], cut[name], kind)))
            text.append(f"| {kind} ({count}) | {name} | {' | '.join(cells)} |")
    session, chunking, stepwise = found.divergences.flat()
    if session:
        parts = ", ".join(
            f"{event} {np.mean(values):.1e} ({len(values)})"
            for event, values in found.divergences.session.items()
            if values
        )
        low, high = excess(session, stepwise)
        text.append("")
        text.append(
            "Mean KL divergence of the next token between what a session answers and exact evaluation of its prompt in "
            f"one piece: {np.mean(session):.1e} nats over {len(session)} keys ({parts}); between two exact evaluations "
            f"of the same prompts, in one piece and one token at a time: {np.mean(stepwise):.1e}, and in pieces of 64 "
            f"and of 512 tokens: {np.mean(chunking):.1e}. The 95 % interval of the difference to the first is "
            f"{low:+.1e} to {high:+.1e}."
        )
    return "\n".join(text)


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.1f} ({estimate.low:.1f} to {estimate.high:.1f})"


def _points(estimate: Estimate) -> str:
    return f"{estimate.value:+.1f} ({estimate.low:+.1f} to {estimate.high:+.1f})"
