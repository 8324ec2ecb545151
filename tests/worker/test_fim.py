"""The window around the cursor and its layout."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botframework.errors import InvalidParams, ModelCannotInfill
from botframework.worker.fim import FimPrompt, FimTokens, build_prompt, pick_order

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.worker.fim import Order

TOKENS = FimTokens(pre=-10, suf=-11, mid=-12)
PSM, SPM = "psm", "spm"
BUDGET = 400


def words(text: str) -> list[int]:
    """A tokenizer whose tokens can be read back: one for each word, number its characters allow."""
    return [number for piece in re.findall(r"\s|\w{1,4}|[^\w\s]", text) for number in [_number(piece)]]


def _number(piece: str) -> int:
    return int.from_bytes(b"\x01" + piece.encode("utf-32-be"), "big")


def read(tokens: list[int]) -> str:
    """Undo `words`."""
    return "".join(
        token.to_bytes((token.bit_length() + 7) // 8, "big")[1:].decode("utf-32-be") for token in tokens if token > 0
    )


def build(prefix: str, suffix: str = "", *, order: Order = "psm", budget: int = BUDGET, **marks: int) -> FimPrompt:
    """Build with the tokenizer above."""
    tokens = FimTokens(pre=-10, suf=-11, mid=-12, **marks)
    return build_prompt(prefix, suffix, tokens=tokens, order=order, tokenize=words, budget=budget)


def parts(prompt: FimPrompt) -> tuple[str, str]:
    """Prefix and suffix of a prefix-suffix-middle prompt."""
    middle = prompt.tokens.index(-11)
    return read(prompt.tokens[:middle]), read(prompt.tokens[middle:])


def source(lines: int) -> str:
    """Some text that looks like code."""
    return "".join(f"    value_{line} = compute(value_{line - 1}, {line})\n" for line in range(lines))


def test_small_files_are_whole_in_both_layouts() -> None:
    """Marks stand where the two classic layouts have them, and nothing is cut."""
    before, after = "def f(x):\n    return ", "\n\nprint(f(1))\n"

    psm = build(before, after)
    spm = build(before, after, order="spm")

    assert psm == FimPrompt([-10, *words(before), -11, *words(after), -12], cut_prefix=False, cut_suffix=False)
    assert spm == FimPrompt([-11, *words(after), -10, *words(before), -12], cut_prefix=False, cut_suffix=False)


def test_bos_comes_first_when_the_model_wants_it() -> None:
    """BOS is part of the budget and of both layouts."""
    assert build("a", "b", bos=-1).tokens == [-10, *words("a"), -11, *words("b"), -12]
    assert build("a", "b", bos=7, order="spm").tokens[:2] == [7, -11]
    assert len(build(source(500), source(500), bos=7).tokens) <= BUDGET


@settings(max_examples=60, deadline=None)
@given(
    st.text("ab \n\r(中é\ud800", max_size=400),
    st.text("ab \n\r(中é\ud800", max_size=400),
    st.integers(16, 120),
    st.sampled_from([PSM, SPM]),
)
def test_a_prompt_fits_and_is_the_text_around_the_cursor(before: str, after: str, budget: int, order: Any) -> None:
    """Whatever the text: within the budget, adjacent to the cursor on both sides, and honest about what was cut."""
    prompt = build_prompt(before, after, tokens=TOKENS, order=order, tokenize=words, budget=budget)

    assert len(prompt.tokens) <= budget
    tokens = prompt.tokens
    marks = [tokens.index(mark) for mark in (-10, -11, -12)]
    front = read(tokens[marks[0] : marks[1]] if order == PSM else tokens[marks[0] : marks[2]])
    back = read(tokens[marks[1] : marks[2]] if order == PSM else tokens[marks[1] : marks[0]])
    safe_before, safe_after = before.replace("\ud800", "\ufffd"), after.replace("\ud800", "\ufffd")
    assert safe_before.endswith(front)
    assert safe_after.startswith(back)
    assert prompt.cut_prefix == (front != safe_before)
    assert prompt.cut_suffix == (back != safe_after)


def test_cuts_are_at_lines() -> None:
    """A window of a large file begins at the start of a line and ends at the end of one."""
    before, after = source(300), source(300)

    front, back = parts(build(before + "    x = ", after))

    assert before[: -len(front) + len("    x = ")].endswith("\n")
    assert back.endswith("\n")


def test_the_prefix_gets_three_parts_of_four() -> None:
    """With too much text on both sides the prefix gets at most, and nearly, three quarters."""
    prompt = build(source(300), source(300))
    at = prompt.tokens.index(-11)

    assert BUDGET * 0.4 < at <= BUDGET * 0.75
    assert BUDGET * 0.15 < len(prompt.tokens) - at <= BUDGET * 0.25 + 3


@pytest.mark.parametrize(("before", "after"), [(source(300), "end\n"), ("start\n", source(300))])
def test_what_one_side_leaves_the_other_gets(before: str, after: str) -> None:
    """A short side is whole, and the long one fills most of the rest."""
    prompt = build(before, after)

    front, back = parts(prompt)
    assert front == before or back == after
    assert len(prompt.tokens) > BUDGET * 0.6


@pytest.mark.parametrize("order", [PSM, SPM])
def test_typing_moves_the_window_in_large_steps(order: Any) -> None:
    """While 300 characters are typed, the prompt only grows at its end, but for a few re-anchorings."""
    text, after = source(200), source(200)
    typed = "    result = [item for item in values if item.is_wanted()]\n" * 6
    moves, previous = 0, ""
    suffixes = set()

    for length in range(300):
        prompt = build(text + typed[:length], after, order=order)
        cut = prompt.tokens.index(-11) if order == PSM else prompt.tokens.index(-10)
        front = read(prompt.tokens[:cut] if order == PSM else prompt.tokens[cut:])
        suffixes.add(read(prompt.tokens[cut:] if order == PSM else prompt.tokens[:cut]))
        moves += not front.startswith(previous[:20])
        previous = front

    assert moves <= 2
    assert len(suffixes) == 1


def test_typing_in_a_short_file_seldom_moves_its_long_suffix() -> None:
    """The suffix's share shrinks in steps, not with every key."""
    after = source(300)
    ends = [parts(build("x" * 4 * length, after))[1] for length in range(100)]

    assert len(set(ends)) <= 5


