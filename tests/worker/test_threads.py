"""Choosing the number of threads while other processes want the cores too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from botframework.worker.threads import MAX_RECOVERY_S, RECOVERY_S, ThreadGovernor
from support.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = 64
"""Tokens of a full micro-batch."""


def fed(governor: ThreadGovernor, steps: Sequence[float], tokens: int = 1) -> list[int]:
    """Every change that these step durations cause."""
    return [change for step in steps if (change := governor.observe(step, tokens)) is not None]


def test_a_competitor_for_the_cores_costs_a_thread() -> None:
    """Four short steps of more than three medians lower the count by one."""
    governor = ThreadGovernor(2, clock=Clock())

    assert fed(governor, [0.02] * 20) == []
    assert fed(governor, [0.08] * 3) == []
    assert fed(governor, [0.08]) == [1]


def test_one_interruption_changes_nothing() -> None:
    """A single slow step among normal ones is not a competitor."""
    governor = ThreadGovernor(2, clock=Clock())

    assert fed(governor, ([0.02] * 10 + [0.5]) * 6) == []


@pytest.mark.parametrize("tokens", [1, WHOLE])
def test_a_step_of_seconds_costs_a_thread_at_once(tokens: int) -> None:
    """One step that lost more time than a person overlooks is enough, in a prompt as in an answer."""
    governor = ThreadGovernor(2, clock=Clock())
    fed(governor, [0.02 if tokens == 1 else 0.3] * 20, tokens)

    assert fed(governor, [2.7], tokens) == [1]


def test_a_big_model_is_not_blamed_for_its_size() -> None:
    """Where a step takes half a second anyway, a lost second says little."""
    governor = ThreadGovernor(2, clock=Clock())
    fed(governor, [0.5] * 20)

    assert fed(governor, [1.6, 0.5, 1.6, 0.5]) == []


def test_the_size_of_a_step_is_not_slowness() -> None:
    """Prompts are read in pieces of any size between answers' single tokens: each is compared with its like."""
    governor = ThreadGovernor(2, clock=Clock())
    for _ in range(40):
        for tokens, step_s in ((1, 0.02), (2, 0.03), (20, 0.1), (WHOLE, 0.3)):
            assert governor.observe(step_s, tokens) is None


def test_slow_steps_of_all_sizes_count_together() -> None:
    """A key's prompt and the few tokens of its answer are steps of different sizes, and one competitor slows them."""
    governor = ThreadGovernor(2, clock=Clock())
    for tokens in (1, 4):
        fed(governor, [0.02] * 20, tokens)

    assert fed(governor, [0.08, 0.08], 4) + fed(governor, [0.08, 0.08], 1) == [1]


def test_one_thread_is_the_least() -> None:
    """With one thread there is nothing to take."""
    governor = ThreadGovernor(1, clock=Clock())

    assert fed(governor, [0.02] * 20 + [0.5] * 20) == []


def test_the_thread_comes_back() -> None:
    """After a while the count chosen at load is tried again."""
    clock = Clock()
    governor = ThreadGovernor(2, clock=clock)
    fed(governor, [0.02] * 20 + [2.7])

    clock.now += RECOVERY_S + 1

    assert fed(governor, [0.02]) == [2]


def test_a_competitor_that_stays_costs_the_thread_again() -> None:
    """The slow steps of a trial in vain do not become what is usual for the count that was tried."""
    clock = Clock()
    governor = ThreadGovernor(2, clock=clock)
    fed(governor, [0.02] * 20 + [2.7])

    clock.now += RECOVERY_S + 1

    assert fed(governor, [0.04] + [0.5] * 30) == [2, 1]


def test_tries_in_vain_become_rare() -> None:
    """Each one costs somebody a slow step: the pause is doubled up to its limit."""
    clock = Clock()
    governor = ThreadGovernor(2, clock=clock)
    fed(governor, [0.02] * 20 + [2.7])
    pauses = []
    for _ in range(8):
        lowered_at = clock.now
        while governor.observe(0.04) is None:
            clock.now += 1
        pauses.append(clock.now - lowered_at)
        assert fed(governor, [2.7]) == [1]

    assert [round(pause, -1) for pause in pauses] == [20, 40, 80, 160, 320, 640, 640, 640]
    assert max(pauses) <= MAX_RECOVERY_S + 1


def test_a_try_that_went_well_ends_the_caution() -> None:
    """The next competitor is waited for as briefly as the first one was."""
    clock = Clock()
    governor = ThreadGovernor(2, clock=clock)
    fed(governor, [0.02] * 20 + [2.7])
    for ending in (2.7, 0.02):  # A try in vain and one that goes well.
        clock.now += 2 * RECOVERY_S + 1
        assert fed(governor, [0.04, ending])[0] == 2
    clock.now += 2 * RECOVERY_S + 1
    assert fed(governor, [0.02, 2.7]) == [1]

    clock.now += RECOVERY_S + 1

    assert fed(governor, [0.04]) == [2]


def test_a_try_in_vain_goes_back_to_the_count_that_worked() -> None:
    """Where two threads had to go, the next try costs one slow step and not one for each."""
    clock = Clock()
    governor = ThreadGovernor(7, clock=clock)
    assert fed(governor, [0.02] * 20 + [2.7]) == [6]
    assert fed(governor, [0.02] * 20 + [2.7]) == [5]
    fed(governor, [0.02] * 20)

    clock.now += RECOVERY_S + 1

    assert fed(governor, [0.02, 2.7]) == [7, 5]
