"""What both sides know about the text around a cursor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from botframework.wire.text import LINE_END, line_end, line_start

TEXTS = st.text("ab\r\n", max_size=20)


@given(TEXTS)
def test_a_line_begins_behind_the_last_line_end(text: str) -> None:
    """CR, LF and CRLF end a line, and nothing else does."""
    assert line_start(text) == max((found.end() for found in LINE_END.finditer(text)), default=0)


@given(TEXTS)
def test_a_line_ends_before_the_first_line_end(text: str) -> None:
    """The content of the first line has none in it, and one stands behind it, or nothing."""
    end = line_end(text)

    assert LINE_END.search(text[:end]) is None
    assert end == len(text) or text[end] in "\r\n"
