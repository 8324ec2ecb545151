"""The guarded layer over llama.cpp: what would end the process is refused before the call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from botframework.errors import ModelCorrupt, RequestCancelled
from botframework.worker import llama, sampling
from support.gguf_factory import USER_DEFINED, ValueType, tiny_llama, tiny_vocabulary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _backend() -> None:
    llama.initialise(lambda _level, _line: None, lambda _text: None)


@pytest.fixture
def model(tiny_model: Path) -> llama.Model:
    """A loaded tiny model."""
    return llama.Model(str(tiny_model), n_gpu_layers=0, use_mmap=True, progress=lambda _: True)


@pytest.fixture
def context(model: llama.Model) -> llama.Context:
    """A context of two sequences and micro-batches of eight."""
    return make_context(model, n_ubatch=8)


def make_context(model: llama.Model, *, n_ubatch: int, n_ctx: int = 512) -> llama.Context:
    """A context with the parameters that the worker uses."""
    return llama.Context(model, n_ctx=n_ctx, n_seq=2, n_ubatch=n_ubatch, n_threads=1, flash_attn=True, kv_type="f16")


def test_a_file_that_llama_cpp_refuses_is_corrupt_in_its_words(tmp_path: Path, tiny_model: Path) -> None:
    """The error carries what llama.cpp complained about."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model.read_bytes()[:20_000])

    with pytest.raises(ModelCorrupt, match=r"could not load the model: .+"):
        llama.Model(str(broken), n_gpu_layers=0, use_mmap=True, progress=lambda _: True)


def test_loading_can_be_cancelled(tiny_model: Path) -> None:
    """A progress callback that returns False ends the loading."""
    with pytest.raises(RequestCancelled):
        llama.Model(str(tiny_model), n_gpu_layers=0, use_mmap=True, progress=lambda _: False)


def test_progress_goes_from_0_to_1(tiny_model: Path) -> None:
    """The fractions grow and end at 1."""
    seen: list[float] = []

    def note(fraction: float) -> bool:
        seen.append(fraction)
        return True

    llama.Model(str(tiny_model), n_gpu_layers=0, use_mmap=True, progress=note)

    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("sequence", [-1, 2, 1_000])
def test_a_sequence_out_of_range_is_refused(context: llama.Context, sequence: int) -> None:
    """llama.cpp would abort the process; here it is a ValueError."""
    for call in (
        lambda: context.cut(sequence, 0),
        lambda: context.forget(sequence),
        lambda: context.end_of(sequence),
        lambda: context.decode_chunk(sequence, 0, [1], output=True),
        lambda: context.decode_rows([(sequence, 0, 1)]),
    ):
        with pytest.raises(ValueError, match="outside 0 to 1"):
            call()


def test_a_batch_too_large_is_refused(context: llama.Context) -> None:
    """More tokens than a batch holds, or none, never reach llama_decode."""
    with pytest.raises(ValueError, match="1 to 8 tokens, not 9"):
        context.decode_chunk(0, 0, [1] * 9, output=True)
    with pytest.raises(ValueError, match="1 to 8 tokens, not 0"):
        context.decode_rows([])


def test_a_batch_is_no_larger_than_the_context(model: llama.Model) -> None:
    """llama.cpp ends the process for a batch beyond its context: there is none, whatever was asked for."""
    context = make_context(model, n_ubatch=1_024, n_ctx=256)

    assert context.n_batch == context.n_cells == 256
    assert context.decode_chunk(0, 0, [1] * 256, output=True) is llama.DecodeStatus.DONE
    with pytest.raises(ValueError, match="1 to 256 tokens, not 257"):
        context.decode_chunk(0, 0, [1] * 257, output=True)


def test_logits_that_do_not_exist_are_refused(context: llama.Context) -> None:
    """Sampling from a row that was not marked as output raises instead of reading a null pointer."""
    context.decode_chunk(0, 0, [1, 2, 3], output=True)
    chain = llama.SamplerChain(context.model.vocab, [sampling.Greedy()])

    with pytest.raises(ValueError, match="no logits"):
        context.sample(chain, 0)

    assert 0 <= context.sample(chain, 2) < context.model.vocab.size


