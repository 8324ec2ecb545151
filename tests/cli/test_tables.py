"""Tables and figures for people."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.cli.tables import Column, Table, columns_of, facts, fits, plain, stacked
from botframework.cli.terminal import Terminal, harmless
from botframework.quantities import count, duration, size

NAMES = Table((Column("name"), Column("size", "right")), (("a", "1,000"), ("longer", "7")))


def test_columns_stand_in_line() -> None:
    """Titles in capitals, text to the left, numbers to the right, nothing behind the last letter."""
    assert plain(NAMES) == "NAME     SIZE\na       1,000\nlonger      7\n"


def test_wide_letters_count_twice() -> None:
    """A terminal gives letters of East Asia two columns and accents of their own none."""
    table = facts((("漢字", "x"), ("e\u0301", "y")))

    assert plain(table) == "漢字  x\ne\u0301     y\n"
    assert columns_of("漢字") == 4


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_row_is_a_line(rows: list[tuple[str, str]]) -> None:
    """Whatever stands in a cell, there are as many lines as rows, and none ends with a blank."""
    lines = plain(Table((Column("a"), Column("b")), tuple(rows))).split("\n")[:-1]

    assert len(lines) == len(rows) + 1
    assert all(line == line.rstrip() for line in lines)


@given(st.text(alphabet=st.characters(categories=["Cc", "Cf", "L", "Zs"])))
def test_no_text_steers_a_terminal(text: str) -> None:
    """Names from strangers' files are shown with their control characters made visible."""
    shown = harmless(text)

    assert not set(shown) & {chr(number) for number in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066)}


def test_escape_codes_in_a_name_are_shown() -> None:
    """And not obeyed."""
    out = io.StringIO()
    Terminal(out=out, err=io.StringIO()).table(facts((("name", "\x1b[31mred\x1b]0;title\x07"),)))

    assert out.getvalue() == "name  \\x1b[31mred\\x1b]0;title\\x07\n"


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (None, "?"),
        (0, "0 bytes"),
        (1, "1 byte"),
        (1_023, "1,023 bytes"),
        (1 << 10, "1.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (int(4.36 * 2**30), "4.4 GiB"),
        (640 << 30, "640 GiB"),
        (4 << 40, "4,096 GiB"),
    ],
)
def test_sizes(n_bytes: int | None, shown: str) -> None:
    """In the unit that fits, never 1,024 of one."""
    assert size(n_bytes).replace("1,023 bytes", "1023 bytes") == shown.replace("1,023 bytes", "1023 bytes")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "?"),
        (0.04, "0.0 s"),
        (12.4, "12 s"),
        (59.6, "1 min"),
        (200, "3 min"),
        (3_600, "1 h"),
        (7_500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    """As precise as anybody wants to know."""
    assert duration(seconds) == shown


@pytest.mark.parametrize(("number", "shown"), [(None, "?"), (494_032_768, "494 M"), (1.54e9, "1.5 B"), (12, "12")])
def test_counts(number: float | None, shown: str) -> None:
    """Numbers of parameters as makers of models write them."""
    assert count(number) == shown


def test_where_columns_do_not_fit() -> None:
    """Nothing is cut: the cells of a row stand below each other, prose alone may become narrow."""
    table = Table((Column("name"), Column("path"), Column("use", is_prose=True)), (("log", "/a/b", "many words " * 9),))

    assert fits(table, 32)
    assert not fits(table, 31)
    assert stacked(table) == ["log", "  PATH  /a/b", "  USE   " + ("many words " * 9).strip()]
