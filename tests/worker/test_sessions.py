"""KV sessions: who keeps which tokens."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np
import pytest

from botframework.errors import ContextOverflow
from botframework.worker.parked import ParkedState
from botframework.worker.sessions import MAX_CHECKPOINTS, MAX_LOGITS, MIN_PARKED_TOKENS, KvSequence, SessionPool

if TYPE_CHECKING:
    from botframework.worker.sessions import Owner


class Cells:
    """A KV cache that holds tokens only."""

    def __init__(self, *, n_cells: int = 100, n_seq: int = 3, can_cut: bool = True) -> None:
        self.n_cells = n_cells
        self.n_seq = n_seq
        self.can_cut = can_cut
        self.held: list[list[int]] = [[] for _ in range(n_seq)]

    def cut(self, sequence: int, position: int) -> bool:
        """Cut, or refuse as a recurrent cache does."""
        if self.can_cut:
            del self.held[sequence][position:]
        return self.can_cut

    def forget(self, sequence: int) -> None:
        """Empty a sequence."""
        self.held[sequence] = []

    def end_of(self, sequence: int) -> int:
        """The position after the last token."""
        return len(self.held[sequence])

    def copy(self, source: int, target: int, end: int) -> bool:
        """Share a beginning."""
        whole = len(self.held[source]) == end
        self.held[target] = self.held[source][:end] if self.can_cut or whole else []
        return bool(self.held[target])

    def save_state(self, sequence: int) -> bytes:
        """What it holds, as bytes."""
        return array("i", self.held[sequence]).tobytes()

    def load_state(self, sequence: int, state: bytes) -> bool:
        """Hold it again."""
        self.held[sequence] = array("i", state).tolist()
        return bool(state)

    @property
    def ends(self) -> list[int]:
        """How much each sequence holds."""
        return [len(tokens) for tokens in self.held]


class Shelf:
    """Where parked states wait; remembers what was done."""

    def __init__(self) -> None:
        self.states: dict[Owner, ParkedState] = {}
        self.taken: list[Owner] = []

    def put(self, owner: Owner, state: ParkedState) -> None:
        """Keep it."""
        self.states[owner] = state

    def take(self, owner: Owner) -> ParkedState | None:
        """Give it back."""
        state = self.states.pop(owner, None)
        if state is not None:
            self.taken.append(owner)
        return state


def read(cells: Cells, sequence: KvSequence, prompt: list[int]) -> None:
    """Do what the scheduler does with a leased sequence."""
    assert cells.held[sequence.number] == sequence.tokens == prompt[: len(sequence.tokens)]
    sequence.tokens += prompt[len(sequence.tokens) :]
    cells.held[sequence.number] = list(sequence.tokens)


def use(pool: SessionPool, cells: Cells, owner: tuple[int, str], prompt: list[int], share: int = 3) -> int:
    """Lease, read, release; the number of tokens that were kept."""
    sequence = pool.acquire(owner, prompt, 4, share=share)
    assert sequence is not None
    kept = len(sequence.tokens)
    read(cells, sequence, prompt)
    pool.release(sequence, keep=True)
    return kept


def test_only_what_differs_is_read_again() -> None:
    """The next prompt of a session starts at the first token that differs."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2, 3, 4, 5])

    assert use(pool, cells, (1, "a"), [1, 2, 3, 9, 9, 9]) == 3
    assert cells.ends[0] == 6


def test_the_last_token_is_always_read() -> None:
    """The same prompt again leaves one token to evaluate: its logits are needed."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2, 3])

    assert use(pool, cells, (1, "a"), [1, 2, 3]) == 2


def test_connections_do_not_share_sessions() -> None:
    """The same session name of another connection is another session."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2, 3])

    assert use(pool, cells, (2, "a"), [1, 2, 3, 4]) == 0
    assert [s.owner for s in pool.of_connection(1)] == [(1, "a")]


def test_the_least_recently_used_session_makes_room() -> None:
    """With all sequences taken, the one that nobody used for longest is forgotten."""
    cells = Cells(n_seq=2)
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2])
    use(pool, cells, (1, "b"), [3, 4])
    use(pool, cells, (1, "a"), [1, 2, 3])

    use(pool, cells, (1, "c"), [5, 6])

    assert sorted(s.owner for s in pool.of_connection(1) if s.owner) == [(1, "a"), (1, "c")]


