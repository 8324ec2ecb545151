"""Saving, loading and copying what a sequence holds, with the real llama.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from botframework.worker import llama, parked
from support.gguf_factory import tiny_llama, tiny_mamba
from support.state_blob import positions_in

if TYPE_CHECKING:
    from collections.abc import Sequence

KvType = Literal["f16", "q8_0"]
N_UBATCH = 32
TOKENS = [(index * 37 + index * index) % 250 for index in range(120)]
"""Bytes of noise: no two sequences of the tests begin alike."""
SAME = 2e-3
"""Logits of the same tokens in other cells differ by the order of sums; those of other tokens differ by whole units."""


@pytest.fixture(scope="module", autouse=True)
def _backend() -> None:
    llama.initialise(lambda _level, _line: None, lambda _text: None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> llama.Model:
    """A loaded tiny Llama with heads as wide as a block of q8_0."""
    path = tiny_llama(tmp_path_factory.mktemp("model") / "tiny.gguf", d=128)
    return llama.Model(str(path), n_gpu_layers=0, use_mmap=True, progress=lambda _: True)


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> llama.Model:
    """A loaded tiny Mamba."""
    path = tiny_mamba(tmp_path_factory.mktemp("model") / "mamba.gguf")
    return llama.Model(str(path), n_gpu_layers=0, use_mmap=True, progress=lambda _: True)


def make_context(
    model: llama.Model, *, flash_attn: bool = True, kv_type: KvType = "f16", n_ctx: int = 512
) -> llama.Context:
    """A context of four sequences."""
    return llama.Context(
        model, n_ctx=n_ctx, n_seq=4, n_ubatch=N_UBATCH, n_threads=1, flash_attn=flash_attn, kv_type=kv_type
    )


def read(context: llama.Context, sequence: int, tokens: Sequence[int]) -> np.ndarray:
    """Append tokens to a sequence; the logits behind the last one."""
    for start in range(0, len(tokens), N_UBATCH):
        piece = tokens[start : start + N_UBATCH]
        done = context.decode_chunk(sequence, context.end_of(sequence), piece, output=True)
        assert done is llama.DecodeStatus.DONE
    return context.logits((len(tokens) - 1) % N_UBATCH)


def go_on(context: llama.Context, sequence: int, token: int, count: int = 12) -> tuple[list[int], np.ndarray]:
    """Generate greedily from a token on; the tokens, and all their logits."""
    tokens, rows = [], []
    for _ in range(count):
        rows.append(read(context, sequence, [token]))
        token = int(rows[-1].argmax())
        tokens.append(token)
    return tokens, np.array(rows)


@pytest.mark.parametrize(("flash_attn", "kv_type"), [(True, "f16"), (False, "f16"), (True, "q8_0")])
def test_a_loaded_state_answers_as_before(model: llama.Model, *, flash_attn: bool, kv_type: KvType) -> None:
    """A state that went through memory gives the same logits, bit by bit, without any evaluation."""
    context = make_context(model, flash_attn=flash_attn, kv_type=kv_type)
    read(context, 0, TOKENS)
    state = context.save_state(0)
    expected, expected_logits = go_on(context, 0, 65)

    other = make_context(model, flash_attn=flash_attn, kv_type=kv_type)

    assert other.load_state(3, state)
    assert other.end_of(3) == len(TOKENS)
    assert [other.end_of(sequence) for sequence in range(3)] == [0, 0, 0]
    tokens, logits = go_on(other, 3, 65)
    assert tokens == expected
    assert np.array_equal(logits, expected_logits)


def fragment(context: llama.Context, keep: int = 0) -> None:
    """Fill the cache with three sequences in turns, then free two of them: what is free lies in holes of two cells."""
    number = 0
    while sum(map(context.end_of, range(3))) < context.n_cells:
        sequence = number % 3
        read(context, sequence, [(number * 11 + sequence) % 250])
        number += 1
    for sequence in range(3):
        if sequence != keep:
            context.forget(sequence)


def test_a_state_is_loaded_into_holes(model: llama.Model) -> None:
    """In a fragmented cache a state is spread over the holes, answers as before, and disturbs nobody."""
    origin = make_context(model)
    read(origin, 0, TOKENS)
    state = origin.save_state(0)
    expected, expected_logits = go_on(origin, 0, 65)
    context = make_context(model, n_ctx=256)
    fragment(context)
    neighbour = context.save_state(0)

    assert context.load_state(2, state)

    assert sorted(positions_in(context.save_state(2))) == list(range(len(TOKENS)))
    tokens, logits = go_on(context, 2, 65)
    assert np.abs(logits - expected_logits).max() < SAME
    assert tokens == expected
    assert context.save_state(0) == neighbour
    # And out of the holes again: what is saved there loads elsewhere.
    context.cut(2, len(TOKENS))
    again = make_context(model)
    assert again.load_state(0, context.save_state(2))
    tokens, logits = go_on(again, 0, 65)
    assert np.abs(logits - expected_logits).max() < SAME
    assert tokens == expected


def test_without_room_a_load_fails_and_harms_nobody(model: llama.Model) -> None:
    """Too few free cells: False, the target is empty even if it held something, and there is room for it later."""
    context = make_context(model, n_ctx=256)
    read(context, 0, TOKENS)
    state = context.save_state(0)
    read(context, 1, TOKENS)
    read(context, 2, [7] * 10)
    before = context.save_state(1)

    assert not context.load_state(2, state)

    assert context.end_of(2) == 0
    assert context.save_state(1) == before
    context.forget(0)
    assert context.load_state(2, state)
    assert context.end_of(2) == len(TOKENS)


def test_what_llama_cpp_refuses_leaves_an_empty_sequence(model: llama.Model) -> None:
    """Nothing, too little and too much are refused; the sequence is empty and works."""
    context = make_context(model)
    read(context, 0, TOKENS)
    state = context.save_state(0)
    for wrong in (b"", state[:11], state[:500], state[:-1], state + b"\0"):
        read(context, 1, [1, 2, 3])

        assert not context.load_state(1, wrong)

        assert context.end_of(1) == 0
        assert context.save_state(1) == b""
    assert context.load_state(1, state)


def test_a_state_takes_the_place_of_what_was_there(model: llama.Model) -> None:
    """Loading over a longer sequence leaves none of its cells behind."""
    context = make_context(model, n_ctx=256)
    read(context, 0, [9, 8, 7])
    state = context.save_state(0)
    read(context, 1, [5] * 200)

    assert context.load_state(1, state)

    assert context.end_of(1) == 3
    assert read(context, 2, [6] * 250) is not None  # 200 cells are free again


def test_parking_checks_that_tokens_and_cells_agree(model: llama.Model) -> None:
    """A sequence whose end is not where its tokens say is not parked, and a state with other tokens not loaded."""
    context = make_context(model)
    read(context, 0, TOKENS)

    assert parked.save(context, 0, TOKENS[:-1]) is None
    assert parked.save(context, 1, []) is None
    kept = parked.save(context, 0, TOKENS, b"a note")
    assert kept is not None
    assert (list(kept.tokens), kept.note) == (TOKENS, b"a note")
    assert parked.load(context, 1, kept)
    wrong = parked.ParkedState(kept.tokens[:-1], kept.state, kept.note)
    assert not parked.load(context, 1, wrong)
    assert context.end_of(1) == 0


def test_positions_stay_contiguous(model: llama.Model) -> None:
    """After reading, cutting, copying and loading, the cells hold each position once, from 0 on."""
    context = make_context(model)
    read(context, 0, TOKENS)
    context.cut(0, 50)
    read(context, 0, TOKENS[:20])
    assert context.copy(0, 1, 60)
    read(context, 1, TOKENS[:5])
    assert context.load_state(2, context.save_state(1))

    for sequence, length in ((0, 70), (1, 65), (2, 65)):
        assert sorted(positions_in(context.save_state(sequence))) == list(range(length))


def test_a_copy_shares_cells_and_goes_its_own_way(model: llama.Model) -> None:
    """A branch takes no room, answers as the trunk did at that place, and neither notices the other's end."""
    context = make_context(model, n_ctx=256)
    read(context, 0, TOKENS[:100])
    expected, expected_logits = go_on(context, 0, 65)
    read(context, 2, [1])

    assert context.copy(0, 1, 100)
    assert context.copy(0, 3, 100)

    tokens, logits = go_on(context, 1, 65)
    assert np.abs(logits - expected_logits).max() < SAME
    assert tokens == expected
    context.forget(0)
    tokens, logits = go_on(context, 3, 65)
    assert np.abs(logits - expected_logits).max() < SAME
    # 256 cells: 100 shared, 12 each of two branches, 1; what is left is free.
    assert read(context, 2, [2] * (256 - 100 - 24 - 1)) is not None


