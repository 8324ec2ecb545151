"""The memory tier of parked states: whose they are, and which go when there is no room."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.worker import parked
from botframework.worker.parked import ParkedState, ParkedStates
from support.clock import Clock


class Cells:
    """A KV cache of one sequence that may refuse, or lie about what it did."""

    def __init__(self, *, state: bytes = b"state", end: int = 3, loads: bool = True) -> None:
        self.state = state
        self.end = end
        self.loads = loads

    def forget(self, sequence: int) -> None:  # noqa: ARG002 - there is only one
        """Empty it."""
        self.end = 0

    def end_of(self, sequence: int) -> int:  # noqa: ARG002
        """The position after the last token."""
        return self.end

    def save_state(self, sequence: int) -> bytes:  # noqa: ARG002
        """The state."""
        return self.state

    def load_state(self, sequence: int, state: bytes) -> bool:  # noqa: ARG002
        """Load, or not."""
        return self.loads


def state(size: int = 0, *, tokens: int = 3, fill: bytes = b"s") -> ParkedState:
    """A parked state of so many bytes in all."""
    empty = ParkedState(array("i", range(tokens)), b"")
    return ParkedState(empty.tokens, fill * max(1, size - empty.size))


def test_a_session_gets_its_own_state_back() -> None:
    """By connection, name and lane; taking it takes it out."""
    states = ParkedStates(1_000_000)
    entries = {
        ((connection, name), lane): state(fill=bytes([number]))
        for number, (connection, name, lane) in enumerate(
            (c, n, lane) for c in (1, 2) for n in ("a", "b") for lane in ("fim", "chat")
        )
    }
    for (owner, lane), parked_state in entries.items():
        assert states.put(owner, lane, parked_state) == []

    for (owner, lane), parked_state in entries.items():
        assert states.take(owner, lane) is parked_state
        assert states.take(owner, lane) is None
    assert (len(states), states.bytes) == (0, 0)


def test_the_least_recently_parked_go_first() -> None:
    """What no longer fits is handed out in the order in which it was parked, and no more of it than needed."""
    states = ParkedStates(40_000)
    for name in ("a", "b", "c"):
        assert states.put((1, name), "fim", state(10_000)) == []
    states.put((1, "a"), "fim", state(10_000))  # parked again: now the newest

    gone = states.put((1, "d"), "fim", state(25_000))

    assert [owner[1] for owner, _, _ in gone] == ["b", "c"]
    assert [entry.name for entry in states.of_connection(1)] == ["a", "d"]
    assert states.bytes == 35_000


def test_a_state_larger_than_the_limit_is_handed_back() -> None:
    """It displaces nobody but the session's own older state, which is outdated."""
    states = ParkedStates(40_000)
    states.put((1, "a"), "fim", state(10_000))
    states.put((1, "b"), "fim", state(10_000))
    large = state(40_001)

    assert states.put((1, "a"), "fim", large) == [((1, "a"), "fim", large)]
    assert [entry.name for entry in states.of_connection(1)] == ["b"]


def test_a_connection_takes_its_states_with_it() -> None:
    """Another connection's stay, also those of the same name."""
    states = ParkedStates(1_000_000)
    for connection in (1, 2):
        for name in ("a", "b"):
            states.put((connection, name), "fim", state())

    states.forget_connection(1)

    assert states.of_connection(1) == []
    assert [entry.name for entry in states.of_connection(2)] == ["a", "b"]
    assert states.forget((2, "a"), "fim")
    assert not states.forget((2, "a"), "fim")


def test_looking_is_use_and_asking_for_tokens_is_not() -> None:
    """`peek` keeps the state and makes it the newest; `tokens_of` changes nothing."""
    states = ParkedStates(40_000)
    kept = {name: state(10_000, tokens=number) for number, name in enumerate("abc", start=1)}
    for name, parked_state in kept.items():
        states.put((1, name), "fim", parked_state)

    assert states.peek((1, "a"), "fim") is kept["a"]
    assert states.tokens_of((1, "b"), "fim") == [0, 1]
    assert states.peek((1, "x"), "fim") is None
    assert states.tokens_of((1, "x"), "fim") == []

    assert [owner[1] for owner, _, _ in states.put((1, "d"), "fim", state(20_000))] == ["b"]
    assert states.peek((1, "a"), "fim") is kept["a"]


def test_the_list_tells_size_and_age() -> None:
    """Tokens, bytes, lane, and seconds since it was parked."""
    clock = Clock()
    states = ParkedStates(1_000_000, clock=clock)
    states.put((1, "a"), "chat", state(5_000, tokens=7))
    clock.now += 12.5

    assert states.of_connection(1) == [parked.ParkedEntry("a", "chat", 7, 5_000, 12.5)]


_OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "take", "forget", "leave"]),
        st.integers(0, 2),
        st.sampled_from("abc"),
        st.integers(1_100, 30_000),
    ),
    max_size=60,
)


@given(_OPERATIONS)
def test_the_count_is_right_after_any_operations(operations: list[tuple[str, int, str, int]]) -> None:
    """The bytes are those of the states that are there, never more than the limit; what went was handed out."""
    states = ParkedStates(50_000)
    model: dict[Any, ParkedState] = {}
    for action, connection, name, size in operations:
        owner = (connection, name)
        if action == "put":
            new = state(size)
            model[owner] = new
            for gone, _, old in states.put(owner, "fim", new):
                assert model.pop(gone) is old
        elif action == "take":
            assert states.take(owner, "fim") is model.pop(owner, None)
        elif action == "forget":
            assert states.forget(owner, "fim") is (model.pop(owner, None) is not None)
        else:
            states.forget_connection(connection)
            model = {key: kept for key, kept in model.items() if key[0] != connection}
        assert states.bytes == sum(kept.size for kept in model.values()) <= states.limit
        assert len(states) == len(model)


@pytest.mark.parametrize("cells", [Cells(state=b""), Cells(end=2), Cells(end=4), Cells(end=0)])
def test_what_cannot_be_trusted_is_not_parked(cells: Cells) -> None:
    """No state, or an end that is not where the tokens say: nothing is kept."""
    assert parked.save(cells, 0, [1, 2, 3]) is None


@pytest.mark.parametrize("cells", [Cells(loads=False), Cells(end=2), Cells(end=4)])
def test_a_load_that_goes_wrong_leaves_nothing(cells: Cells) -> None:
    """Refused, or loaded with another length: the sequence is empty afterwards."""
    assert not parked.load(cells, 0, state(tokens=3))
    assert cells.end == 0


def test_saving_and_loading() -> None:
    """Tokens, state and note come through."""
    kept = parked.save(Cells(), 0, [1, 2, 3], b"note")

    assert kept == ParkedState(array("i", [1, 2, 3]), b"state", b"note")
    assert parked.load(Cells(), 0, kept)
