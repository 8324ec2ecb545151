"""KV sessions: who keeps which tokens."""

from __future__ import annotations

import pytest

from botframework.errors import ContextOverflow
from botframework.worker.sessions import KvSequence, SessionPool


class Cells:
    """A KV cache that only counts."""

    def __init__(self, *, n_cells: int = 100, n_seq: int = 3, can_cut: bool = True) -> None:
        self.n_cells = n_cells
        self.n_seq = n_seq
        self.can_cut = can_cut
        self.ends = [0] * n_seq

    def cut(self, sequence: int, position: int) -> bool:
        """Cut, or refuse as a recurrent cache does."""
        if self.can_cut:
            self.ends[sequence] = min(self.ends[sequence], position)
        return self.can_cut

    def forget(self, sequence: int) -> None:
        """Empty a sequence."""
        self.ends[sequence] = 0

    def end_of(self, sequence: int) -> int:
        """The position after the last token."""
        return self.ends[sequence]


def read(cells: Cells, sequence: KvSequence, prompt: list[int]) -> None:
    """Do what the scheduler does with a leased sequence."""
    sequence.tokens += prompt[len(sequence.tokens) :]
    cells.ends[sequence.number] = len(sequence.tokens)


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
    cells.ends[sequence.number] = 2

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
