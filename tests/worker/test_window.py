"""Which part of a file a prompt shows, and how long that part stays."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botframework.errors import ContextOverflow
from botframework.worker.window import (
    MAX_MIDDLE_CHARS,
    Sizes,
    Window,
    after_closers,
    anchor,
    budget,
    lay,
)

SIZES = Sizes(300, 100)


def words(text: str) -> list[int]:
    """A tokenizer with tokens of one to four characters."""
    return [hash(piece) for piece in re.findall(r"\s|\w{1,4}|[^\w\s]", text)]


def source(lines: int) -> str:
    """Some text that looks like code."""
    return "".join(f"    value_{line} = compute(value_{line - 1}, {line})\n" for line in range(lines))


FILE = source(400)
CURSOR = FILE.index("value_200") + 5


def window(prefix: str, suffix: str, sizes: Sizes = SIZES, **options: object) -> Window:
    """Lay a window with the tokenizer above."""
    return lay(prefix, after_closers(suffix), sizes, words, **options)  # type: ignore[arg-type]


@given(
    prefix=st.text(alphabet="ab \n\r\t(😀é", max_size=600),
    suffix=st.text(alphabet="ab \n\r)\t😀", max_size=300),
    head=st.integers(8, 200),
)
@settings(max_examples=300, deadline=None)
def test_a_window_is_the_text_around_the_cursor(prefix: str, suffix: str, head: int) -> None:
    """Head and middle are the end of the text before the cursor, the suffix the beginning of what follows."""
    laid = window(prefix, suffix, Sizes(head, head // 3))
    middle = laid.middle(prefix, after_closers(suffix))

    assert middle is not None
    assert prefix.endswith(laid.head + middle)
    assert after_closers(suffix).startswith(laid.suffix)
    assert (len(laid.head) + len(middle) < len(prefix)) == laid.is_head_cut
    assert (len(laid.suffix) < len(after_closers(suffix))) == laid.is_suffix_cut
    assert len(laid.head_tokens) + len(laid.suffix_tokens) <= head + head // 3
    assert list(laid.head_tokens) == words(laid.head)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_cuts_are_at_lines(line_end: str) -> None:
    """A cut head begins with a line and a cut suffix ends with one."""
    prefix, suffix = (text.replace("\n", line_end) for text in (FILE[:CURSOR], FILE[CURSOR:]))
    laid = window(prefix, suffix)

    assert laid.is_head_cut
    assert laid.head.startswith("    value_")
    assert laid.is_suffix_cut
    assert laid.suffix.endswith(f"){line_end}")


def test_the_middle_begins_at_the_cursor_s_line() -> None:
    """So the head ends with a line, and what is typed on it is the middle."""
    laid = window(FILE[:CURSOR], FILE[CURSOR:])

    assert laid.head.endswith("\n")
    assert laid.middle(FILE[:CURSOR], FILE[CURSOR:]) == "    value"


@pytest.mark.parametrize(("before", "after"), [("x = 1\n", FILE), (FILE, "\n"), ("", FILE), (FILE, "")])
def test_what_one_side_leaves_the_other_gets(before: str, after: str) -> None:
    """At the ends of a file the window is as large as in its middle."""
    laid = window(before, after)

    assert len(laid.head_tokens) + len(laid.suffix_tokens) > SIZES.total * 0.7


def test_typing_and_deleting_on_many_lines_keeps_the_window() -> None:
    """All that is typed since the anchor is the middle; nothing else changes."""
    laid = window(FILE[:CURSOR], FILE[CURSOR:])
    for typed in ("_2", "_2 = f(", "_2 = f()\n    if x:\n        y = 1\n", "_2 = f()\n    if x:\n  ", "_2", ""):
        assert laid.middle(FILE[:CURSOR] + typed, FILE[CURSOR:]) == "    value" + typed


def test_edits_above_and_below_the_window_keep_it() -> None:
    """Only the text that a prompt shows is compared, so an import that is added on top changes nothing."""
    laid = window(FILE[:CURSOR], FILE[CURSOR:])

    assert laid.middle("import sys\n" + FILE[:CURSOR], FILE[CURSOR:] + "# the end\n") == "    value"


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        (FILE[:CURSOR].replace("value_199", "other"), FILE[CURSOR:]),
        (FILE[:CURSOR], FILE[CURSOR:].replace("value_201", "other")),
        (FILE[: CURSOR + 200], FILE[CURSOR + 200 :]),
        (FILE[: CURSOR - 200], FILE[CURSOR - 200 :]),
        (FILE[:CURSOR] + "x" * (MAX_MIDDLE_CHARS + 1), FILE[CURSOR:]),
    ],
    ids=["edit in the head", "edit in the suffix", "cursor below", "cursor above", "too long a middle"],
)
def test_what_the_prompt_shows_must_be_what_the_file_says(prefix: str, suffix: str) -> None:
    """Nothing approximate is ever asked: a window that shows another text does not fit."""
    laid = window(FILE[:CURSOR], FILE[CURSOR:])

    assert laid.middle(prefix, after_closers(suffix)) is None


def test_an_empty_suffix_is_the_end_of_the_file() -> None:
    """A window that was laid at the end of a file does not fit above it."""
    laid = window(FILE, "")

    assert laid.middle(FILE + "x = 1\n", "") == "x = 1\n"
    assert laid.middle(FILE, "\n") is None


@pytest.mark.parametrize(
    ("suffix", "rest"),
    [
        (")\nnext", "\nnext"),
        ('")]}\nnext', "\nnext"),
        ("  ) \r\nnext", "\r\nnext"),
        (") + 1\nnext", ") + 1\nnext"),
        ("\nnext", "\nnext"),
        (")", ""),
        ("", ""),
    ],
)
def test_closers_behind_the_cursor_are_left_out(suffix: str, rest: str) -> None:
    """A bracket that the editor closes by itself must not end a window."""
    assert after_closers(suffix) == rest


def test_an_auto_closed_bracket_keeps_the_window() -> None:
    """The same suffix stays frozen while brackets open and close behind the cursor."""
    before, after = "def f():\n    x = g", "\n    return x\n"
    laid = window(before, after)

    for typed, closers in (("(", ")"), ("([", "])"), ('(["', '"])'), ('(["a"])', "")):
        assert laid.middle(before + typed, after_closers(closers + after)) == "    x = g" + typed


def test_where_the_head_stands_twice_the_split_stays() -> None:
    """Lines that repeat do not move the border between head and middle."""
    line = "value = compute(argument)\n"
    laid = window(line * 60, "\nend\n", Sizes(60, 20))
    first = laid.middle(line * 62 + "val", "\nend\n", line * 2)

    assert first == line * 2 + "val"


@pytest.mark.parametrize(
    ("text", "lines", "at"),
    [
        ("a\nb\nc", 0, 4),
        ("a\nb\nc", 1, 2),
        ("a\nb\nc", 9, 0),
        ("a\r\nb\r\nc", 1, 3),
        ("a\rb\rc", 1, 2),
        ("a\n", 0, 2),
        ("", 0, 0),
        ("x" * 1_000, 0, 488),
        ("a\n" + "x" * 500, 3, 0),
        ("y" * 600 + "\nb\nc", 5, 601),
    ],
)
def test_the_anchor_is_the_start_of_a_line(text: str, lines: int, at: int) -> None:
    """Of the cursor's line or of one above, whatever ends lines; lines that nobody typed are cut."""
    assert anchor(text, lines) == at