@pytest.mark.parametrize("token", [-1, 10**6])
def test_a_token_outside_the_vocabulary_is_refused(model: llama.Model, token: int) -> None:
    """Neither piece nor end-of-generation is asked of a token that does not exist."""
    with pytest.raises(ValueError, match="outside the vocabulary"):
        model.vocab.piece(token)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        model.vocab.is_eog(token)
    assert model.vocab.text_of(token) == ""


def test_text_survives_the_tokenizer(model: llama.Model) -> None:
    """Bytes of the tokens of a text are the bytes of the text, specials in it included as plain text."""
    text = 'def f(x):\n\treturn "é🙂" # <|im_end|>\r\n\0'
    tokens = model.vocab.tokenize(text)

    assert b"".join(map(model.vocab.piece, tokens)) == text.encode()
    assert not any(model.vocab.is_eog(token) for token in tokens)


def test_an_abort_keeps_what_was_read_before(slow_model: Path) -> None:
    """A raised flag stops llama_decode from another thread; earlier micro-batches stay and the context goes on."""
    model = llama.Model(str(slow_model), n_gpu_layers=0, use_mmap=True, progress=lambda _: True)
    context = make_context(model, n_ubatch=512, n_ctx=2_048)
    assert context.decode_chunk(0, 0, [5] * 64, output=False) is llama.DecodeStatus.DONE
    threading.Timer(0.02, context.raise_abort).start()

    status = context.decode_chunk(0, 64, [6] * 512, output=True)
    context.clear_abort()

    assert status is llama.DecodeStatus.ABORTED
    assert context.end_of(0) == 64
    assert context.decode_chunk(0, 64, [7], output=True) is llama.DecodeStatus.DONE


def test_a_full_cache_is_told_and_changes_nothing(model: llama.Model) -> None:
    """Without free cells the call says so, and what is there stays usable."""
    context = make_context(model, n_ubatch=64, n_ctx=256)
    for start in range(0, context.n_cells, 64):
        assert context.decode_chunk(0, start, [3] * 64, output=False) is llama.DecodeStatus.DONE

    assert context.decode_chunk(1, 0, [3], output=True) is llama.DecodeStatus.NO_ROOM
    assert context.end_of(0) == context.n_cells


def test_the_cpu_is_a_device() -> None:
    """The device list names the CPU with its memory."""
    cpu = next(device for device in llama.devices() if device.kind == "cpu")

    assert cpu.total_bytes >= cpu.free_bytes > 0


CHAINS: dict[str, list[sampling.SamplerStep]] = {
    "greedy": [sampling.Greedy()],
    "infill": [sampling.TopK(40), sampling.Infill(), sampling.Greedy()],
    "drawn": [sampling.TopK(20), sampling.TopP(0.95), sampling.MinP(0.01), sampling.Temperature(0.8), sampling.Draw(7)],
    "penalties": [sampling.LogitBias(((5, 9.0), (6, -9.0))), sampling.Penalties(16, 1.3, 0.1, 0.1), sampling.Greedy()],
}


@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS)
def test_choosing_from_logits_equals_sampling(context: llama.Context, steps: list[sampling.SamplerStep]) -> None:
    """For the same logits, token after token, `choose` answers what llama.cpp's own sampling answers."""
    vocab = context.model.vocab
    sampled, chosen = llama.SamplerChain(vocab, steps), llama.SamplerChain(vocab, steps)
    context.decode_chunk(0, 0, [1, 2, 3], output=True)
    row = 2
    for position in range(3, 40):
        logits = context.logits(row)
        kept = logits.copy()

        token = chosen.choose(logits)

        assert token == context.sample(sampled, row)
        assert np.array_equal(logits, kept)
        context.decode_rows([(0, position, token)])
        row = 0


@pytest.mark.parametrize("values", [{7: 3.0, 9: 3.0}, {0: np.nan, 9: 3.0}, {7: np.inf, 9: np.nan}, {7: -np.inf}])
def test_greedy_is_llamas_greedy(model: llama.Model, values: dict[int, float]) -> None:
    """Among equals, and with logits that are no numbers, the short way answers what llama.cpp's sampler answers."""
    chain = llama.SamplerChain(model.vocab, CHAINS["greedy"])
    logits = np.zeros(model.vocab.size, dtype=np.float32)
    logits[list(values)] = list(values.values())

    assert chain.choose(logits) == chain.choose(logits, np.arange(model.vocab.size, dtype=np.int32))


