"""The quality benchmark's own parts: holes, prompts, scores and intervals."""

from __future__ import annotations

import hashlib
import lzma
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.quality import holes, running, summary
from bench.quality.answering import FIRST_CHARACTERS, Answerer, Judge, Score
from bench.quality.exactness import EVENTS, Divergences, Exactness, divergence
from bench.quality.holes import Hole, Manifest, SourceFile, Spot, cursors, draw, line_start
from bench.quality.layouts import LINES, Prompts, Variant, variants
from bench.quality.statistics import Resampling
from bench.setting import EMBEDDED
from botframework.worker.fim import Layout
from botframework.worker.sampling import logprob
from botframework.worker.window import Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIZES = Sizes(120, 40)
LINE = "        total = self.first + second_value  # sum\n"
SOURCE = SourceFile(
    "file.py",
    "".join(f"def function_{number}(self, second_value):\n{LINE}        return total\n\n" for number in range(20)),
)


@pytest.fixture(scope="module")
def loaded() -> running.Loaded:
    """The embedded model."""
    return running.load(EMBEDDED)


@pytest.fixture
def spot() -> Spot:
    """A line in the middle of a file."""
    start = SOURCE.text.index(LINE, len(SOURCE.text) // 2)
    return Spot(SOURCE, start, start + len(LINE) - 1)


def said(expected: str, *pieces: str) -> Score:
    """What a judge says of an answer that comes in pieces and ends."""
    judge = Judge(expected)
    for piece in pieces:
        if (score := judge.hear(piece.encode())) is not None:
            return score
    return judge.end()


@pytest.mark.parametrize(
    ("pieces", "exact", "first"),
    [
        (("return", " value"), True, True),
        (("return value", "  ", "\n"), True, True),
        (("return value\nmore",), True, True),
        (("return value", " + 1"), False, True),
        (("return", " other"), False, True),
        (("retu",), False, True),
        (("ret",), False, False),
        (("retain",), False, False),
        (("\n", "return value"), False, False),
        ((), False, False),
    ],
)
def test_an_answer_is_compared_with_one_line(pieces: Sequence[str], exact: bool, first: bool) -> None:
    """Right is the whole line, blanks at its end and later lines not counted; or its first four characters."""
    assert said("return value", *pieces) == Score(exact=exact, first=first)


def test_indentation_is_no_achievement() -> None:
    """Of a line with blanks in front, the first characters are those behind them; the blanks must be right as well."""
    assert said("    return 1", "    retu") == Score(exact=False, first=True)
    assert said("    return 1", "    ") == Score(exact=False, first=False)
    assert said("    return 1", "  return 1") == Score(exact=False, first=False)


def test_cursors_stand_where_they_say(spot: Spot) -> None:
    """One of each kind, all of them in the line, with enough missing."""
    found = {hole.kind: hole.at for hole in cursors(spot, borders={13, 15, 20, 26}, seed=1)}
    text = SOURCE.text

    assert set(found) == set(holes.KINDS)
    assert all(spot.start <= at <= spot.end - holes.MIN_REST for at in found.values())
    inside = found["inside a word"]
    assert text[inside - 1 : inside + 1].replace("_", "a").isalnum()
    assert text[found["after whitespace"] - 1] == " " != text[found["after whitespace"]]
    assert found["token border"] - spot.start in {13, 15, 20, 26}
    assert found["line start"] == spot.start
    assert cursors(spot, {13}, seed=1) == cursors(spot, {13}, seed=1)


def test_lines_are_drawn_from_all_files_alike() -> None:
    """No file gives a second line before each has given one; comments and the file's beginning give none."""
    text = "# comment\n" * 20 + "value = compute(1)\n" * 5 + "# end\n"
    files = [SourceFile(f"{number}.py", text) for number in range(4)]

    drawn = draw(files, 6, seed=1)

    assert sorted(spot.file.name for spot in drawn[:4]) == ["0.py", "1.py", "2.py", "3.py"]
    assert {spot.file.text[spot.start : spot.end] for spot in drawn} == {"value = compute(1)"}
    assert len(draw(files, 100, seed=1)) == 20
    assert draw([SourceFile("few.py", "value = compute(1)\n" * 16)], 1, seed=1) == []


def test_files_of_the_training_are_refused(tmp_path: Path) -> None:
    """What was trained on is no held-out file, nor is another version of it; what the manifest holds out is."""
    data = {name: f"text of {name}".encode() for name in ("trained", "heldout", "other")}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
    rows = ["package\tversion\tpath\tbytes\tsha256\tsplit"]
    rows += [f"Some_Package\t1\tfile.py\t1\t{digests[name]}\t{split}" for name, split in (("trained", "train"),)]
    rows.append(f"Some_Package\t1\tother.py\t1\t{digests['heldout']}\theldout")
    path = tmp_path / "manifest.tsv.xz"
    path.write_bytes(lzma.compress("\n".join(rows).encode()))
    manifest = Manifest(path)

    assert not manifest.is_unseen("another", data["trained"])
    assert not manifest.is_unseen("some.package", data["other"])
    assert manifest.is_unseen("some-package", data["heldout"])
    assert manifest.is_unseen("another", data["other"])


def test_what_is_installed_is_enough_for_two_thousand_holes() -> None:
    """The benchmark runs without the corpus: this environment has unseen files, and none of them is of the training."""
    manifest = Manifest()
    files = holes.from_installed(manifest)

    assert len(draw(files, 660, seed=1)) == 660
    digests = {hashlib.sha256(file.text.encode()).hexdigest() for file in files}
    assert not digests & manifest.trained
    assert len(digests) == len(files)


def test_all_layouts_show_the_same_text(loaded: running.Loaded, spot: Spot) -> None:
    """Marks apart, a prompt and what it holds back are the text before the cursor and, but for one, that after it."""
    vocab, index = loaded.model.vocab, loaded.index
    prompts = Prompts(loaded.layout.tokens, index, vocab.tokenize, SIZES, spot)
    for hole in cursors(spot, {13, 15, 20, 26}, seed=2):
        texts = set()
        for variant in variants("spm"):
            question = prompts.question(hole, variant)
            parts: dict[int, str] = {-1: ""}
            mark = -1
            for token in (*question.prompt, *question.held):
                if token in {loaded.layout.tokens.pre, loaded.layout.tokens.suf, loaded.layout.tokens.mid}:
                    mark = token
                    parts[mark] = ""
                else:
                    parts[mark] += index.piece(token).decode()
            tokens = loaded.layout.tokens
            before = parts[-1] + parts.get(tokens.pre, "") + parts.get(tokens.mid, "")
            if variant.shape == "classic" and variant.order == "psm" and question.held:
                continue  # Held tokens follow the middle's mark here; the pieces are those of the text all the same.
            texts.add(before)
            expected = "" if variant.shape == "no suffix" else prompts.window.suffix
            assert parts.get(tokens.suf, "") == expected
        assert len(texts) == 1
        assert SOURCE.text[: hole.at].endswith(texts.pop())


def test_the_middle_begins_where_it_should(loaded: running.Loaded, spot: Spot) -> None:
    """Behind the middle's mark stands the text from the start of the line so many lines above."""
    prompts = Prompts(loaded.layout.tokens, loaded.index, loaded.model.vocab.tokenize, SIZES, spot)
    hole = Hole("inside a word", spot.start + 10)
    for lines in LINES:
        prompt = prompts.question(hole, Variant("middle", "psm", lines, heals=False)).prompt
        forced = prompt[prompt.index(loaded.layout.tokens.mid) + 1 :]
        text = b"".join(map(loaded.index.piece, forced)).decode()

        assert text == SOURCE.text[line_start(SOURCE.text, hole.at, lines) : hole.at]
        assert text.count("\n") == lines
        assert prompts.forced(hole, lines) == len(forced)


def test_answers_side_by_side_are_those_of_each_prompt_alone(loaded: running.Loaded, spot: Spot) -> None:
    """Sharing what prompts have in common and answering them together changes no score, but for a tie now and then."""
    answerer = Answerer(loaded.model, loaded.index, n_threads=1)
    prompts = Prompts(loaded.layout.tokens, loaded.index, loaded.model.vocab.tokenize, SIZES, spot)
    asked = [
        (prompts.question(hole, variant), SOURCE.text[hole.at : spot.end])
        for hole in cursors(spot, {13, 15, 20, 26}, seed=2)
        for variant in variants("spm")
    ]

    together = answerer.scores(asked)
    shared = answerer.read
    alone = [answerer.scores([pair])[0] for pair in asked[::3]]

    assert sum(one == other for one, other in zip(together[::3], alone, strict=True)) > 0.9 * len(alone)
    assert any(score.first for score in together)
    assert not all(score.exact for score in together)
    assert shared < (answerer.read - shared) / 2


def test_a_divergence_is_that_of_the_distributions() -> None:
    """Zero for equal distributions, whatever the logits' offset; else what the definition says."""
    half = np.log(np.array([0.5, 0.5], dtype=np.float32))
    skewed = np.log(np.array([0.9, 0.1], dtype=np.float32))

    assert divergence(half, half + 3) == pytest.approx(0, abs=1e-6)
    assert divergence(half, skewed) == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1), rel=1e-5)
    assert logprob(skewed, 0) == pytest.approx(np.log(0.9), rel=1e-5)