def test_laying_anew_keeps_what_was_read() -> None:
    """After some lines of typing the first line and the suffix stay, and the head only grows."""
    first = window(FILE[:CURSOR], FILE[CURSOR:])
    typed = "_2 = 1\n" + source(2)
    second = window(FILE[:CURSOR] + typed, FILE[CURSOR:], keep=first)

    assert second.head.startswith(first.head)
    assert second.suffix == first.suffix


def test_the_first_line_moves_in_large_steps() -> None:
    """Over hundreds of lines of typing it moves seldom, and the head outgrows its share by a quarter at most."""
    laid = window(FILE[:CURSOR], FILE[CURSOR:])
    starts, text = set(), FILE[:CURSOR] + "\n"
    for line in range(200):
        text += f"    new_{line} = call({line})\n"
        laid = window(text, FILE[CURSOR:], keep=laid)
        starts.add(laid.head[:40])
        assert len(laid.head_tokens) <= SIZES.head * 1.34

    assert len(starts) < 60


def test_a_middle_too_long_for_its_share_begins_later() -> None:
    """A line of minified code is cut where the rest of it has few enough tokens."""
    minified = "+".join(f"a{number}" for number in range(200))
    laid = window(minified, "", Sizes(300, 100), middle_tokens=64)
    middle = laid.middle(minified, "")

    assert middle is not None
    assert 0 < len(words(middle)) <= 64


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (source(500_000), source(500_000)),
        ("x" * 1_000_000, "y" * 1_000_000),
        (" " * 1_000_000, "\n" * 1_000_000),
        ("", "x" * 1_000_000),
        ("😀" * 100_000, "é\r\n" * 100_000),
    ],
    ids=["48 MB", "one line", "white space", "suffix only", "emoji"],
)
def test_huge_text_costs_milliseconds(before: str, after: str) -> None:
    """Only the window is looked at, however large the file or the line."""
    started = time.process_time()
    laid = window(before, after, Sizes(806, 268))

    assert time.process_time() - started < 0.25
    assert len(laid.head_tokens) + len(laid.suffix_tokens) <= 1_074


