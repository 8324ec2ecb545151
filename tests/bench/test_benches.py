"""The benchmarks themselves: their arithmetic, and that each of them runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import frozen
from bench.report import Report, Row, markdown, quantile, spread

WITH_BINARY = pytest.mark.skipif(not frozen.ONE_FOLDER.exists(), reason="there is no binary here (make binary)")


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)])
def test_quantiles_are_values_that_were_measured(share: float, expected: int) -> None:
    """The nearest rank: of 100 values the 99th percentile is the 99th smallest."""
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_few_values_have_no_percentiles() -> None:
    """A 99th percentile of ten values would be a lie."""
    assert spread([1.0] * 10) == "1.0 ms"
    assert "p95" in spread([1.0] * 20)
    assert "p99" not in spread([1.0] * 20)
    assert "p99" in spread([1.0] * 100)


def test_the_markdown_holds_every_row() -> None:
    """What is pasted into a report is all that was on the terminal."""
    report = Report("x", "title", "peer", [Row("one", "1 ms", "2 ms", 0.5, "<= 1", True), Row("two", "3 ms")])

    lines = markdown([report]).splitlines()

    assert lines[2:] == ["| x | one | 1 ms | 2 ms (peer) | 0.50 | <= 1 | yes |", "| x | two | 3 ms |  |  |  |  |"]


@pytest.mark.soak
@pytest.mark.parametrize("letter", [*"abcdefghijklq", pytest.param("m", marks=WITH_BINARY)])
def test_each_bench_runs(letter: str) -> None:
    """On the embedded model, with few repetitions: a table comes out; promises are not judged here."""
    command = [sys.executable, "-m", "bench", letter, "--quick", "--model", "embedded"]
    tests = Path(__file__).parents[1]
    answer = subprocess.run(command, cwd=tests, capture_output=True, text=True, timeout=600, check=False)

    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"| {letter} |" in answer.stdout
