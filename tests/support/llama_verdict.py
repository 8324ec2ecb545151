"""Asks the real llama.cpp about model files: loads each, makes a context, decodes a few tokens.

Run as a program it reads one path a line and answers one verdict a line: ``loaded``, ``refused``, ``signal N``.
Every file is tried in a fork of its own, so that a death costs one fork and not an import of llama_cpp.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS_PER_FILE = 10
"""A load that takes longer is a hang; SIGALRM ends it."""


@contextmanager
def llama() -> Iterator[Callable[[Path], str]]:
    """A function from path to llama.cpp's verdict."""
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    command = [sys.executable, __file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as process:

        def ask(path: Path) -> str:
            assert process.stdin
            assert process.stdout
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        try:
            yield ask
        finally:
            process.kill()


def _try(path: str) -> int:
    from llama_cpp import llama_cpp

    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    if not model:
        return 1
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = 256
    params.n_threads = params.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        return 1
    tokens = (llama_cpp.llama_token * 4)(65, 66, 67, 68)
    return 0 if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, 4)) == 0 else 1


def _main() -> None:
    import signal

    from llama_cpp import llama_cpp

    llama_cpp.llama_backend_init()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.alarm(SECONDS_PER_FILE)
            os._exit(_try(line.rstrip("\n")))
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        answer = f"signal {-code}" if code < 0 else ("loaded", "refused")[code]
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