def test_deleting_and_typing_again_gives_the_same_window() -> None:
    """The window is a function of the text alone."""
    before, after = source(300), source(50)

    assert build(before + "x", after) == build(before + "x", after)
    assert build(before, after).tokens[:50] == build(before + "x", after).tokens[:50]


def test_carriage_returns_stay() -> None:
    """The model sees the file's own line ends, and no window begins between the two characters of one."""
    before = source(300).replace("\n", "\r\n")

    front, back = parts(build(before, "\r\nend"))

    assert before.endswith(front)
    assert front.startswith("    value_")
    assert back == "\r\nend"


def test_dense_text_fills_its_window_too() -> None:
    """Text with several tokens to a character gets smaller blocks instead of an empty window."""
    prompt = build_prompt(
        "中文\n" * 5_000,
        "",
        tokens=TOKENS,
        order="psm",
        tokenize=lambda text: list(text.encode("utf-8")),
        budget=BUDGET,
    )

    assert BUDGET * 0.4 < len(prompt.tokens) <= BUDGET


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1\n" * 8_000_000, "y\n" * 1_000),
        ("a" * 1_000_000, "b" * 1_000_000),
        (" " * 1_000_000, "\n" * 1_000_000),
        ("", "x" * 1_000_000),
    ],
    ids=["48 MB", "one line", "white space", "suffix only"],
)
def test_huge_text_costs_milliseconds(before: str, after: str) -> None:
    """Only the window is looked at, however large the file or the line."""
    started = time.process_time()
    prompt = build(before, after, budget=1_800)

    assert time.process_time() - started < 0.25
    assert len(prompt.tokens) <= 1_800


