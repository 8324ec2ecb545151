"""Whose turn it is."""

from __future__ import annotations

from collections import Counter

from botframework.worker.turns import STARVATION_S, Turns
from support.clock import Clock


def shares(turns: Turns, costs: dict[int, float], steps: int) -> Counter[int]:
    """Time that each connection gets when everybody always wants to compute, one step at a time."""
    given: Counter[int] = Counter()
    for _ in range(steps):
        client = min(costs, key=turns.used)
        turns.charge([client], costs[client])
        given[client] += round(costs[client] * 1000)
    return given


def test_time_is_shared_not_steps() -> None:
    """A connection whose steps are ten times as long gets as much time as the other, not ten times as much."""
    given = shares(Turns(), {1: 0.001, 2: 0.010}, 1_100)

    assert abs(given[1] - given[2]) <= 10


def test_rows_of_one_step_share_its_cost() -> None:
    """A step for several connections is charged in equal parts."""
    turns = Turns()

    turns.charge([1, 2], 0.010)

    assert turns.used(1) == turns.used(2) == 0.005


def test_idle_time_is_not_saved_up() -> None:
    """Whoever comes back after a rest takes turns, and does not shut the others out for as long as it rested."""
    turns = Turns()
    turns.charge([1], 100.0)

    turns.arrive(2, {1})

    given = shares(turns, {1: 0.010, 2: 0.010}, 100)
    assert abs(given[1] - given[2]) <= 10


def test_the_best_level_goes_first_and_the_last_one_goes_on() -> None:
    """A lower level runs only when nothing better can, but once in every `STARVATION_S` it gets a step."""
    clock = Clock()
    turns = Turns(clock)
    chosen = []
    for _ in range(100):
        chosen.append(turns.level({0, 2}))
        clock.now += STARVATION_S / 10

    assert turns.level({2}) == 2
    assert 5 <= chosen.count(2) <= 10


def test_a_step_that_was_given_up_counts_for_nothing() -> None:
    """A level whose steps are all ended early waits as if it had had none, and gets one that nobody may end."""
    clock = Clock()
    turns = Turns(clock)
    steps = 0
    while not turns.is_overdue:
        assert turns.level({2}) == 2
        turns.got_nothing()
        assert turns.level({0, 2}) == 0
        clock.now += STARVATION_S / 10
        steps += 1
        turns.level({0, 2})

    assert 9 <= steps <= 12
    assert turns.level({0, 2}) == 0
