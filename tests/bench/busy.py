"""(f) The first token of a completion while another process keeps one core busy."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from bench.report import Report, Row, spread
from bench.setting import running, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.setting import Setting
    from botframework.demo.editor import Editor

PATIENCE_MS = 60_000
"""The first key reads the whole window, which takes longer than an editor would wait."""
NOTICED_MS = 500.0
"""A key that takes longer has been noticed by whoever types; percentiles hide how long."""
URI = "file:///bench/typed.py"
SOURCE = "".join(f"def function_{number}(a, b):\n    return a * {number} + b\n\n\n" for number in range(40))
TYPED = """\
def total(values, start=0):
    result = start
    for value in values:
        result += value
    return result
"""


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another process that never rests."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Typist:
    """Types a text into an open document and asks for a suggestion after every key."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._version = 1

    def open(self) -> None:
        """Show the document."""
        document = {"uri": URI, "languageId": "python", "version": 1, "text": SOURCE}
        self._editor.notify("textDocument/didOpen", {"textDocument": document})

    def type(self, count: int) -> list[tuple[float, dict[str, Any]]]:
        """Type that many keys; what each request took, and its answer."""
        line, character = SOURCE.count("\n"), 0
        answers = []
        for key in (TYPED * (count // len(TYPED) + 1))[:count]:
            self._version += 1
            place = {"line": line, "character": character}
            change = {"range": {"start": place, "end": place}, "text": key}
            identifier = {"uri": URI, "version": self._version}
            self._editor.notify("textDocument/didChange", {"textDocument": identifier, "contentChanges": [change]})
            line, character = (line + 1, 0) if key == "\n" else (line, character + 1)
            where: dict[str, object] = {
                "textDocument": {"uri": URI},
                "position": {"line": line, "character": character},
            }
            answers.append(
                timed(
                    self._editor,
                    "botframework/complete",
                    {**where, "session": URI, "maxTokens": 4, "deadlineMs": PATIENCE_MS},
                )
            )
        self._editor.notify("textDocument/didClose", {"textDocument": {"uri": URI}})
        return answers


def slow(waits: list[float]) -> str:
    """How many of these milliseconds were noticed."""
    return f"{sum(wait > NOTICED_MS for wait in waits)}, {max(waits):.0f} ms"


def measure(setting: Setting) -> Report:
    """The same keys on the machine as it is and with one core taken."""
    found = {}
    with running("--model", str(setting.model)) as (editor, ready):
        for name in ("idle", "busy"):
            typist = Typist(editor)
            typist.open()
            with busy_core() if name == "busy" else contextlib.nullcontext():
                found[name] = typist.type(setting.times(200))
            editor.request("botframework/sessions/close", {"session": URI})
    first = {name: [answer["timings"]["firstTokenMs"] for _, answer in answers] for name, answers in found.items()}
    evaluated = [answer["usage"]["evaluatedTokens"] for _, answer in found["busy"]]
    seen = {name: [took for took, _ in answers] for name, answers in found.items()}
    ratio = statistics.median(first["busy"]) / statistics.median(first["idle"])
    rows = [
        Row("first token, one core busy", spread(first["busy"]), spread(first["idle"]), ratio),
        Row(
            "four tokens at the client",
            spread(seen["busy"]),
            spread(seen["idle"]),
            statistics.median(seen["busy"]) / statistics.median(seen["idle"]),
        ),
        Row(f"keys beyond {NOTICED_MS:.0f} ms, and the worst", slow(seen["busy"]), slow(seen["idle"])),
        Row(
            "prompt tokens evaluated per key",
            f"{statistics.median(evaluated):.0f} (mean {statistics.mean(evaluated):.1f})",
        ),
    ]
    note = f"{setting.model_name}, {ready['nThreads']} thread(s), a suggestion after every key"
    return Report("f", "another process takes a core", "the same, idle machine", rows, note)
