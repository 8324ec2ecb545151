"""What is shown of what the model wrote, and the reason for what is not."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.lsp import filters
from botframework.lsp.closers import beyond_closers, fit, rest_of_line
from botframework.lsp.filters import Reason, Standards, judge
from botframework.wire.text import CLOSERS, LINE_END

LINE_ENDS = ["\n", "\r\n", "\r"]


def judged(text: str, before: str = "", after: str = "", *, was_cut: bool = False, **standards: Any) -> tuple[str, str]:
    """The text that is shown, or the reason."""
    mean_logprob = standards.pop("mean_logprob", -0.5)
    verdict = judge(text, before, after, was_cut=was_cut, mean_logprob=mean_logprob, standards=Standards(**standards))
    return verdict.text, verdict.reason


@pytest.mark.parametrize("line_end", LINE_ENDS)
@pytest.mark.parametrize(
    ("text", "before", "after", "reason"),
    [
        ("\nhalf a li", "", "", "cutShort"),
        ("", "x = ", "", "empty"),
        (" \n\t\n", "x = ", "", "whitespaceOnly"),
        ("return x", "    ", "\n    return x\n", "equalsSuffixLine"),
        ("urn x", "    ret", "\n\n    return x\n", "equalsSuffixLine"),
        (" + b)", "foo(a", " + b)\n", "equalsSuffixLine"),
        ("\n    return x", "    x = 1", "\n    return x\n", "equalsSuffixLine"),
        ("value = compute()", "value = compute()\n", "", "repeatsAbove"),
        ("one = 1\ntwo = 2", "one = 1\ntwo = 2\n", "", "repeatsAbove"),
        ("ompute()", "value = compute()\nvalue = c", "", "repeatsAbove"),
        (")", "f(x", "", "onlyClosers"),
        (");", 'f("x', "", "onlyClosers"),
        ("))", "f(g(x", "))", "onlyClosers"),
        ("})]", "f([{", "})]", "onlyClosers"),
        ("a sentence", "x = ", "", "lowConfidence"),
    ],
)
def test_reasons(text: str, before: str, after: str, reason: str, line_end: str) -> None:
    """Each filter drops what it is for, and nothing before it does, whatever ends the document's lines."""
    before, after = LINE_END.sub(line_end, before), LINE_END.sub(line_end, after)
    logprob = -3.0 if reason == "lowConfidence" else -0.5
    assert judged(text, before, after, was_cut=reason == "cutShort", mean_logprob=logprob, min_logprob=-2.0) == (
        "",
        reason,
    )


@pytest.mark.parametrize("line_end", LINE_ENDS)
@pytest.mark.parametrize(
    ("text", "before", "after", "expected"),
    [
        ("a\nb\nc", "", "", "a\nb\nc"),
        ("    pass", "    pass\n", "", "    pass"),
        ("\n}", "x() {\n  y()", "", "\n}"),
        ("a\n    return x\n", "", "\n    return x\n", "a"),
        ("a\n    return x", "", "\r\n\r\n    return x\r\n", "a"),
        ("a\nb\nc", "", "\nb\nc\nd", "a"),
        ("a\nb\nx", "", "\nb\nc", "a\nb\nx"),
        ("if y:\n  z()\n}", "f() {\n  ", "\n}\n", "if y:\n  z()"),
        ("if (y) {\n  z()\n}", "f() {\n  ", "\n}\n", "if (y) {\n  z()\n}"),
        ("b + c)", "foo(a, ", " + c)", "b"),
        ("b + c", "foo(a, ", " + c)", "b"),
        ("word(b)\nmore", "foo(", ", bar)", "word(b)"),
        ("  a  \n\n", "", "", "  a"),
    ],
)
def test_what_is_left_out(text: str, before: str, after: str, expected: str, line_end: str) -> None:
    """A suggestion does not repeat what stands behind it, and keeps what only looks like a repetition."""
    before, after = LINE_END.sub(line_end, before), LINE_END.sub(line_end, after)
    assert judged(text, before, after) == (expected, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\nb\nhalf a li", "a\nb"), ("half a li", "half a li"), ("a\n", "a")],
)
def test_a_limit_ends_the_suggestion_at_a_line(text: str, expected: str) -> None:
    """The last line goes if there is another; half a line is better than nothing."""
    assert judged(text, was_cut=True) == (expected, "")


