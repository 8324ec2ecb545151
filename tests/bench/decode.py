"""(c) Tokens per second that reach the LSP client, beside a bare llama.cpp loop on the same file."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from bench.report import Report, Row, spread
from bench.setting import running
from support import bare_llama

if TYPE_CHECKING:
    from bench.setting import Setting
    from botframework.demo.editor import Editor

RATIO = 0.95
N_DECODE = 192
PREFIX = "\n".join(f"def function_{number}(a, b):\n    return a * {number} + b\n" for number in range(6))


def tokens_per_second(editor: Editor, number: int) -> tuple[float, int]:
    """From the first streamed token to the last, as they arrive; and the prompt's length."""
    arrivals: list[float] = []
    indices: list[int] = []
    stream = f"decode-{number}"

    def listen(method: str, params: Any) -> None:
        if method == "$/progress" and params["token"] == stream:
            arrivals.append(time.perf_counter())
            indices.append(params["value"]["index"])

    with editor.listening(listen):
        answer = editor.request(
            "botframework/complete",
            {
                "prefix": PREFIX + f"# {number}\n",
                "maxTokens": N_DECODE,
                "deadlineMs": 120_000,
                "sampling": {"temperature": 0.0},
                "partialResultToken": stream,
            },
        )
    # The end of the answer comes with the last token, which may not make a piece of text of its own.
    arrivals.append(time.perf_counter())
    indices.append(answer["usage"]["completionTokens"] - 1)
    return (indices[-1] - indices[0]) / (arrivals[-1] - arrivals[0]), answer["usage"]["promptTokens"]


def measure(setting: Setting) -> Report:
    """Both in turn; only one of them computes at a time."""
    ours: list[float] = []
    bare: list[float] = []
    with running("--model", str(setting.model)) as (editor, ready):
        command = [sys.executable, bare_llama.__file__, "speed", str(setting.model)]
        command += [str(ready["nThreads"]), str(ready["nCtxFim"])]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert peer.stdin is not None
        assert peer.stdout is not None
        with peer:
            assert peer.stdout.readline().strip() == "ready"
            for number in range(setting.times(10)):
                rate, n_prompt = tokens_per_second(editor, number)
                peer.stdin.write(f"{n_prompt} {N_DECODE}\n")
                peer.stdin.flush()
                bare.append(float(peer.stdout.readline()))
                ours.append(rate)
            peer.stdin.close()
    ratio = statistics.median(ours) / statistics.median(bare)
    row = Row(
        "decode, greedy, seen by the client",
        spread(ours, "tokens/s"),
        spread(bare, "tokens/s"),
        ratio,
        f">= {RATIO}",
        ratio >= RATIO,
    )
    return Report("c", "decoding", "bare llama.cpp loop", [row], f"{setting.model_name}, {ready['nThreads']} thread(s)")
