"""The header reader beside the real llama.cpp, on the same hostile files."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from botframework.errors import ModelRefused
from botframework.models.gguf import read_header
from support.gguf_factory import build_all
from support.hostile_gguf import handcrafted, mutants, qwen, sentencepiece, small
from support.llama_verdict import llama

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="every file is tried in a fork")

REFUSED_BEFORE = 0.95
"""Of the files that llama.cpp refuses or dies of, this share must be refused by the header alone."""
STRICTER = 0.02
"""Damaged files that llama.cpp would still load may be refused (a key with a NUL in it), but only so many."""


def _is_refused(path: Path) -> bool:
    try:
        read_header(path)
    except ModelRefused:
        return True
    return False


def _compare(files: Iterable[bytes], path: Path) -> Counter[tuple[bool, str]]:
    """Count (refused by us, llama.cpp's verdict)."""
    counts: Counter[tuple[bool, str]] = Counter()
    with llama() as ask:
        for data in files:
            path.write_bytes(data)
            counts[_is_refused(path), ask(path)] += 1
    return counts


def _check(counts: Counter[tuple[bool, str]]) -> None:
    bad = {key: n for key, n in counts.items() if key[1] != "loaded"}
    caught = sum(n for (refused, _), n in bad.items() if refused)
    assert caught >= REFUSED_BEFORE * sum(bad.values()), counts
    assert counts[True, "loaded"] <= STRICTER * counts.total(), counts
    assert not counts[False, "signal 14"], "a file that hangs llama.cpp was let through"


def test_good_files_load(tmp_path: Path) -> None:
    """Every model that the factory makes is accepted by both, so that the comparison below means something."""
    paths = [*build_all(tmp_path), *(gguf.write(tmp_path / "m.gguf") for gguf in (small(), sentencepiece(), qwen()))]

    with llama() as ask:
        verdicts = {(path.name, _is_refused(path), ask(path)) for path in paths}

    assert {(refused, verdict) for _, refused, verdict in verdicts} == {(False, "loaded")}


def test_handcrafted_files_deserve_it(tmp_path: Path) -> None:
    """Check 24: llama.cpp loads none of the handcrafted files, so none is refused without need."""
    counts = _compare(handcrafted().values(), tmp_path / "m.gguf")

    assert {refused for refused, _ in counts} == {True}
    assert "loaded" not in {verdict for _, verdict in counts}


def test_mutants_are_refused_before_llama_cpp_sees_them(tmp_path: Path) -> None:
    """Check 24, shortened: 300 mutations, at least 95 % of what llama.cpp refuses or dies of is refused before it."""
    _check(_compare(mutants(300, seed=2024), tmp_path / "m.gguf"))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_2000_mutants_are_refused_before_llama_cpp_sees_them(tmp_path: Path) -> None:
    """Check 24 in full: 2,000 mutations."""
    _check(_compare(mutants(2_000, seed=24), tmp_path / "m.gguf"))