def test_no_tokenizer_gets_an_endless_word() -> None:
    """Runs that overflow the stack of some tokenizers are cut before they get there."""
    longest = 0

    def tokenize(text: str) -> list[int]:
        nonlocal longest
        longest = max([longest, *map(len, text.split())])
        return words(text)

    build_prompt("a" * 100_000, "b" * 100_000, tokens=TOKENS, order="spm", tokenize=tokenize, budget=4_000)

    assert 0 < longest <= 1_024


def test_a_budget_without_room_is_refused() -> None:
    """There is no prompt of three tokens."""
    with pytest.raises(InvalidParams, match="16"):
        build("a", budget=15)


@pytest.mark.parametrize(
    ("setting", "metadata", "expected"),
    [
        ("auto", {}, "psm"),
        ("auto", {"general.architecture": "qwen2", "general.name": "Qwen2.5-Coder-0.5B"}, "psm"),
        ("auto", {"general.name": "Codestral 22B"}, "spm"),
        ("auto", {"botframework.fim.order": "spm"}, "spm"),
        ("auto", {"botframework.fim.order": "psm", "general.name": "codestral"}, "psm"),
        ("auto", {"botframework.fim.order": "sideways"}, "psm"),
        ("spm", {"botframework.fim.order": "psm"}, "spm"),
        ("psm", {"botframework.fim.order": "spm"}, "psm"),
    ],
)
def test_the_order_is_the_user_s_then_the_file_s_then_the_family_s(
    setting: Any, metadata: dict[str, str], expected: str
) -> None:
    """Each source is asked only when the ones before it say nothing."""
    assert pick_order(TOKENS, setting, metadata) == expected


@pytest.mark.parametrize("missing", ["pre", "suf", "mid"])
def test_a_model_without_the_marks_says_so(missing: str) -> None:
    """The refusal names what is missing, whatever the user set."""
    marks = {"pre": 1, "suf": 2, "mid": 3, missing: -1}

    with pytest.raises(ModelCannotInfill, match=f"lacks .* {missing}") as caught:
        pick_order(FimTokens(**marks), "spm", {})

    assert caught.value.data == {"missing": [missing]}


def test_user_text_cannot_forge_marks(tiny_model: Path) -> None:
    """Check 28: the marks' names in a file are plain text to a real tokenizer."""
    from botframework.worker import llama

    vocab = llama.Model(str(tiny_model), n_gpu_layers=0, use_mmap=True, progress=lambda _: True).vocab
    tokens = FimTokens(pre=vocab.fim("pre"), suf=vocab.fim("suf"), mid=vocab.fim("mid"))
    hostile = "".join(vocab.special_texts()) * 3
    special = {vocab.tokenize(text, parse_special=True)[0] for text in vocab.special_texts()}

    prompt = build_prompt(hostile, hostile, tokens=tokens, order="psm", tokenize=vocab.tokenize, budget=2_000)

    assert [token for token in prompt.tokens if token in special] == [tokens.pre, tokens.suf, tokens.mid]


def test_the_typed_line_can_begin_the_middle() -> None:
    """With ``typed_after`` the cursor's line stands behind the middle's mark, and typing only appends tokens."""
    marks = FimTokens(pre=1, suf=2, mid=3)

    def prompt(prefix: str) -> list[int]:
        return build_prompt(
            prefix,
            "\nend\n",
            tokens=marks,
            order="psm",
            tokenize=lambda text: [ord(char) + 10 for char in text],
            budget=400,
            typed_after=True,
        ).tokens

    first = prompt("def f():\n    ret")
    second = prompt("def f():\n    retu")

    assert first[first.index(3) + 1 :] == [ord(char) + 10 for char in "    ret"]
    assert second == [*first, ord("u") + 10]


def test_a_line_too_long_to_begin_the_middle_stays_in_the_prefix() -> None:
    """A line of more than its share of tokens is laid out in the classic way and cut like any prefix."""
    marks = FimTokens(pre=1, suf=2, mid=3)
    tokens = build_prompt(
        "x" * 5_000,
        "",
        tokens=marks,
        order="psm",
        tokenize=lambda text: [ord(char) + 10 for char in text],
        budget=400,
        typed_after=True,
    ).tokens

    assert tokens[-1] == 3
    assert len(tokens) <= 400
