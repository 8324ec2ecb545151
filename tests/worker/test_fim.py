"""How a model is asked to fill in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from botframework.errors import ModelCannotInfill
from botframework.worker.fim import FimTokens, Layout, pick_layout

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = FimTokens(pre=-10, suf=-11, mid=-12)


@pytest.mark.parametrize(
    ("order", "typed", "expected"),
    [
        ("psm", "after", [-10, 1, 2, -11, 3, -12, 4, 5]),
        ("spm", "after", [-11, 3, -10, 1, 2, -12, 4, 5]),
    ],
)
def test_the_typed_text_may_begin_the_middle(order: Any, typed: Any, expected: list[int]) -> None:
    """Behind the middle's mark, typing appends to the prompt in both orders."""
    layout = Layout(order, typed, TOKENS)

    assert layout.prompt([1, 2], [3], [4, 5]) == expected
    assert layout.prompt([1, 2], [3], [4, 5, 6]) == [*expected, 6]


@pytest.mark.parametrize(("order", "expected"), [("psm", [-10, 4, 5, -11, 3, -12]), ("spm", [-11, 3, -10, 4, 5, -12])])
def test_the_typed_text_may_end_the_prefix(order: Any, expected: list[int]) -> None:
    """The classic layouts end with the middle's mark."""
    assert Layout(order, "before", TOKENS).prompt([], [3], [4, 5]) == expected


def test_bos_comes_first_when_the_model_wants_it() -> None:
    """And only then."""
    layout = Layout("spm", "after", FimTokens(pre=1, suf=2, mid=3, bos=9))

    assert layout.prompt([5], [6], [7]) == [9, 2, 6, 1, 5, 3, 7]


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
    assert pick_layout(TOKENS, setting, "auto", metadata).order == expected


@pytest.mark.parametrize(
    ("setting", "metadata", "expected"),
    [
        ("auto", {}, "after"),
        ("auto", {"general.name": "codestral"}, "before"),
        ("auto", {"botframework.fim.typed": "before"}, "before"),
        ("auto", {"botframework.fim.order": "spm", "botframework.fim.typed": "after"}, "after"),
        ("before", {"botframework.fim.typed": "after"}, "before"),
        ("after", {"general.name": "codestral"}, "after"),
    ],
)
def test_the_typed_text_goes_where_typing_only_appends(setting: Any, metadata: dict[str, str], expected: str) -> None:
    """Behind the middle's mark, unless suffix first has that property already or somebody says otherwise."""
    assert pick_layout(TOKENS, "auto", setting, metadata).typed == expected


@pytest.mark.parametrize("missing", ["pre", "suf", "mid"])
def test_a_model_without_the_marks_says_so(missing: str) -> None:
    """The refusal names what is missing, whatever the user set."""
    marks = {"pre": 1, "suf": 2, "mid": 3, missing: -1}

    with pytest.raises(ModelCannotInfill, match=f"lacks .* {missing}") as caught:
        pick_layout(FimTokens(**marks), "spm", "after", {})

    assert caught.value.data == {"missing": [missing]}


def test_user_text_cannot_forge_marks(tiny_model: Path) -> None:
    """Check 28: the marks' names in a file are plain text to a real tokenizer."""
    from botframework.worker import llama

    vocab = llama.Model(str(tiny_model), n_gpu_layers=0, use_mmap=True, progress=lambda _: True).vocab
    tokens = FimTokens(pre=vocab.fim("pre"), suf=vocab.fim("suf"), mid=vocab.fim("mid"))
    hostile = vocab.tokenize("".join(vocab.special_texts()) * 3)
    special = {vocab.tokenize(text, parse_special=True)[0] for text in vocab.special_texts()}

    prompt = Layout("psm", "after", tokens).prompt(hostile, hostile, hostile)

    assert [token for token in prompt if token in special] == [tokens.pre, tokens.suf, tokens.mid]