def test_a_copy_replaces_what_the_target_held(model: llama.Model) -> None:
    """A target that was longer ends where the copy ends; impossible ends leave it empty."""
    context = make_context(model)
    read(context, 0, TOKENS[:30])
    read(context, 1, TOKENS[:90])

    assert context.copy(0, 1, 30)
    assert context.end_of(1) == 30
    for end in (0, -1, 31):
        assert not context.copy(0, 1, end)
        assert context.end_of(1) == 0
    with pytest.raises(ValueError, match="onto itself"):
        context.copy(0, 0, 10)


@pytest.mark.parametrize("sequence", [-1, 4, 1_000])
def test_a_sequence_out_of_range_is_refused(model: llama.Model, sequence: int) -> None:
    """llama.cpp would abort the process; here it is a ValueError."""
    context = make_context(model)
    read(context, 0, [1, 2, 3])
    state = context.save_state(0)
    for call in (
        lambda: context.save_state(sequence),
        lambda: context.load_state(sequence, state),
        lambda: context.copy(0, sequence, 1),
        lambda: context.copy(sequence, 0, 1),
    ):
        with pytest.raises(ValueError, match="outside 0 to 3"):
            call()


def test_a_recurrent_state_is_a_checkpoint(recurrent: llama.Model) -> None:
    """A state of a model whose tail cannot be cut stands for exactly its tokens, and answers as before from there."""
    context = make_context(recurrent)
    read(context, 0, TOKENS)
    checkpoint = parked.save(context, 0, TOKENS)
    assert checkpoint is not None
    expected, expected_logits = go_on(context, 0, 65)
    assert not context.cut(0, len(TOKENS))
    assert context.end_of(0) == len(TOKENS) + 12  # refused, and nothing was changed

    assert parked.load(context, 0, checkpoint)

    assert context.end_of(0) == len(TOKENS)
    tokens, logits = go_on(context, 0, 65)
    assert tokens == expected
    assert np.array_equal(logits, expected_logits)
    assert len(checkpoint.state) < 16 * 1024  # the same for any number of tokens


def test_a_recurrent_state_is_copied_whole_or_not_at_all(recurrent: llama.Model) -> None:
    """Where llama.cpp would copy the whole state and call it a part, the copy is refused."""
    context = make_context(recurrent)
    read(context, 0, TOKENS)

    assert not context.copy(0, 1, 60)
    assert context.end_of(1) == 0
    assert context.copy(0, 1, len(TOKENS))
    first, second = go_on(context, 0, 65), go_on(context, 1, 65)
    assert first[0] == second[0]
    assert np.abs(first[1] - second[1]).max() < SAME
