"""How long the llama.cpp calls alone take that a key needs; a program.

``python -m bench.keystrokes.bare_calls MODEL N_THREADS N_CTX`` says ``ready`` and answers each line ``BEHIND COUNT``:
the milliseconds of one llama_decode of COUNT tokens behind so many others, with one greedy sample of its logits. More
than a micro-batch takes several calls, as in the worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as lib

from support.bare_llama import evaluate, load, make_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 64
"""Tokens of a micro-batch, as in the worker's completion context."""
TIMES = 5
ROUND_TO = 64
"""Cells behind which a call is measured: it makes no difference whether there are 1,000 or 1,030."""
SEQUENCE = 0


class Bare:
    """A context and what it holds."""

    def __init__(self, path: str, n_threads: int, n_ctx: int) -> None:
        self._context = make_context(load(path), chunk=CHUNK, n_ctx=n_ctx, n_threads=n_threads)
        self._memory: Any = lib.llama_get_memory(self._context)
        self._sampler: Any = lib.llama_sampler_init_greedy()
        self._held = 0

    def fill(self, count: int) -> None:
        """Hold exactly so many tokens."""
        lib.llama_memory_seq_rm(self._memory, SEQUENCE, count, -1)
        self._held = min(self._held, count)
        self._read(count - self._held)

    def _read(self, count: int) -> None:
        for start in range(0, count, CHUNK):
            evaluate(self._context, [(self._held + index) % 1_000 + 5 for index in range(min(CHUNK, count - start))])
            self._held += min(CHUNK, count - start)

    def milliseconds(self, behind: int, count: int) -> float:
        """The median of some tries."""
        tries = []
        for _ in range(TIMES):
            self.fill(behind)
            started = time.perf_counter()
            self._read(count)
            lib.llama_sampler_sample(self._sampler, self._context, -1)
            tries.append((time.perf_counter() - started) * 1000)
        return statistics.median(tries)


@contextlib.contextmanager
def measuring(model: Path, n_threads: int, n_ctx: int) -> Iterator[Callable[[int, int], float]]:
    """Ask the program from another one, which then needs no llama.cpp; every question is measured once."""
    command = [sys.executable, "-m", "bench.keystrokes.bare_calls", str(model), str(n_threads), str(n_ctx)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    known: dict[tuple[int, int], float] = {}

    def ask(behind: int, count: int) -> float:
        question = (max(1, round(behind / ROUND_TO)) * ROUND_TO, count)
        if question not in known:
            stdin.write("{} {}\n".format(*question))
            stdin.flush()
            known[question] = float(stdout.readline())
        return known[question]

    with process:
        assert stdout.readline().strip() == "ready"
        yield ask
        stdin.close()


def main() -> None:
    """Answer until the input ends."""
    silent = lib.llama_log_callback(lambda *_: None)
    lib.llama_log_set(silent, ctypes.c_void_p(0))
    path, n_threads, n_ctx = sys.argv[1:]
    bare = Bare(path, int(n_threads), int(n_ctx))
    print("ready", flush=True)
    for line in sys.stdin:
        behind, count = map(int, line.split())
        print(bare.milliseconds(behind, count), flush=True)


if __name__ == "__main__":
    main()
