"""The curve: right answers against the length of the forced middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality.summary import METRIC_NAMES, METRICS, ORDER_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from bench.quality.summary import Summary

COLORS = {"exact": "#0b6e4f", "first": "#08415c"}


def draw(summary: Summary, target: Path) -> bool:
    """Write a PNG; False if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    curve, layouts = summary.curve(), summary.layouts(heals=True)
    lines = [step.lines for step in curve]
    for metric in METRICS:
        color, shares = COLORS[metric], [step.share[metric] for step in curve]
        axes.plot(lines, [share.value for share in shares], "o-", color=color, label=METRIC_NAMES[metric])
        axes.fill_between(
            lines, [share.low for share in shares], [share.high for share in shares], color=color, alpha=0.12
        )
        better = summary.better_classic(metric)
        level = summary.share(metric, layouts[better]).value
        axes.axhline(level, color=color, linestyle="--", linewidth=1, label=f"{better}, {METRIC_NAMES[metric]}")
    axes.set(
        title=f"Middle session, {ORDER_NAMES[summary.own]}: {len(summary.found.results):,} held-out holes",
        xlabel="lines between anchor and cursor's line (mean tokens of the forced middle below)",
        ylabel="percent right, 95 % interval",
        ylim=(0, None),
    )
    axes.set_xticks(lines, [f"{step.lines}\n{step.tokens:.0f}" for step in curve])
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    return True