def test_a_connection_at_its_share_displaces_only_itself() -> None:
    """A connection with many documents cannot push out the one document of another."""
    cells = Cells(n_seq=3)
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (2, "mine"), [7, 8], share=2)
    for name in "abcdef":
        use(pool, cells, (1, name), [1, 2], share=2)

    assert use(pool, cells, (2, "mine"), [7, 8, 9], share=2) == 2


def test_cells_are_reserved_for_the_answer() -> None:
    """A request whose answer could starve for cells waits instead."""
    cells = Cells(n_cells=20)
    pool = SessionPool(cells, n_ctx_train=50)
    first = pool.acquire((1, "a"), [1] * 5, 10, share=3)
    assert first is not None

    assert pool.acquire((1, "b"), [1] * 5, 10, share=3) is None

    pool.release(first, keep=False)
    assert pool.acquire((1, "b"), [1] * 5, 10, share=3) is not None


def test_idle_sessions_give_their_cells() -> None:
    """Cells of idle sessions are taken for a running request, oldest first."""
    cells = Cells(n_cells=20)
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1] * 8)
    use(pool, cells, (1, "b"), [2] * 8)

    assert pool.acquire((1, "c"), [3] * 6, 4, share=3) is not None
    assert [s.owner for s in pool.of_connection(1)] == [(1, "b"), (1, "c")]


def test_each_sequence_stays_within_the_training_context() -> None:
    """However large the pool: a prompt beyond the model's training context is refused with both numbers."""
    pool = SessionPool(Cells(n_cells=1_000), n_ctx_train=50)

    with pytest.raises(ContextOverflow) as caught:
        pool.acquire((1, "a"), [1] * 50, 4, share=3)

    assert caught.value.data == {"promptTokens": 50, "contextTokens": 50}


def test_a_cache_that_cannot_cut_starts_again() -> None:
    """Recurrent models keep nothing when the prompt changed in its middle; the tokens never disagree with the cache."""
    cells = Cells(can_cut=False)
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2, 3, 4])

    assert use(pool, cells, (1, "a"), [1, 2, 9]) == 0
    assert cells.ends[0] == 3


def test_an_aborted_call_is_settled() -> None:
    """After an abort the list of tokens and the KV cache agree on the shorter of the two."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    sequence = pool.acquire((1, "a"), [1, 2, 3, 4, 5, 6], 4, share=3)
    assert sequence is not None
    sequence.tokens = [1, 2, 3, 4]
    cells.held[sequence.number] = [1, 2]

    pool.settle(sequence)

    assert sequence.tokens == [1, 2]


def test_a_busy_session_is_not_leased_twice() -> None:
    """Two requests of one session run one after the other."""
    pool = SessionPool(Cells(), n_ctx_train=50)
    assert pool.acquire((1, "a"), [1, 2], 4, share=3) is not None

    assert pool.acquire((1, "a"), [1, 2], 4, share=3) is None


def test_a_closed_connection_leaves_nothing() -> None:
    """The cells of a connection that ended are free at once."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2])

    pool.close_connection(1)

    assert pool.tokens == 0
    assert cells.ends == [0, 0, 0]


# --- parking ----------------------------------------------------------------------------------------------------------

LONG = list(range(100, 100 + MIN_PARKED_TOKENS))
"""A prompt that is worth parking."""


def parking_pool(*, n_seq: int = 2, n_cells: int = 1_000, can_cut: bool = True) -> tuple[SessionPool, Cells, Shelf]:
    """A pool whose sessions are parked."""
    cells, shelf = Cells(n_cells=n_cells, n_seq=n_seq, can_cut=can_cut), Shelf()
    return SessionPool(cells, n_ctx_train=n_cells, can_cut=can_cut, parking=shelf), cells, shelf


def test_who_loses_a_sequence_is_parked_and_comes_back() -> None:
    """A document that had to go returns with all its tokens, and the state is no longer on the shelf."""
    pool, cells, shelf = parking_pool()
    for name in ("a", "b", "c"):
        use(pool, cells, (1, name), [ord(name), *LONG])
    assert list(shelf.states) == [(1, "a")]

    assert use(pool, cells, (1, "a"), [ord("a"), *LONG, 7]) == 1 + len(LONG)

    assert shelf.taken == [(1, "a")]
    assert list(shelf.states) == [(1, "b")]  # which had to go for it


def test_who_loses_cells_is_parked() -> None:
    """Not only sequences are short: a prompt that needs the cells of two others parks both."""
    pool, cells, shelf = parking_pool(n_seq=3, n_cells=3 * len(LONG))
    use(pool, cells, (1, "a"), LONG)
    use(pool, cells, (1, "b"), [1, *LONG])

    use(pool, cells, (1, "c"), [2] * (2 * len(LONG)))

    assert list(shelf.states) == [(1, "a"), (1, "b")]
    assert [s.owner for s in pool.of_connection(1)] == [(1, "c")]


