"""llama.cpp alone, as a program: its low-level API in a plain loop, greedy, and nothing of ours.

``bare_llama.py infill MODEL CHUNK COUNT psm|spm before|after``; the last word says on which side of the middle's mark
the typed part of the line stands. Standard input is a JSON list of [prefix, suffix], standard output a JSON list of the
texts.

``bare_llama.py speed MODEL N_THREADS N_CTX`` says ``ready`` and answers each line ``PROMPT_TOKENS N_DECODE`` with the
tokens per second of that many single steps behind a prompt of that length.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as lib

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SPEED_CHUNK = 64
"""Prompt tokens of a micro-batch, as in the worker's completion context."""


def load(path: str) -> Any:
    """A model with the default parameters."""
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    assert model
    return model


def make_context(model: Any, *, chunk: int, n_ctx: int = 2_048, n_threads: int = 1) -> Any:
    """A context with the parameters that the worker uses."""
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_seq_max = n_ctx, 4
    params.n_batch = params.n_ubatch = chunk
    params.n_threads = params.n_threads_batch = n_threads
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.kv_unified = params.swa_full = params.no_perf = True
    context = lib.llama_init_from_model(model, params)
    assert context
    return context


def evaluate(context: Any, tokens: Sequence[int]) -> None:
    """Append at most a micro-batch of tokens to the only sequence."""
    array = (lib.llama_token * len(tokens))(*tokens)  # A batch only points to it.
    assert lib.llama_decode(context, lib.llama_batch_get_one(array, len(tokens))) == 0


def generated(context: Any, prompt: Sequence[int], chunk: int) -> Iterator[int]:
    """Greedy tokens behind a prompt, without end; each one but the first costs one decode step."""
    for at in range(0, len(prompt), chunk):
        evaluate(context, prompt[at : at + chunk])
    sampler = lib.llama_sampler_init_greedy()
    try:
        while True:
            token = lib.llama_sampler_sample(sampler, context, -1)
            yield token
            evaluate(context, [token])
    finally:
        lib.llama_sampler_free(sampler)


def tokenize(vocab: Any, text: str) -> list[int]:
    """Tokens of a text without specials."""
    raw = text.encode()
    buffer = (lib.llama_token * (len(raw) + 8))()
    return list(buffer[: lib.llama_tokenize(vocab, raw, len(raw), buffer, len(buffer), False, False)])


def piece(vocab: Any, token: int) -> bytes:
    """Bytes of a token."""
    buffer = ctypes.create_string_buffer(64)
    count = lib.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, False)
    return buffer.raw[:count]


def infill(model: Any, prefix: str, suffix: str, *, chunk: int, count: int, order: str, typed: str) -> str:
    """One greedy completion from nothing."""
    vocab = lib.llama_model_get_vocab(model)
    pre, suf, mid = lib.llama_vocab_fim_pre(vocab), lib.llama_vocab_fim_suf(vocab), lib.llama_vocab_fim_mid(vocab)
    line = prefix.rpartition("\n")[2] if typed == "after" else ""
    lines = prefix.removesuffix(line) if line else prefix
    before, after = [pre, *tokenize(vocab, lines)], [suf, *tokenize(vocab, suffix)]
    prompt = [*(before + after if order == "psm" else after + before), mid, *tokenize(vocab, line)]
    context = make_context(model, chunk=chunk)
    tokens = itertools.islice(generated(context, prompt, chunk), count)
    text = b"".join(
        piece(vocab, token)
        for token in itertools.takewhile(lambda token: not lib.llama_vocab_is_eog(vocab, token), tokens)
    )
    lib.llama_free(context)
    return text.decode("utf-8", "replace")


def speed(context: Any, n_prompt: int, n_decode: int) -> float:
    """Tokens per second of ``n_decode`` single steps behind a prompt of no meaning."""
    lib.llama_memory_clear(lib.llama_get_memory(context), True)
    tokens = generated(context, [index % 1_000 + 5 for index in range(n_prompt)], SPEED_CHUNK)
    next(tokens)
    started = time.perf_counter()
    for _ in range(n_decode):
        next(tokens)
    return n_decode / (time.perf_counter() - started)


def answer_prompts(path: str, chunk: int, count: int, order: str, typed: str) -> None:
    """Complete what is on standard input."""
    model = load(path)
    prompts = json.load(sys.stdin)
    answers = [infill(model, *prompt, chunk=chunk, count=count, order=order, typed=typed) for prompt in prompts]
    json.dump(answers, sys.stdout)


def say(line: object) -> None:
    """Answer whoever started this program."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def answer_speeds(path: str, n_threads: int, n_ctx: int) -> None:
    """Measure until the input ends."""
    context = make_context(load(path), chunk=SPEED_CHUNK, n_ctx=n_ctx, n_threads=n_threads)
    say("ready")
    for line in sys.stdin:
        n_prompt, n_decode = map(int, line.split())
        say(speed(context, n_prompt, n_decode))


def main() -> None:
    """Do what the command line says."""
    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    match sys.argv[1:]:
        case ["infill", path, chunk, count, order, typed]:
            answer_prompts(path, int(chunk), int(count), order, typed)
        case ["speed", path, n_threads, n_ctx]:
            answer_speeds(path, int(n_threads), int(n_ctx))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
