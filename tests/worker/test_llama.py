"""The guarded layer over llama.cpp: what would end the process is refused before the call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from botframework.errors import ModelCorrupt, RequestCancelled
from botframework.worker import llama, sampling

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