def test_a_restored_session_is_cut_like_any_other() -> None:
    """What a document was changed to while it was away is read from the first token that differs."""
    pool, cells, _ = parking_pool(n_seq=1)
    use(pool, cells, (1, "a"), LONG)
    use(pool, cells, (1, "b"), LONG)

    assert use(pool, cells, (1, "a"), [*LONG[:40], 7, 7]) == 40


def test_small_and_nameless_sessions_are_not_parked() -> None:
    """Reading few tokens again is cheaper than keeping them; nobody comes back to what has no name."""
    pool, cells, shelf = parking_pool(n_seq=1)
    use(pool, cells, (1, "a"), LONG[:-1])
    use(pool, cells, (1, ""), LONG)
    use(pool, cells, (1, "b"), [1])

    assert shelf.states == {}


def test_without_room_a_state_stays_on_the_shelf() -> None:
    """A request that has to wait has not lost its document's state."""
    pool, cells, shelf = parking_pool(n_seq=3, n_cells=3 * len(LONG))
    use(pool, cells, (1, "a"), LONG)
    other = pool.acquire((1, "b"), [1], 3 * len(LONG) - 2, share=3)
    assert other is not None
    assert list(shelf.states) == [(1, "a")]

    assert pool.acquire((1, "a"), LONG, 1, share=3) is None

    assert list(shelf.states) == [(1, "a")]
    pool.release(other, keep=False)
    assert use(pool, cells, (1, "a"), [*LONG, 1]) == len(LONG)


def test_a_long_state_gets_room_for_all_of_it() -> None:
    """A state longer than the prompt that wants it has to fit before it can be cut."""
    pool, cells, _ = parking_pool(n_seq=2, n_cells=3 * len(LONG))
    use(pool, cells, (1, "a"), [*LONG, *LONG])
    pool.acquire((1, "b"), [1], 2 * len(LONG), share=2)
    pool.release(pool.of_connection(1)[-1], keep=False)
    use(pool, cells, (1, "b"), LONG)
    use(pool, cells, (1, "c"), LONG)

    assert use(pool, cells, (1, "a"), LONG[:20]) == 19
    assert sum(cells.ends) <= cells.n_cells


def test_closing_takes_the_state_from_the_shelf() -> None:
    """A session that is closed while it is parked does not come back."""
    pool, cells, shelf = parking_pool(n_seq=1)
    use(pool, cells, (1, "a"), LONG)
    use(pool, cells, (1, "b"), [1])

    pool.close((1, "a"))

    assert shelf.states == {}
    assert use(pool, cells, (1, "a"), LONG) == 0


def test_a_state_that_does_not_load_costs_an_evaluation_only() -> None:
    """If llama.cpp refuses it, the prompt is read from the start."""
    pool, cells, shelf = parking_pool(n_seq=1)
    use(pool, cells, (1, "a"), LONG)
    use(pool, cells, (1, "b"), [1])
    shelf.states[1, "a"] = ParkedState(array("i", LONG), array("i", LONG[:-1]).tobytes())

    assert use(pool, cells, (1, "a"), LONG) == 0


# --- branches ---------------------------------------------------------------------------------------------------------


def test_a_branch_shares_a_beginning_and_takes_the_place_of_the_trunk() -> None:
    """It starts with what both have in common, leaves the trunk as it is, and is the session's after `adopt`."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2, 3, 4, 5])

    branch = pool.branch((1, "a"), [1, 2, 3, 8, 8], share=3)

    assert branch is not None
    assert branch.tokens == [1, 2, 3]
    read(cells, branch, [1, 2, 3, 8, 8])
    trunk = pool.find((1, "a"))
    assert trunk is not None
    assert (trunk.tokens, cells.held[trunk.number]) == ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert pool.adopt((1, "a"), branch)
    pool.release(branch, keep=True)
    assert sorted(cells.ends) == [0, 0, 5]
    assert use(pool, cells, (1, "a"), [1, 2, 3, 8, 8, 9]) == 5


def test_a_branch_is_dropped_without_a_trace() -> None:
    """A key that came meanwhile: the branch goes, the trunk serves it."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2, 3, 4, 5])
    branch = pool.branch((1, "a"), [1, 2, 9], share=3)
    assert branch is not None

    pool.release(branch, keep=False)

    assert use(pool, cells, (1, "a"), [1, 2, 3, 4, 5, 6]) == 5
    assert sorted(cells.ends) == [0, 0, 6]


