"""What a stranger's text goes through before a tokenizer sees it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from botframework.wire.text import replace_surrogates
from botframework.worker.plaintext import LONGEST_RUN, SENTINEL, SpecialTexts, cut_long_runs

SPECIAL = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<s><s>", "\n\n", "¤")


@given(st.lists(st.sampled_from([*SPECIAL, "<", "s>", "|", "im_", "x", SENTINEL, "\ud800"]), max_size=30).map("".join))
def test_no_name_survives_between_sentinels(text: str) -> None:
    """Whatever a message is made of, no part between sentinels holds the name of a special token."""
    guard = SpecialTexts(SPECIAL)

    parts = guard.escape(text).split(SENTINEL)

    names = [name for name in SPECIAL if len(name) > 1 and name.strip()]
    assert not [part for part in parts for name in names if name in part]
    assert all("¤" not in part or part in guard.unbreakable for part in parts)
    assert "".join(parts) == text.replace(SENTINEL, "\ufffd").replace("\ud800", "\ufffd")


def test_harmless_text_is_left_alone() -> None:
    """Text without special names, and runs of white space, pass unchanged."""
    guard = SpecialTexts(SPECIAL)

    for text in ("if a < s > b: pass\n\n\n", "<im_start>", "", "naïve 🙂"):
        assert guard.escape(text) == text


def test_a_vocabulary_without_special_tokens_needs_no_guard() -> None:
    """Nothing is to be broken, but the sentinel itself is still replaced."""
    assert SpecialTexts(()).escape(f"a{SENTINEL}b") == "a\ufffdb"


@given(st.text())
def test_only_surrogates_are_replaced(text: str) -> None:
    """Text that has UTF-8 stays as it is."""
    assert replace_surrogates(text) == text
    assert replace_surrogates(text + "\udc00") == text + "\ufffd"


@given(st.lists(st.tuples(st.sampled_from("a (\n中"), st.integers(1, 3_000)), max_size=6))
def test_no_run_is_longer_than_a_tokenizer_stands(runs: list[tuple[str, int]]) -> None:
    """Joined, the pieces are the text; within a piece no run is longer than the limit."""
    text = "".join(char * count for char, count in runs)

    pieces = cut_long_runs(text)

    assert "".join(pieces) == text
    assert all(len(word) <= LONGEST_RUN for piece in pieces for word in piece.split())


def test_a_cut_spares_the_template_s_names() -> None:
    """A special token that the template printed right after a long word stays whole."""
    guard = SpecialTexts(SPECIAL)
    for filler in range(LONGEST_RUN - 12, LONGEST_RUN + 2):
        pieces = cut_long_runs("x" * filler + "<|im_end|>" + "\n", guard)

        assert [piece for piece in pieces if "<|im_end|>" in piece]