@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS)
def test_only_what_is_allowed_is_chosen(model: llama.Model, steps: list[sampling.SamplerStep]) -> None:
    """Whatever the samplers are, the answer is among the allowed tokens, a single one and unlikely ones included."""
    chain = llama.SamplerChain(model.vocab, steps)
    random = np.random.default_rng(1)
    for count in (1, 2, 30, model.vocab.size):
        for _ in range(10):
            logits = random.standard_normal(model.vocab.size, dtype=np.float32)
            allowed = random.choice(model.vocab.size, count, replace=False).astype(np.int32)

            assert chain.choose(logits, allowed) in allowed


def test_the_likeliest_allowed_token_is_chosen(model: llama.Model) -> None:
    """Greedy with the infill rule: the best of the allowed ones, though an end token is likelier than all of them."""
    chain = llama.SamplerChain(model.vocab, CHAINS["infill"])
    logits = np.zeros(model.vocab.size, dtype=np.float32)
    logits[[7, 9]] = 1.0, 2.0
    logits[model.vocab.eos] = 20.0

    assert chain.choose(logits, np.array([7, 8, 9], dtype=np.int32)) == 9
    assert model.vocab.is_eog(chain.choose(logits))


def test_what_was_chosen_from_few_counts_for_the_penalties(model: llama.Model) -> None:
    """A token that was chosen under a limit is known to the chain afterwards."""
    chain = llama.SamplerChain(model.vocab, [sampling.Penalties(8, 1.0, 0.0, 5.0), sampling.Greedy()])
    logits = np.zeros(model.vocab.size, dtype=np.float32)
    logits[[7, 9]] = 2.0, 1.0

    assert chain.choose(logits, np.array([7], dtype=np.int32)) == 7
    assert chain.choose(logits) == 9


@pytest.mark.parametrize("allowed", [[], [-1], [3, 10**6]])
def test_choosing_from_what_is_no_token_is_refused(model: llama.Model, allowed: list[int]) -> None:
    """llama.cpp would read beyond its arrays; here it is a ValueError, and so are logits of another vocabulary."""
    chain = llama.SamplerChain(model.vocab, CHAINS["greedy"])
    with pytest.raises(ValueError, match="tokens to choose from"):
        chain.choose(np.zeros(model.vocab.size, dtype=np.float32), np.array(allowed, dtype=np.int32))
    with pytest.raises(ValueError, match="logits for a vocabulary"):
        chain.choose(np.zeros(5, dtype=np.float32))


def test_the_log_probability_of_a_token() -> None:
    """It is the logarithm of the softmax, also for logits whose exponentials overflow."""
    logits = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    expected = np.log(np.exp(logits) / np.exp(logits).sum())

    assert [sampling.logprob(logits, token) for token in range(3)] == pytest.approx(expected, abs=1e-6)
    assert sampling.logprob(np.array([900.0, -900.0], dtype=np.float32), 0) == 0.0
    assert sampling.logprob(np.array([900.0, -900.0], dtype=np.float32), 1) == pytest.approx(-1_800)


def test_all_pieces_at_once_equal_them_one_by_one(model: llama.Model) -> None:
    """The list has each token's bytes; control tokens have none."""
    vocab = model.vocab

    assert vocab.pieces() == [vocab.piece(token) for token in range(vocab.size)]
    assert vocab.pieces()[vocab.eos] == b""


def test_marks_that_a_file_calls_text_have_no_bytes(tmp_path: Path) -> None:
    """End-of-generation and FIM tokens are no text, even where the file gives them another type."""
    words = tiny_vocabulary()
    types = [USER_DEFINED if kind == 3 else kind for kind in words.types]
    types[words.ids["return\u0120"]] = USER_DEFINED
    metadata = {"tokenizer.ggml.token_type": (ValueType.ARRAY, (ValueType.INT32, types))}
    path = tiny_llama(tmp_path / "marks.gguf", metadata=metadata)
    vocab = llama.Model(str(path), n_gpu_layers=0, use_mmap=True, progress=lambda _: True).vocab

    pieces = vocab.pieces()

    assert vocab.fim("mid") >= 0
    assert {pieces[vocab.fim(name)] for name in ("pre", "suf", "mid", "pad", "rep", "sep")} == {b""}
    assert {pieces[token] for token in range(vocab.size) if vocab.is_eog(token)} == {b""}
    assert pieces[words.ids["return\u0120"]]  # What a file adds as text stays text.
