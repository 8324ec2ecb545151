"""What a benchmark found, and how it is shown."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing beside its peer."""

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    """Ours to the peer's."""
    promise: str = ""
    kept: bool | None = None
    """Whether the promise was kept; None where none was given."""


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of one benchmark."""

    letter: str
    title: str
    peer: str
    """Who the peer is."""
    rows: list[Row] = field(default_factory=list)
    note: str = ""


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies, by the nearest rank."""
    ordered = sorted(values)
    rank = math.ceil(share * len(ordered) - 1e-9)  # 0.95 * 20 is a little more than 19.
    return ordered[min(len(ordered), max(1, rank)) - 1]


def spread(values: Sequence[float], unit: str = "ms", digits: int = 1) -> str:
    """Median, 95th and 99th percentile as far as so few values have them."""
    text = f"{statistics.median(values):.{digits}f} {unit}"
    if len(values) >= 20:
        text += f"  (p95 {quantile(values, 0.95):.{digits}f}"
        text += f", p99 {quantile(values, 0.99):.{digits}f})" if len(values) >= 100 else ")"
    return text


def show(report: Report, console: Console) -> None:
    """A table on the terminal."""
    table = Table(title=f"({report.letter}) {report.title}", title_justify="left", caption=report.note or None)
    table.caption_justify = "left"
    for heading in ("measured", "botframework", report.peer or "peer", "ratio", "promise", ""):
        table.add_column(heading)
    for row in report.rows:
        verdict = {None: "", True: "[green]kept[/]", False: "[red]broken[/]"}[row.kept]
        table.add_row(
            row.what, row.ours, row.peer, "" if row.ratio is None else f"{row.ratio:.2f}", row.promise, verdict
        )
    console.print(table)
    console.print()


def markdown(reports: Sequence[Report]) -> str:
    """All of it as one Markdown table."""
    lines = ["| bench | measured | botframework | peer | ratio | promise | kept |", "|---|---|---|---|---|---|---|"]
    for report in reports:
        for row in report.rows:
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            kept = {None: "", True: "yes", False: "no"}[row.kept]
            peer = f"{row.peer} ({report.peer})" if row.peer and report.peer else row.peer
            lines.append(f"| {report.letter} | {row.what} | {row.ours} | {peer} | {ratio} | {row.promise} | {kept} |")
    return "\n".join(lines)
