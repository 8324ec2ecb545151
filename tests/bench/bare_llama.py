"""The peer of decoding: llama.cpp's low-level API in a plain loop, one greedy token after the other.

Started with MODEL N_THREADS N_CTX; reads ``PROMPT_TOKENS N_DECODE`` lines, answers each with tokens per second.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

import llama_cpp.llama_cpp as lib


def make_context(path: str, n_threads: int, n_ctx: int) -> tuple[Any, Any]:
    """A model and a context as the worker makes its own, without anything around them."""
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    params = lib.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = params.n_ubatch = 64
    params.n_threads = params.n_threads_batch = n_threads
    params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.no_perf = True
    return model, lib.llama_init_from_model(model, params)


def decode(context: Any, sampler: Any, n_prompt: int, n_decode: int) -> float:
    """Tokens per second of ``n_decode`` single steps behind a prompt."""
    lib.llama_memory_clear(lib.llama_get_memory(context), True)
    for start in range(0, n_prompt, 64):
        count = min(64, n_prompt - start)
        chunk = (lib.llama_token * count)(*((start + index) % 1_000 + 5 for index in range(count)))
        assert lib.llama_decode(context, lib.llama_batch_get_one(chunk, count)) == 0
    one = (lib.llama_token * 1)(lib.llama_sampler_sample(sampler, context, -1))
    started = time.perf_counter()
    for _ in range(n_decode):
        assert lib.llama_decode(context, lib.llama_batch_get_one(one, 1)) == 0
        one[0] = lib.llama_sampler_sample(sampler, context, -1)
    return n_decode / (time.perf_counter() - started)


def main() -> None:
    """Answer until the input ends."""
    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    path, n_threads, n_ctx = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, context = make_context(path, n_threads, n_ctx)
    sampler = lib.llama_sampler_init_greedy()
    print("ready", flush=True)
    for line in sys.stdin:
        n_prompt, n_decode = map(int, line.split())
        print(decode(context, sampler, n_prompt, n_decode), flush=True)


if __name__ == "__main__":
    main()
