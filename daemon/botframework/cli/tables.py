"""Tables: as plain text with columns in line, which anything can read, or drawn by rich on a terminal."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table as RichTable

GAP = "  "
LEAST_PROSE = 20
"""Columns of a terminal below which prose is broken too often."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    title: str
    align: Literal["left", "right"] = "left"
    is_prose: bool = False
    """Its text may be broken into lines where the terminal is narrow; that of other columns stays whole."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; a row may be shorter than the columns are many."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    has_titles: bool = True


def facts(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and what they stand for, without titles."""
    return Table((Column("name"), Column("value", is_prose=True)), tuple(rows), has_titles=False)


def plain(table: Table) -> str:
    """Lines of text: every cell on one line, nothing cut, no blanks at line ends. Ends with a newline if not empty."""
    n = len(table.columns)
    head = [tuple(column.title.upper() for column in table.columns)] if table.has_titles else []
    rows = [tuple(" ".join(cell.split()) for cell in (*row, *[""] * (n - len(row)))) for row in (*head, *table.rows)]
    widths = [max((columns_of(row[number]) for row in rows), default=0) for number in range(n)]
    lines = []
    for row in rows:
        cells = []
        for cell, width, column in zip(row, widths, table.columns, strict=True):
            space = " " * (width - columns_of(cell))
            cells.append(space + cell if column.align == "right" else cell + space)
        lines.append(GAP.join(cells).rstrip() + "\n")
    return "".join(lines)


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes: wide characters two, combining ones none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def fits(table: Table, columns: int) -> bool:
    """Whether all cells that stay whole, and something of the prose, stand side by side in so many columns."""
    wanted = 0
    for number, column in enumerate(table.columns):
        cells = [row[number] for row in table.rows if number < len(row)] + [column.title] * table.has_titles
        widest = max(map(columns_of, cells), default=0)
        wanted += min(widest, LEAST_PROSE) if column.is_prose else widest
    return wanted + len(GAP) * (len(table.columns) - 1) <= columns


def stacked(table: Table) -> list[str]:
    """Lines, for where columns do not fit: the first cell of each row, and indented below it the others with titles."""
    titles = [column.title.upper() if table.has_titles else "" for column in table.columns]
    width = max(map(columns_of, titles[1:]), default=0)
    lines = []
    for row in table.rows:
        first, *others = (" ".join(cell.split()) for cell in row)
        lines.append(first)
        lines += [
            GAP + title + " " * (width - columns_of(title)) + (GAP if width else "") + cell
            for title, cell in zip(titles[1:], others, strict=False)
            if cell
        ]
    return lines


def drawn(table: Table) -> RichTable:
    """The same for a terminal, where prose is broken into lines instead of running out of sight."""
    from rich.table import Table as Drawing
    from rich.text import Text

    drawing = Drawing(box=None, show_header=table.has_titles, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for number, column in enumerate(table.columns):
        drawing.add_column(
            column.title.upper(),
            justify=column.align,
            no_wrap=not column.is_prose,
            overflow="fold",
            style="" if number or table.has_titles else "dim",
        )
    for row in table.rows:
        drawing.add_row(*(Text(cell) for cell in row))
    return drawing
