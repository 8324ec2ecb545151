"""llama.cpp alone, as a program: greedy infills with the low-level API and nothing of ours.

Usage: ``bare_llama.py MODEL CHUNK COUNT psm|spm before|after``; the last word says on which side of the middle's mark
the typed part of the line stands. Standard input is a JSON list of [prefix, suffix], standard output a
JSON list of the texts.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

import llama_cpp.llama_cpp as lib


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


def make_context(model: Any, chunk: int, n_seq: int = 4, n_ctx: int = 2_048) -> Any:
    """Make a context with the parameters that the worker uses."""
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_seq_max = n_ctx, n_seq
    params.n_batch = params.n_ubatch = chunk
    params.n_threads = params.n_threads_batch = 1
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.kv_unified = params.swa_full = True
    context = lib.llama_init_from_model(model, params)
    assert context
    return context


def decode(context: Any, tokens: list[int]) -> None:
    """Append tokens to the only sequence."""
    array = (lib.llama_token * len(tokens))(*tokens)  # A batch only points to it.
    assert lib.llama_decode(context, lib.llama_batch_get_one(array, len(tokens))) == 0


def infill(model: Any, prefix: str, suffix: str, *, chunk: int, count: int, order: str, typed: str) -> str:
    """One greedy completion from nothing."""
    vocab = lib.llama_model_get_vocab(model)
    pre, suf, mid = lib.llama_vocab_fim_pre(vocab), lib.llama_vocab_fim_suf(vocab), lib.llama_vocab_fim_mid(vocab)
    line = prefix.rpartition("\n")[2] if typed == "after" else ""
    lines = prefix.removesuffix(line) if line else prefix
    before, after = [pre, *tokenize(vocab, lines)], [suf, *tokenize(vocab, suffix)]
    tokens = [*(before + after if order == "psm" else after + before), mid, *tokenize(vocab, line)]
    context = make_context(model, chunk)
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_greedy())
    for at in range(0, len(tokens), chunk):
        decode(context, tokens[at : at + chunk])
    text = b""
    for _ in range(count):
        token = lib.llama_sampler_sample(chain, context, -1)
        if lib.llama_vocab_is_eog(vocab, token):
            break
        text += piece(vocab, token)
        decode(context, [token])
    lib.llama_sampler_free(chain)
    lib.llama_free(context)
    return text.decode("utf-8", "replace")


def main() -> None:
    """Answer the prompts on standard input."""
    path, chunk, count, order, typed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    assert model
    prompts = json.load(sys.stdin)
    answers = [infill(model, *prompt, chunk=chunk, count=count, order=order, typed=typed) for prompt in prompts]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