def test_a_busy_trunk_is_not_replaced() -> None:
    """While a request runs on the old sequence, a branch cannot take its place."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    use(pool, cells, (1, "a"), [1, 2, 3])
    branch = pool.branch((1, "a"), [1, 2, 9], share=3)
    assert branch is not None
    busy = pool.acquire((1, "a"), [1, 2, 3, 4], 1, share=3)

    assert not pool.adopt((1, "a"), branch)
    assert pool.find((1, "a")) is busy


def test_a_branch_takes_nothing_from_others() -> None:
    """It parks its own connection's idle sessions only, never the trunk, and gives up when that is not enough."""
    pool, cells, shelf = parking_pool(n_seq=3, n_cells=4 * len(LONG))
    use(pool, cells, (2, "b"), LONG)
    use(pool, cells, (1, "a"), LONG)
    use(pool, cells, (1, "c"), LONG)

    branch = pool.branch((1, "a"), [*LONG[:10], 5], share=2)

    assert branch is not None
    assert list(shelf.states) == [(1, "c")]
    assert sorted(str(s.owner) for s in pool._sequences) == ["(1, '')", "(1, 'a')", "(2, 'b')"]
    assert pool.branch((1, "a"), LONG, share=2) is None


def test_a_cache_that_cannot_cut_branches_from_nothing() -> None:
    """A recurrent state holds more than the common beginning: the branch is read from the start."""
    cells = Cells(can_cut=False)
    pool = SessionPool(cells, n_ctx_train=50, can_cut=False)
    use(pool, cells, (1, "a"), [1, 2, 3])

    branch = pool.branch((1, "a"), [1, 2, 9], share=3)

    assert branch is not None
    assert branch.tokens == []


def test_adopting_makes_a_parked_state_obsolete() -> None:
    """What the session had before the branch was laid does not come back."""
    pool, cells, shelf = parking_pool(n_seq=2)
    use(pool, cells, (1, "a"), LONG)
    branch = pool.branch((1, "a"), [*LONG[:3], 9], share=2)
    assert branch is not None
    read(cells, branch, [*LONG[:3], 9])
    old = pool.find((1, "a"))
    assert old is not None
    pool._leave(old)
    assert list(shelf.states) == [(1, "a")]

    assert pool.adopt((1, "a"), branch)

    assert shelf.states == {}


# --- logits -----------------------------------------------------------------------------------------------------------

FOLLOWS = np.zeros(4, dtype=np.float32)


def test_what_is_known_to_follow_is_not_asked_again() -> None:
    """With the logits of a prompt's end remembered, the same prompt leaves nothing to evaluate."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    sequence = pool.acquire((1, "a"), [1, 2, 3], 4, share=3)
    assert sequence is not None
    read(cells, sequence, [1, 2, 3])
    sequence.remember_logits(FOLLOWS)
    read(cells, sequence, [1, 2, 3, 7, 7])  # the answer
    pool.release(sequence, keep=True)

    again = pool.acquire((1, "a"), [1, 2, 3], 4, share=3)

    assert again is sequence
    assert (again.tokens, cells.held[again.number]) == ([1, 2, 3], [1, 2, 3])
    assert again.logits[3] is FOLLOWS


def test_what_followed_another_text_is_forgotten() -> None:
    """Logits beyond the first difference belong to tokens that are gone, even when as many stand there again."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    sequence = pool.acquire((1, "a"), [1, 2, 3, 4], 4, share=3)
    assert sequence is not None
    for length in (2, 4):
        read(cells, sequence, [1, 2, 3, 4][:length])
        sequence.remember_logits(FOLLOWS)
    pool.release(sequence, keep=True)

    assert use(pool, cells, (1, "a"), [1, 2, 9, 4]) == 2
    assert set(sequence.logits) == {2}
    assert use(pool, cells, (1, "a"), [1, 2, 9, 4]) == 3


def test_few_logits_are_remembered() -> None:
    """They are large; the oldest go first."""
    sequence = KvSequence(0)
    for token in range(MAX_LOGITS + 3):
        sequence.tokens.append(token)
        sequence.remember_logits(FOLLOWS)

    assert list(sequence.logits) == [4, 5, 6, 7]


