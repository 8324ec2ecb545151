"""The same keys through the real daemon and to the peer, with one clock.

At every key ``textDocument/didChange`` is written and the request follows at once; the key's clock starts before
``didChange`` is written. The next key comes when its time has come and the one before is answered: one request at a
time, on both sides. There are two ways to ask the daemon:

* ``botframework/complete`` with a ``partialResultToken`` and twelve tokens, greedy. An inline completion is answered as
  a whole, so only a streamed answer shows a client when the first token was there; and only here does a client say how
  many tokens it wants, so that both sides write a line of the same length. It uses the same session, the same prefill
  and the same scheduler as ghost text.
* ``textDocument/inlineCompletion``, as an editor asks, with the default settings but for ``completion.maxTokens``,
  because a model of random weights ends no line by itself: the tokens that everything around a suggestion costs,
  prefetch included.

Tokens are those of ``botframework/status``, read after every answer: prompt tokens that the worker passed to
llama_decode since the key before, and among them those of background work. The peer's are ``timings.prompt_n``; nothing
is asked of it between keys, where it would do nothing, so its session is played without the pauses.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.keystrokes import llama_vscode
from bench.keystrokes.sources import language_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.keystrokes.llama_server import Server
    from bench.keystrokes.retyping import Kind
    from bench.keystrokes.trace import Key, Trace
    from botframework.demo.editor import Editor

LINE_TOKENS = 12
PATIENCE_MS = 120_000
"""No deadline may cut an answer short here: a slow machine shall be seen as slow."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one key cost. Milliseconds of the client's clock."""

    kind: Kind
    first_ms: float
    """To the first token; of an inline completion to the answer."""
    total_ms: float
    evaluated: int
    """Prompt tokens that somebody waited for."""
    background: int = 0
    prompt: int = 0
    """Tokens of the whole prompt."""
    first_index: int = 0
    """Number of the first token with text: each one before took a decode of its own."""
    generated: int = 0
    is_shown: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What the worker had done at a moment."""

    read: int
    background: int
    generated: int


def position(text: str, offset: int) -> dict[str, int]:
    """The LSP's position of an offset."""
    start = text.rfind("\n", 0, offset) + 1
    return {"line": text.count("\n", 0, offset), "character": len(text[start:offset].encode("utf-16-le")) // 2}


class Desk:
    """The documents of a session as the editor has them."""

    def __init__(self, editor: Editor, trace: Trace, root: str) -> None:
        self.editor = editor
        self.texts = list(trace.texts)
        self._names = trace.names
        self._root = root
        self._versions: dict[int, int] = {}

    def uri(self, number: int) -> str:
        """Where a document is."""
        return f"{self._root}/{number}/{self._names[number]}"

    def show(self, number: int) -> None:
        """Open a document if it is not open."""
        if number in self._versions:
            return
        self._versions[number] = 1
        document = {"uri": self.uri(number), "languageId": language_of(self._names[number]), "version": 1}
        self.editor.notify("textDocument/didOpen", {"textDocument": {**document, "text": self.texts[number]}})

    def press(self, key: Key) -> tuple[dict[str, Any], dict[str, Any]]:
        """Carry out a key here; the ``didChange`` to write and the position to ask for."""
        number, edit = key.document, key.edit
        before = self.texts[number]
        self._versions[number] += 1
        self.texts[number] = after = edit.applied_to(before)
        place = {"start": position(before, edit.start), "end": position(before, edit.end)}
        change = {
            "textDocument": {"uri": self.uri(number), "version": self._versions[number]},
            "contentChanges": [{"range": place, "text": edit.text}],
        }
        return change, {"textDocument": {"uri": self.uri(number)}, "position": position(after, key.cursor)}

    def counts(self) -> Counts:
        """Ask the worker."""
        status = self.editor.request("botframework/status")
        return Counts(status["promptTokensRead"], status["backgroundTokensRead"], status["tokensGenerated"])


def paced(trace: Trace, desk: Desk) -> Iterator[Key]:
    """The keys of a session, each at its time; a file is opened as soon as the person turns to it."""
    due = time.monotonic()
    for key in trace.keys:
        desk.show(key.document)
        due += key.delay_ms / 1000
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due, time.monotonic())  # A late answer does not make the next keys come faster.
        yield key


def complete_line(editor: Editor, change: dict[str, Any], place: dict[str, Any], token: str) -> dict[str, Any]:
    """Write a change, ask for a line and follow its stream: the result, with the client's clock under ``clock``."""
    pieces: list[tuple[float, int]] = []

    def listen(method: str, params: Any) -> None:
        if method == "$/progress" and params["token"] == token:
            pieces.append((time.perf_counter(), params["value"]["index"]))

    params = {
        **place,
        "maxTokens": LINE_TOKENS,
        "deadlineMs": PATIENCE_MS,
        "sampling": {"temperature": 0.0},
        "partialResultToken": token,
    }
    with editor.listening(listen):
        started = time.perf_counter()
        editor.notify("textDocument/didChange", change)
        result: dict[str, Any] = editor.request("botframework/complete", params)
        ended = time.perf_counter()
    first, index = pieces[0] if pieces else (ended, 0)
    result["clock"] = ((first - started) * 1000, (ended - started) * 1000, index)
    return result


def replay_complete(trace: Trace, desk: Desk) -> list[Answer]:
    """Play a session with ``botframework/complete``."""
    answers = []
    before = desk.counts()
    for number, key in enumerate(paced(trace, desk)):
        change, place = desk.press(key)
        result = complete_line(desk.editor, change, place, f"key-{number}")
        after = desk.counts()
        first_ms, total_ms, index = result["clock"]
        background = after.background - before.background
        answers.append(
            Answer(
                key.kind,
                first_ms,
                total_ms,
                after.read - before.read - background,
                background,
                result["usage"]["promptTokens"],
                index,
                result["usage"]["completionTokens"],
            )
        )
        before = after
    return answers


def replay_inline(trace: Trace, desk: Desk) -> list[Answer]:
    """Play a session with ``textDocument/inlineCompletion``."""
    answers = []
    before = desk.counts()
    for key in paced(trace, desk):
        change, place = desk.press(key)
        started = time.perf_counter()
        desk.editor.notify("textDocument/didChange", change)
        result = desk.editor.request("textDocument/inlineCompletion", {**place, "context": {"triggerKind": 2}})
        total_ms = (time.perf_counter() - started) * 1000
        after = desk.counts()
        background = after.background - before.background
        evaluated = after.read - before.read - background
        generated = after.generated - before.generated
        is_shown = bool(result["items"])
        answers.append(
            Answer(key.kind, total_ms, total_ms, evaluated, background, generated=generated, is_shown=is_shown)
        )
        before = after
    return answers


def replay_peer(trace: Trace, server: Server, progress: Callable[[], None] = lambda: None) -> list[Answer]:
    """Play a session with the peer; a key at which the plugin would not ask has no answer."""
    texts = list(trace.texts)
    answers = []
    for key in trace.keys:
        text = texts[key.document] = key.edit.applied_to(texts[key.document])
        if not llama_vscode.asks(text, key.cursor):
            continue
        got = server.infill(llama_vscode.infill_request(text, key.cursor, LINE_TOKENS))
        prompt = got.evaluated + got.cached
        answers.append(
            Answer(key.kind, got.first_ms, got.total_ms, got.evaluated, prompt=prompt, generated=got.generated)
        )
        progress()
    return answers
