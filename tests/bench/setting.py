"""What every benchmark needs: how thorough to be, which model, and a daemon to talk to."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botframework.demo.editor import Editor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
CACHE = HERE.parent / "artefacts"
EMBEDDED = HERE.parents[1] / "daemon" / "botframework" / "embedded" / "model.gguf"
LOAD_DEADLINE_S = 120.0
SOURCE_TREE = (sys.executable, "-P", "-m", "botframework")
"""The program as it runs here; (m) has others."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How to measure."""

    model: Path
    model_name: str
    quick: bool = False
    """A tenth of the repetitions: to see that the benchmark works, not what it says."""
    corpus: Path | None = None
    """Where ``packaging/embedded_model/corpus.py`` put its files; None takes others that the model has not seen."""
    holes: int = 0
    """How many for (q); 0 takes its own number."""

    def times(self, count: int) -> int:
        """How often to repeat."""
        return max(3, count // 10) if self.quick else count


def daemon_command(*more: str, program: Sequence[str] = SOURCE_TREE) -> list[str]:
    """How an editor starts the daemon."""
    return [*program, "--stdio", f"--clientProcessId={os.getpid()}", *more]


def initialize(editor: Editor, root_uri: str | None = None) -> Any:
    """The first request of every session."""
    capabilities = {"window": {"workDoneProgress": True}, "textDocument": {"inlineCompletion": {}}}
    return editor.request("initialize", {"processId": os.getpid(), "rootUri": root_uri, "capabilities": capabilities})


@contextlib.contextmanager
def running(
    *more: str, root_uri: str | None = None, program: Sequence[str] = SOURCE_TREE
) -> Iterator[tuple[Editor, dict[str, Any]]]:
    """A daemon with its model loaded, and what it said about the model."""
    editor = Editor(daemon_command(*more, program=program))
    try:
        initialize(editor, root_uri)
        editor.notify("initialized", {})
        ready: list[dict[str, Any]] = []

        def loaded(message: dict[str, Any]) -> bool:
            if message.get("method") == "$/botframework/modelReady":
                ready.append(message["params"])
            return bool(ready)

        editor.wait(loaded, LOAD_DEADLINE_S, "the model")
        yield editor, ready[0]
    finally:
        editor.stop()


def timed(editor: Editor, method: str, params: Any) -> tuple[float, Any]:
    """Milliseconds that a request took as its client saw it, and the result."""
    started = time.perf_counter()
    result = editor.request(method, params)
    return (time.perf_counter() - started) * 1000, result