def test_another_owner_gets_no_logits() -> None:
    """A sequence that changes hands starts empty in every respect."""
    cells = Cells(n_seq=1)
    pool = SessionPool(cells, n_ctx_train=50)
    sequence = pool.acquire((1, "a"), [1, 2], 4, share=1)
    assert sequence is not None
    read(cells, sequence, [1, 2])
    sequence.remember_logits(FOLLOWS)
    pool.release(sequence, keep=True)

    other = pool.acquire((2, "a"), [1, 2], 4, share=1)

    assert other is sequence
    assert (other.tokens, other.logits, cells.ends) == ([], {}, [0])


# --- checkpoints ------------------------------------------------------------------------------------------------------


def checkpointed(pool: SessionPool, cells: Cells, owner: Owner, prompt: list[int], *ends: int) -> int:
    """Use a session and make checkpoints at some lengths of the prompt; how much was kept."""
    sequence = pool.acquire(owner, prompt, 4, share=3)
    assert sequence is not None
    kept = len(sequence.tokens)
    for end in (*ends, len(prompt)):
        if end > len(sequence.tokens):
            read(cells, sequence, prompt[:end])
            if end in ends:
                pool.checkpoint(sequence)
    pool.release(sequence, keep=True)
    return kept


def test_a_cache_that_cannot_cut_goes_back_to_a_checkpoint() -> None:
    """The longest one that the new prompt still begins with; what was made of later tokens is gone."""
    cells = Cells(can_cut=False)
    pool = SessionPool(cells, n_ctx_train=50, can_cut=False)
    checkpointed(pool, cells, (1, "a"), [1, 2, 3, 4, 5, 6], 2, 4)

    assert checkpointed(pool, cells, (1, "a"), [1, 2, 3, 4, 9, 9]) == 4
    assert cells.held[0] == [1, 2, 3, 4, 9, 9]
    assert checkpointed(pool, cells, (1, "a"), [1, 2, 3, 8, 8, 8]) == 2
    assert checkpointed(pool, cells, (1, "a"), [1, 2, 3, 8, 9]) == 2  # The one at 4 did not outlive its tokens.
    assert checkpointed(pool, cells, (1, "a"), [7, 7]) == 0


def test_the_first_checkpoint_and_the_latest_are_kept() -> None:
    """The first is the window's end, to which everything can go back; of the others the newest counts."""
    cells = Cells(can_cut=False)
    pool = SessionPool(cells, n_ctx_train=50, can_cut=False)
    prompt = list(range(1, 13))
    checkpointed(pool, cells, (1, "a"), prompt, 3, 5, 7, 9)
    sequence = pool.find((1, "a"))
    assert sequence is not None

    assert [length for length, _ in sequence.checkpoints] == [3, 9]
    assert len(sequence.checkpoints) == MAX_CHECKPOINTS
    assert checkpointed(pool, cells, (1, "a"), [*prompt[:9], 99]) == 9


def test_a_cache_that_can_cut_makes_no_checkpoints() -> None:
    """They would cost memory for nothing."""
    cells = Cells()
    pool = SessionPool(cells, n_ctx_train=50)
    checkpointed(pool, cells, (1, "a"), [1, 2, 3, 4], 2)
    sequence = pool.find((1, "a"))

    assert sequence is not None
    assert sequence.checkpoints == []


def test_a_recurrent_session_is_parked_at_its_first_checkpoint() -> None:
    """It comes back with the tokens of the window, not with those that were typed after it."""
    pool, cells, shelf = parking_pool(n_seq=1, can_cut=False)
    checkpointed(pool, cells, (1, "a"), [*LONG, 5, 6], len(LONG), len(LONG) + 2)
    use(pool, cells, (1, "b"), [1])
    assert list(shelf.states[1, "a"].tokens) == LONG

    assert checkpointed(pool, cells, (1, "a"), [*LONG, 8]) == len(LONG)
    assert cells.held[0] == [*LONG, 8]
    assert checkpointed(pool, cells, (1, "a"), [*LONG, 9]) == len(LONG)  # The parked state is a checkpoint now.


def test_an_abort_that_lost_tokens_takes_what_was_made_of_them() -> None:
    """After an abort that emptied a sequence, neither checkpoints nor logits of the lost tokens are used."""
    cells = Cells(can_cut=False)
    pool = SessionPool(cells, n_ctx_train=50, can_cut=False)
    checkpointed(pool, cells, (1, "a"), [1, 2, 3, 4], 4)
    sequence = pool.find((1, "a"))
    assert sequence is not None
    sequence.remember_logits(FOLLOWS)
    cells.forget(sequence.number)

    pool.settle(sequence)

    assert (sequence.tokens, sequence.logits, sequence.checkpoints) == ([], {}, [])
    assert pool.save(sequence, b"") is None