def test_who_asks_is_shown_more() -> None:
    """Closers, and what the model hardly believes in, are shown to whoever asked with a key."""
    assert judged(")", "f(x", is_invoked=True) == (")", "")
    assert judged("word", mean_logprob=-9.0, min_logprob=-1.0, is_invoked=True) == ("word", "")
    assert judged("word", mean_logprob=-9.0) == ("word", "")


def test_the_order_is_the_documented_one() -> None:
    """The page that is published from the docstring names every filter, in the order of the reasons."""
    reasons = [reason for reason in get_args(Reason) if reason and f"``{reason}``" in (filters.__doc__ or "")]
    places = [(filters.__doc__ or "").index(f"``{reason}``") for reason in reasons]

    assert reasons == [reason for reason in get_args(Reason) if reason not in ("", "notAsked")]
    assert places == sorted(places)


# --- the rest of the line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rest", "expected", "covered"),
    [
        ("a, b)", ")", "a, b)", 1),
        ("f(a)", ")", "f(a)", 0),
        ("f(a))", ")", "f(a))", 1),
        ("x])", "])", "x])", 2),
        ('abc")', '")', 'abc")', 2),
        ("'a', 'b'", "'", "'a', 'b'", 0),
        ("a', 'b", "'", "a', 'b", 0),
        ('Doc."""', '"""', 'Doc."""', 3),
        ("a)", "))", "a)", 1),
        ("a, b):\n    return a", "):", "a, b):\n    return a", 2),
        ("a )", " )", "a )", 2),
        ("a)", " )", "a", 0),
        ("\n  x();\n}", "})", "\n  x();\n}", 1),
        ("a]", ")", "a", 0),
        ("1;", ";", "1;", 1),
        ("1, 2", ",", "1, 2", 0),
        ("1,", ",", "1,", 1),
        (", b\nprint(c)", ")", ", b", 0),
        ("\n    a,\n    b", ")", "\n    a,\n    b", 0),
        ("foo<T>", ">", "foo<T>", 0),
        ("int>", ">", "int>", 1),
        ('a\\")"', '"', 'a\\")"', 1),
        ("x > y)", ")", "x > y)", 1),
        ("a)", "", "a)", 0),
        ("a)", "   ", "a)", 0),
        ("b + c)", " + c)", "b", 0),
    ],
)
def test_closers_are_replaced_or_kept(text: str, rest: str, expected: str, covered: int) -> None:
    """The range covers the closers that the suggestion writes itself, and no others."""
    assert fit(text, rest) == (expected, covered)


@pytest.mark.parametrize(
    ("text", "rest", "expected"),
    [("a, b)", ")", "a, b"), ("f(a)", ")", "f(a)"), ('abc")', '")', "abc"), ("a):\n    b", "):", "a")],
)
def test_closers_that_no_range_may_cover(text: str, rest: str, expected: str) -> None:
    """Then they stay where they are, and the suggestion ends before them."""
    assert fit(text, rest, may_cover=False) == (expected, 0)


TEXTS = st.text("ab (){}[]<>\"'`;:,\n\\", max_size=20)


@given(TEXTS, st.text(CLOSERS, max_size=6))
def test_an_editor_can_show_it(text: str, rest: str) -> None:
    """VS Code's rule: what the range covers is on one line and stands in the suggestion in the same order."""
    fitted = fit(text, rest)
    left = iter(fitted.text)

    assert 0 <= fitted.covered <= len(rest)
    assert all(char in left for char in rest[: fitted.covered])
    assert text.startswith(fitted.text)


@given(TEXTS, TEXTS, TEXTS)
def test_nothing_is_invented(text: str, before: str, after: str) -> None:
    """What is shown is a beginning of what the model wrote, or there is a reason; never an error."""
    verdict = judge(text, before, after, was_cut=False, mean_logprob=0.0)
    assert text.startswith(verdict.text)
    assert bool(verdict.text.strip()) != bool(verdict.reason)


@pytest.mark.parametrize(
    ("after", "rest", "beyond"),
    [
        ("", "", ""),
        (")\r\nx", ")", "x"),
        ("\n}\n\nx)", "", "x)"),
        (" + 1)\n", " + 1)", "+ 1)\n"),
        ("a\rb", "a", "a\rb"),
    ],
)
def test_the_rest_of_a_line(after: str, rest: str, beyond: str) -> None:
    """It ends at any kind of line end; what stands beyond closers is the same whichever were closed."""
    assert rest_of_line(after) == rest
    assert beyond_closers(after) == beyond
