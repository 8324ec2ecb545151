"""The work, spread over processes of one thread each: a model of four million parameters gains nothing from more."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

from bench.quality.answering import Answerer, Score
from bench.quality.exactness import Divergences, Exactness
from bench.quality.holes import cursors
from bench.quality.layouts import LINES, Prompts, Variant, variants
from botframework.worker import llama, window
from botframework.worker.fim import ABSENT, METADATA_KEYS, FimTokens, Layout, pick_layout
from botframework.worker.healing import VocabularyIndex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.quality.holes import Kind, Spot

SEED = 3
SPEED = 400.0
"""Prompt tokens per second for which the windows are sized: a model of 0.5 B parameters on two cores. Where the context
is small, as the embedded model's, it decides instead."""


@dataclass(frozen=True, slots=True)
class Result:
    """One hole, answered in every way."""

    file: str
    kind: Kind
    scores: dict[Variant, Score]
    forced: dict[int, int]
    """Tokens of the forced middle by lines."""


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was measured."""

    layout: Layout
    sizes: window.Sizes
    results: list[Result]
    divergences: Divergences
    prompt_tokens: int = 0


@dataclass(slots=True)
class Loaded:
    """A model, how it wants to be asked, and what a process keeps of it between two places."""

    model: llama.Model
    layout: Layout
    index: VocabularyIndex
    budget: window.Budget
    answerer: Answerer | None = None
    exactness: Exactness | None = None
    asked: list[Variant] = field(default_factory=list)


_bench: list[Loaded] = []


def load(path: Path) -> Loaded:
    """A model and how it wants to be asked."""
    llama.initialise(lambda _level, _line: None, lambda _text: None)
    model = llama.Model(str(path), n_gpu_layers=0, use_mmap=True, progress=lambda _share: True)
    vocab = model.vocab
    bos = vocab.bos if vocab.add_bos else ABSENT
    tokens = FimTokens(pre=vocab.fim("pre"), suf=vocab.fim("suf"), mid=vocab.fim("mid"), bos=bos)
    told = {key: value for key in METADATA_KEYS if (value := model.metadata(key)) is not None}
    layout = pick_layout(tokens, "auto", "auto", told)
    budget = window.budget(min(4_096, model.n_ctx_train), SPEED)
    return Loaded(model, layout, VocabularyIndex(vocab.pieces()), budget, asked=variants(layout.order))


def _begin(path: Path) -> None:
    _bench.append(load(path))


def _answer(spot: Spot) -> tuple[list[Result], int]:
    bench = _bench[0]
    if bench.answerer is None:
        bench.answerer = Answerer(bench.model, bench.index, n_threads=1)
    read = bench.answerer.read
    tokenize = bench.model.vocab.tokenize
    prompts = Prompts(bench.layout.tokens, bench.index, tokenize, bench.budget.full, spot)
    line = spot.file.text[spot.start : spot.end]
    borders, at = set(), 0
    for token in tokenize(line):
        at += len(bench.index.piece(token))
        borders.add(at)
    if not line.isascii():
        borders = {len(line.encode()[:border].decode(errors="ignore")) for border in borders}
    holes = cursors(spot, borders, SEED)
    asked = [
        (prompts.question(hole, variant), spot.file.text[hole.at : spot.end])
        for hole in holes
        for variant in bench.asked
    ]
    scores = iter(bench.answerer.scores(asked))
    results = []
    for hole in holes:
        forced = {lines: prompts.forced(hole, lines) for lines in LINES}
        results.append(Result(spot.file.name, hole.kind, {variant: next(scores) for variant in bench.asked}, forced))
    return results, bench.answerer.read - read


def _diverge(spots: Sequence[Spot]) -> Divergences:
    bench = _bench[0]
    typing = Layout(bench.layout.order, "after", bench.layout.tokens)
    exactness = Exactness(bench.model, bench.index, typing, bench.budget, n_threads=1)
    for spot in spots:
        exactness.type_at(spot, SEED)
    return exactness.found


def run(path: Path, spots: Sequence[Spot], typed: Sequence[Spot]) -> Found:
    """Answer the holes of all these lines, and type at those places.

    Parameters
    ----------
    path
        A GGUF file.
    spots
        Lines with holes.
    typed
        Lines at which a session types.
    """
    jobs = max(1, (os.cpu_count() or 2) if not hasattr(os, "sched_getaffinity") else len(os.sched_getaffinity(0)))
    results: list[Result] = []
    found = Divergences()
    read = 0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(path,)) as pool:
        parts = [pool.submit(_diverge, part) for start in range(jobs) if (part := typed[start::jobs])]
        for some, tokens in pool.map(_answer, spots):
            results += some
            read += tokens
        for divergences in parts:
            found.add(divergences.result())
    bench = load(path)
    return Found(bench.layout, bench.budget.full, results, found, read)
