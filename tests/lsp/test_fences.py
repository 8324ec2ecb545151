"""What a model wraps around its text is taken off while it comes, however it comes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.lsp.fences import MAX_PREAMBLE_CHARS, Unwrapped, longest_fence

ANSWERS = {
    "a block": ("```python\nx = 1\n```", "x = 1\n"),
    "a block without a word, with tildes": ("~~~\nx = 1\n~~~\n", "x = 1\n"),
    "sentences around it": ("Sure! Here it is:\n\n```py\nx = 1\n```\nIt sets x.", "x = 1\n"),
    "a sentence before a block without a word": ("The new text:\n```\nx = 1\n```", "x = 1\n"),
    "an indented block": ("    ```python\n    x = 1\n    ```", "    x = 1\n"),
    "no block": ("x = 1\ny = 2", "x = 1\ny = 2"),
    "no block, but its end": ("x = 1\n```", "x = 1\n"),
    "no block, but its end and an explanation": ("x = 1\n```\nIt sets x.", "x = 1\n"),
    "many lines, then a fence": ("a\nb\nc\nd\n```\nwords", "a\nb\nc\nd\n"),
    "a block that does not end": ("```python\nx = 1\ny", "x = 1\ny"),
    "only the first of two blocks": ("```\none\n```\nor\n```\ntwo\n```", "one\n"),
    "a block in the block": ("```md\na\n```sh\nls\n```\nb\n```\nwords", "a\n```sh\nls\n```\nb\n"),
    "a longer fence around a shorter one": ("````\na\n```\nls\n```\n````", "a\n```\nls\n```\n"),
    "marks that are no fence": ("```\n``x`` ``\n` ```\n~~~\n```", "``x`` ``\n` ```\n~~~\n"),
    "marks inside a line": ("```js\nlet a = 1 ```\n```", "let a = 1 ```\n"),
    "all on one line": ("```x = 1```", "x = 1"),
    "a template literal": ("`a${b}`", "`a${b}`"),
    "nothing": ("", ""),
    "blanks": (" \n \n", " \n \n"),
    "an empty block": ("```\n```", ""),
    "a lonely fence": ("```", ""),
    "carriage returns": ("```\r\nx = 1\r\ny\r\n```\r\n", "x = 1\ny\n"),
    "thoughts": ("<think>\nWhat about\n```\nz\n```\n</think>\n\n```\nx = 1\n```", "x = 1\n"),
    "second thoughts": ("<think>a</think>\n<think>b</think>\n```\nx = 1\n```", "x = 1\n"),
    "thoughts without an end": ("<think>\nWhat about\n```\nz\n```", ""),
    "a line separator inside": ("```\na\u2028```\nb\n```", "a\u2028```\nb\n"),
}

MARKDOWN_ANSWERS = {
    "a longer fence": ("````\n# T\n```sh\nls\n```\n````\nwords", "# T\n```sh\nls\n```\n"),
    "a fence that says so": ("```markdown\n# T\n```sh\nls\n```\nend\n```\nwords", "# T\n```sh\nls\n```\nend\n"),
    "the text's own": ("```sh\nls\n```\nend", "```sh\nls\n```\nend"),
    "no fence first": ("# T\n```sh\nls\n```\nend", "# T\n```sh\nls\n```\nend"),
}


def unwrap(pieces: list[str], own_marks: int = 0) -> str:
    """The text in an answer that comes in these pieces."""
    unwrapped = Unwrapped(own_marks)
    return "".join([*(unwrapped.feed(piece) for piece in pieces), unwrapped.finish()])


@pytest.mark.parametrize("case", ANSWERS)
def test_the_text_of_an_answer(case: str) -> None:
    """Whole, and character by character."""
    answer, text = ANSWERS[case]

    assert (unwrap([answer]), unwrap(list(answer))) == (text, text)


@pytest.mark.parametrize("case", MARKDOWN_ANSWERS)
def test_the_text_of_an_answer_that_has_fences_of_its_own(case: str) -> None:
    """A selection with fences keeps them; only what can be nothing else is taken for the wrapping."""
    answer, text = MARKDOWN_ANSWERS[case]

    assert (unwrap([answer], 3), unwrap(list(answer), 3)) == (text, text)


ANY_ANSWER = st.lists(
    st.sampled_from(["```", "~~~", "````", "`", "python", "x = 1", ":", "\n", "\r\n", " ", "<think>", "</think>", "é"])
).map("".join)


@given(ANY_ANSWER, st.lists(st.integers(0, 60)), st.sampled_from([0, 3]))
def test_pieces_make_no_difference(answer: str, cuts: list[int], own_marks: int) -> None:
    """However an answer is cut into pieces, the same text comes of it."""
    places = sorted({0, *(cut for cut in cuts if cut < len(answer)), len(answer)})
    pieces = [answer[start:end] for start, end in itertools.pairwise(places)]

    assert unwrap(pieces, own_marks) == unwrap([answer], own_marks)


def test_nothing_waits_longer_than_it_must() -> None:
    """Inside a block every character that cannot be a fence comes at once; the end of the block is known at once."""
    unwrapped = Unwrapped()

    assert unwrapped.feed("```python\n") == ""
    assert [unwrapped.feed(char) for char in "x = 1\n  ``a"] == [*"x = 1\n", "", "", "", "", "  ``a"]
    assert (unwrapped.feed("\n```"), unwrapped.is_over) == ("\n", False)
    assert (unwrapped.feed("\n"), unwrapped.is_over) == ("", True)
    assert unwrapped.feed("words\n```\nmore") + unwrapped.finish() == ""


def test_an_answer_without_a_block_waits_for_some_lines_only() -> None:
    """After a few lines, or one long one, there is no block to wait for."""
    unwrapped = Unwrapped()
    assert unwrapped.feed("a\nb\nc\n") == ""
    assert unwrapped.feed("d") == "a\nb\nc\nd"

    long_line = "x" * (MAX_PREAMBLE_CHARS + 1)
    assert Unwrapped().feed(long_line) == long_line


def test_nothing_is_held_back_for_ever() -> None:
    """Not even what looks like the beginning of a fence: a model that writes blanks, or marks, without end."""
    for endless in (" ", "`", "~", "```a"):
        unwrapped = Unwrapped()
        unwrapped.feed("```\n")
        assert unwrapped.feed(endless)[:1] == ""
        assert sum(len(unwrapped.feed(endless[-1])) for _ in range(1_000)) > 500


def test_thoughts_that_the_prompt_has_begun() -> None:
    """Everything up to their end is none of the text, and an answer that is nothing else has none."""
    answer = "What about\n```\nz\n```\n</think>\n\n```\nx = 1\n```"
    unwrapped = Unwrapped(begins_with_thoughts=True)
    assert "".join(map(unwrapped.feed, answer)) + unwrapped.finish() == "x = 1\n"

    unwrapped = Unwrapped(begins_with_thoughts=True)
    assert unwrapped.feed("What about\n```\nz\n```") + unwrapped.finish() == ""


def test_the_longest_fence() -> None:
    """Counts marks at the beginning of lines."""
    assert longest_fence("a ``` b\n  ````sh\n~~~\n") == 4
    assert longest_fence("``x``\nno") == 0
