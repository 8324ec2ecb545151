"""A picture of one session: prompt tokens and time to the first token, key by key, ours and the peer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.keystrokes.costs import Run

OURS, PEER = "#0b6e4f", "#c44536"


def draw(run: Run, target: Path, title: str) -> bool:
    """Write a PNG; False if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(11, 8), layout="tight")
    figure.suptitle(title)
    parts = figure.subplot_mosaic([["tokens", "tokens"], ["first", "line"]])
    tokens, times, shares = parts["tokens"], parts["first"], parts["line"]
    ours = [answer.evaluated for answer in run.inline]
    peer = [answer.evaluated for answer in run.peer]
    tokens.plot([max(value, 0.5) for value in peer], ".", color=PEER, markersize=4, label="llama-server, llama.vscode")
    tokens.plot([max(value, 0.5) for value in ours], ".", color=OURS, markersize=4, label="botframework")
    tokens.set(yscale="log", xlabel="key", ylabel="prompt tokens evaluated (0 drawn as 0.5)")
    tokens.legend(loc="center right")
    first = [answer.first_ms for answer in run.complete]
    peer_first = [answer.first_ms for answer in run.peer]
    _cumulate(times, first, OURS)
    _cumulate(times, peer_first, PEER)
    times.set(xscale="log", xlabel="first token after, ms", ylabel="share of keys")
    _cumulate(shares, [answer.total_ms for answer in run.complete], OURS)
    _cumulate(shares, [answer.total_ms for answer in run.peer], PEER)
    shares.set(xscale="log", xlabel="line of 12 tokens after, ms")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    return True


def _cumulate(axes: Axes, values: Sequence[float], color: str) -> None:
    """Draw which share of the keys was answered by then."""
    if not values:
        return
    ordered = sorted(values)
    shares = [(index + 1) / len(ordered) for index in range(len(ordered))]
    axes.step(ordered, shares, color=color)
    axes.grid(visible=True, alpha=0.3)
