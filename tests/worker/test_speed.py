"""How fast prompts are read now."""

from __future__ import annotations

from botframework.worker.speed import PrefillSpeed


def test_it_is_the_one_at_load_until_there_is_more_to_go_by() -> None:
    """Two slow micro-batches are no slow machine."""
    speed = PrefillSpeed(300.0, full=64)
    speed.observe(64, 1.0)
    speed.observe(64, 1.0)

    assert speed.tokens_per_s == 300.0


def test_it_follows_the_machine_and_forgives_a_hiccup() -> None:
    """The median of the recent ones: one that was interrupted does not count, a change that stays does."""
    speed = PrefillSpeed(100.0, full=64)
    for seconds in (0.2, 0.2, 9.0, 0.2, 0.2):
        speed.observe(64, seconds)
    risen = speed.tokens_per_s
    for _ in range(9):
        speed.observe(64, 0.8)

    assert round(risen) == 320
    assert round(speed.tokens_per_s) == 80


def test_small_micro_batches_say_nothing() -> None:
    """They are slower for each token, and read while somebody types."""
    speed = PrefillSpeed(300.0, full=64)
    for _ in range(9):
        speed.observe(16, 1.0)

    assert speed.tokens_per_s == 300.0
