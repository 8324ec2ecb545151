"""What the heartbeat tells about the model's speed."""

from __future__ import annotations

import types
from typing import Any

import pytest

from botframework.worker import counters
from botframework.worker.counters import Counters


def first_token() -> Any:
    """A job that has just got its first token."""
    return types.SimpleNamespace(generated=1, first_token_ms=5.0, client=types.SimpleNamespace(number=1))


class Clock:
    """The module's time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(counters, "time", types.SimpleNamespace(monotonic=lambda: self.now))


def test_the_speed_is_that_of_the_last_second_with_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read long after a short answer is over, and follows the newest tokens while there are some."""
    clock, counted = Clock(monkeypatch), Counters()
    job: Any = types.SimpleNamespace(generated=2)
    assert counted.tokens_per_s == 0.0
    counted.generated(first_token())
    for _ in range(20):
        clock.now += 0.01
        counted.generated(job)
    clock.now += 60.0
    assert counted.tokens_per_s == pytest.approx(100.0)

    counted.generated(first_token())
    for _ in range(30):
        clock.now += 0.1
        counted.generated(job)
    assert counted.tokens_per_s == pytest.approx(10.0)
    assert counted.tokens_generated == 52


def test_an_answer_of_one_token_says_nothing_about_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does the time in which nobody asked for anything, nor that of reading a prompt."""
    clock, counted = Clock(monkeypatch), Counters()
    job: Any = types.SimpleNamespace(generated=2)
    for _ in range(3):
        clock.now += 7.0
        counted.generated(first_token())
    assert counted.tokens_per_s == 0.0

    clock.now += 0.02
    counted.generated(job)
    clock.now += 7.0
    counted.generated(first_token())
    assert counted.tokens_per_s == pytest.approx(50.0)