def test_sizes_follow_the_machine_s_speed() -> None:
    """Fast machines read more, slow ones less, within limits; a small context shrinks everything."""
    slow, usual, fast = (budget(2_048, speed) for speed in (50, 358, 20_000))

    assert slow.short.total < usual.short.total < fast.short.total == 320
    assert slow.full.total < usual.full.total <= fast.full.total
    assert budget(256, 358).full.total + budget(256, 358).middle < 256


def test_a_context_without_room_is_refused() -> None:
    """Below 256 tokens there is no window worth a prompt, and the message says so."""
    with pytest.raises(ContextOverflow, match="256"):
        budget(255, 1_000)


@pytest.mark.parametrize("row", ["\n", "0, ", "    0, 0, 0,\n"])
def test_text_that_repeats_costs_no_more(row: str) -> None:
    """A head that stands at every line of a table is not looked for at each of them, key by key."""
    before, after = row * (60_000 // len(row)), "\nend\n"
    laid = window(before, after, Sizes(806, 268))
    middle = ""
    started = time.process_time()
    for typed in ("x", "xy", "x" + row, "x" + row * 2, "z" + row * 40):
        found = laid.middle(before + typed, after, middle)
        assert found is not None
        assert (before + typed).endswith(laid.head + found)
        middle = found

    assert time.process_time() - started < 0.02


def test_a_long_suffix_gives_way_to_the_text_before_it() -> None:
    """What the suffix got when the cursor stood at the top of the file is not kept from the head for ever."""
    laid = window("import this\n", FILE)
    assert len(laid.suffix_tokens) > SIZES.suffix * 2
    grown = window("import this\n" + FILE, FILE, keep=laid)

    assert len(grown.head_tokens) >= SIZES.head * 3 // 4
    assert len(grown.head_tokens) + len(grown.suffix_tokens) <= SIZES.total
    small = window("import this\nimport that\n", FILE, keep=laid)
    assert small.suffix == laid.suffix or len(small.head_tokens) + len(small.suffix_tokens) <= SIZES.total
