"""Every call of llama_decode that a worker makes, written down by the worker itself for tests that count tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.worker.llama import DecodeStatus

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "CALL_TRACE"
"""Names the file."""

TRACING = """
import os
from botframework.worker import llama
trace = open(os.environ["CALL_TRACE"], "a", buffering=1)
def traced(name, count):
    really = getattr(llama.Context, name)
    def call(self, *arguments, **options):
        status = really(self, *arguments, **options)
        trace.write(f"{name} {self.n_cells} {count(*arguments)} {status.name}\\n")
        return status
    setattr(llama.Context, name, call)
traced("decode_chunk", lambda sequence, start, tokens: len(tokens))
traced("decode_rows", lambda rows: len(rows))
"""
"""Runs in the worker before anything else (``worker_process(code=...)``)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    is_prompt: bool
    """A micro-batch of one prompt; else a step with a token for each of several sequences."""
    n_cells: int
    """Of the context, which tells the two apart."""
    tokens: int
    status: DecodeStatus


class CallTrace:
    """What was written down since the model was loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._skipped = 0
        path.touch()

    @property
    def environment(self) -> dict[str, str]:
        """For the worker."""
        return {VARIABLE: str(self._path)}

    def begin(self) -> None:
        """Forget what was: measuring at load, and whatever else came before."""
        self._skipped = len(self._lines())

    def calls(self, n_cells: int | None = None) -> list[Call]:
        """All calls, or those of one context."""
        found = []
        for line in self._lines()[self._skipped :]:
            name, cells, tokens, status = line.split()
            found.append(Call(name == "decode_chunk", int(cells), int(tokens), DecodeStatus[status]))
        return [call for call in found if n_cells in (None, call.n_cells)]

    def prompt_tokens(self, n_cells: int | None = None) -> int:
        """Tokens of prompts that were read, without what was given up."""
        return sum(c.tokens for c in self.calls(n_cells) if c.is_prompt and c.status is DecodeStatus.DONE)

    def discarded(self, n_cells: int | None = None) -> list[int]:
        """The tokens of each call that was ended early."""
        return [call.tokens for call in self.calls(n_cells) if call.status is DecodeStatus.ABORTED]

    def _lines(self) -> list[str]:
        return [line for line in self._path.read_text().splitlines(keepends=True) if line.endswith("\n")]