def test_a_session_is_compared_in_every_state(loaded: running.Loaded) -> None:
    """Typing, deleting, a restored state and a new anchor all take place, and stay near exact evaluation."""
    text = SOURCE.text * 4
    start = text.index(LINE, len(text) // 2)
    exactness = Exactness(loaded.model, loaded.index, loaded.layout, loaded.budget, n_threads=1)

    exactness.type_at(Spot(SourceFile("long.py", text), start, start + len(LINE)), seed=1)

    found = exactness.found
    assert all(found.session[event] for event in EVENTS)
    compared = {event: len(values) for event, values in found.session.items()}
    assert all(
        {event: len(values) for event, values in others.items()} == compared
        for others in (found.chunking, found.stepwise)
    )
    assert max(max(values) for values in found.session.values()) < 0.05


def test_intervals_are_of_whole_files() -> None:
    """Ten equal holes of one file are no more evidence than one of them."""
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 40).astype(float)
    alone = Resampling([f"{number}" for number in range(40)])
    tenfold = Resampling([f"{number}" for number in range(40) for _ in range(10)])

    one, ten = alone.estimate(truth), tenfold.estimate(np.repeat(truth, 10))

    assert one.value == pytest.approx(ten.value)
    assert (one.low, one.high) == pytest.approx((ten.low, ten.high))
    assert one.low < one.value < one.high


