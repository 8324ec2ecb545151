"""What the heartbeat tells about the model's speed."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from botframework.worker import counters
from botframework.worker.counters import Counters

if TYPE_CHECKING:
    import pytest


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
    for _ in range(20):
        clock.now += 0.01
        counted.generated(job)
    clock.now += 60.0
    assert counted.tokens_per_s == 20.0

    for _ in range(30):
        clock.now += 0.1
        counted.generated(job)
    assert 10.0 <= counted.tokens_per_s <= 11.0
    assert counted.tokens_generated == 50
