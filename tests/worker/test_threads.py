"""Choosing the number of threads while other processes want the cores too."""

from __future__ import annotations

from botframework.worker.threads import RECOVERY_S, ThreadGovernor


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def fed(governor: ThreadGovernor, steps: list[float]) -> list[int]:
    """Every change that these step durations cause."""
    return [change for step in steps if (change := governor.observe(step)) is not None]


def test_a_competitor_for_the_cores_costs_a_thread() -> None:
    """Steps of more than three medians in a row lower the count by one."""
    governor = ThreadGovernor(2, clock=Clock())

    assert fed(governor, [0.02] * 20) == []
    assert fed(governor, [0.5] * 4) == [1]


def test_one_interruption_changes_nothing() -> None:
    """A single slow step among normal ones is not a competitor."""
    governor = ThreadGovernor(2, clock=Clock())

    assert fed(governor, ([0.02] * 10 + [0.5]) * 6) == []


def test_one_thread_is_the_least() -> None:
    """With one thread there is nothing to take."""
    governor = ThreadGovernor(1, clock=Clock())

    assert fed(governor, [0.02] * 20 + [0.5] * 20) == []


def test_the_thread_comes_back() -> None:
    """After a while the count chosen at load is tried again."""
    clock = Clock()
    governor = ThreadGovernor(2, clock=clock)
    fed(governor, [0.02] * 20 + [0.5] * 4)

    clock.now += RECOVERY_S + 1

    assert fed(governor, [0.02]) == [2]


def test_a_competitor_that_stays_costs_the_thread_again() -> None:
    """The slow steps of a trial in vain do not become what is usual for the count that was tried."""
    clock = Clock()
    governor = ThreadGovernor(2, clock=clock)
    fed(governor, [0.02] * 20 + [0.5] * 4)

    clock.now += RECOVERY_S + 1

    assert fed(governor, [0.04] + [0.5] * 30) == [2, 1]