def test_an_interval_can_be_of_some_holes() -> None:
    """The others do not count."""
    resampling = Resampling(["a", "a", "b", "b"])
    estimate = resampling.estimate(np.array([1.0, 0.0, 1.0, 0.0]), np.array([True, False, True, False]))

    assert (estimate.value, estimate.low, estimate.high) == (100.0, 100.0, 100.0)


@pytest.mark.parametrize(("session", "expected"), [(0.5, True), (1.0, True), (3.0, False)])
def test_more_divergence_than_chance_allows_is_told(session: float, expected: bool) -> None:
    """Three times as much is no accident in 200 comparisons."""
    noise = np.random.default_rng(1).exponential(1, (2, 200))

    assert (summary.excess(list(noise[0] * session), list(noise[1]))[0] <= 0) is expected


def test_the_figures_of_a_run_make_rows_and_markdown() -> None:
    """Layouts, curve, cursors and divergences are all in both; a middle session that is too far below is told."""
    made = variants("spm")
    results = [
        running.Result(
            f"file {number % 7}",
            holes.KINDS[number % 4],
            {variant: Score(exact=variant.shape == "classic" and number % 2 == 0, first=True) for variant in made},
            dict.fromkeys(LINES, 7),
        )
        for number in range(80)
    ]
    found = running.Found(
        Layout("spm", "after", running.load(EMBEDDED).layout.tokens),
        SIZES,
        results,
        Divergences(*({event: [nats] for event in EVENTS} for nats in (0.1, 0.2, 0.3))),
    )
    made_summary = summary.Summary(found)

    rows = summary.rows(made_summary)
    text = summary.markdown(made_summary, "made up")

    kept = {row.what: row.kept for row in rows if row.kept is not None}
    assert kept["exact match: middle session, suffix first"] is False
    assert kept["first 4 characters: middle session, suffix first"] is True
    assert "| classic, prefix first | 50.0" in text
    assert "| middle session, suffix first | 0.0 (0.0 to 0.0) | -50.0" in text
    assert sum(line.startswith(f"| {LINES[-1]} | 7 |") for line in text.splitlines()) == 1
    assert all(f"| {kind} (20) |" in text for kind in holes.KINDS)
    assert "1.0e-01 nats over 4 keys" in text
    assert "one token at a time: 3.0e-01" in text
    assert FIRST_CHARACTERS == 4
