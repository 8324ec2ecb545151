"""New text gets the indentation, the line ends and the outer blanks of the place where it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.lsp.fitting import Fitted, Spot

CASES = {
    "whole lines, as asked": (Spot("", "    a\n", "b"), "    x\n        y", "    x\n        y\n"),
    "a model that begins at the margin": (
        Spot("", "    a\n", "b"),
        "x:\n    y\n\n  z",
        "    x:\n        y\n\n      z\n",
    ),
    "a model that indents too much": (Spot("", "a\n", "b"), "    x:\n        y\n  z\n    z", "x:\n    y\nz\nz\n"),
    "the other kind of blanks": (Spot("", "\ta\n", ""), "  x:\n  y\nz", "\tx:\n\ty\nz\n"),
    "from the first word on": (Spot("    ", "a\n    b", ""), "x\ny", "x\n    y"),
    "from inside the indentation": (Spot("  ", "  a\n    b", ""), "x\ny", "  x\n    y"),
    "inside a line": (Spot("f(", "a", ")"), "  x +\n      y", "x +\n      y"),
    "blank lines around it": (Spot("", "\n\n  a\n \n\n", ""), "\n\n\nx\n\n\n", "\n\n  x\n \n\n"),
    "without a final line end": (Spot("", "  a", ""), "  x\n", "  x"),
    "nothing left": (Spot("", "  a\n", ""), " \n\n", ""),
    "blanks at a line's end": (Spot("", "a\n", ""), "x  \ny", "x  \ny\n"),
    "blank lines with blanks": (Spot("", "a\n", ""), "x\n   \n\t\ny", "x\n\n\ny\n"),
    "carriage returns": (Spot("", "a\n", "", "\r\n"), "x\ny\n", "x\r\ny\r\n"),
    "an empty line": (Spot("", "", ""), "    x\n    y\n", "    x\n    y"),
    "an empty line, selected": (Spot("", "\n", "b"), "    x\n    y\n", "    x\n    y\n"),
    "a line of blanks": (Spot("    ", "", ""), "x\n  y", "x\n      y"),
    "a line of blanks, selected": (Spot("", "    \n", "b"), "x\n  y", "    x\n      y\n"),
    "above a line": (Spot("", "", "    b"), "# x\n# y", "    # x\n    # y\n"),
    "above a line, at its first word": (Spot("    ", "", "b"), "# x\n# y", "# x\n    # y\n    "),
    "in the middle of a line": (Spot("f(", "", ")"), "  x", "x"),
    "blanks in the middle of a line": (Spot("f( ", " ", ")"), "x", " x"),
    "at the end of a line": (Spot("x = ", "", ""), "1\n", "1"),
    "at the end of a line, and on below it": (Spot("def f():", "", ""), "    return 1", "\n    return 1"),
    "nothing to insert": (Spot("", "", "  b"), "", ""),
}


def fit(spot: Spot, pieces: list[str]) -> str:
    """The text that comes of these pieces."""
    fitted = Fitted(spot)
    return "".join([*(fitted.feed(piece) for piece in pieces), fitted.finish()])


@pytest.mark.parametrize("case", CASES)
def test_the_text_as_it_stands_in_the_document(case: str) -> None:
    """Whole, and character by character."""
    spot, given_text, expected = CASES[case]

    assert (fit(spot, [given_text]), fit(spot, list(given_text))) == (expected, expected)


BLANKY = st.text(alphabet="a \t\n", max_size=12)


@given(BLANKY.filter(str.strip), BLANKY)
def test_a_text_that_stays_as_it_is_stays_as_it_is(old: str, after: str) -> None:
    """Who repeats whole lines changes nothing but blanks on blank lines inside."""
    old = "\n".join(line if line.strip() else "" for line in old.split("\n"))

    assert fit(Spot("", old, after), [old]) == old


@given(st.builds(Spot, BLANKY.map(lambda text: text.replace("\n", "")), BLANKY, BLANKY), st.lists(BLANKY))
def test_pieces_make_no_difference(spot: Spot, pieces: list[str]) -> None:
    """However a text is cut into pieces, the same comes of it."""
    assert fit(spot, pieces) == fit(spot, ["".join(pieces)])
