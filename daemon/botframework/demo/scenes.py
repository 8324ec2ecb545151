"""What the demo shows, scene by scene."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from botframework.demo.editor import Editor
    from botframework.demo.spot import Spot

CONTEXT_LINES = 6
"""Shown above and below the cursor."""
CHAT_TOKENS = 96
DEADLINE_MS = 20_000
"""Ten times the default: a demonstration on a busy machine shall be late rather than empty."""
CHAT_STREAM = "demo-chat"
GHOST = "italic bright_black"


class Demo:
    """The scenes, in their order."""

    def __init__(self, editor: Editor, console: Console) -> None:
        self.editor = editor
        self.console = console
        self._fits = console.is_terminal or console.record
        """Whether lines have to fit a width; in a pipe they do not."""
        self._heartbeats = 0
        self._model: dict[str, Any] = {}
        editor.on_notification(self._hear)

    def _hear(self, method: str, _params: Any) -> None:
        if method == "$/botframework/heartbeat":
            self._heartbeats += 1

    def scene(self, title: str, note: str = "") -> None:
        """A heading."""
        self.console.print(f"\n[bold cyan]{escape(title)}[/]" + (f"  [dim]{escape(note)}[/]" if note else ""))

    def say(self, text: str) -> None:
        """A line of markup; in a file or a pipe it stays one line."""
        self.console.print(text, soft_wrap=not self._fits)

    def start(self) -> None:
        """Initialize and wait until the model is there."""
        started = time.perf_counter()
        info = self.editor.begin("botframework demo", {"completion": {"deadlineMs": DEADLINE_MS}})
        ready = time.perf_counter()
        self.scene("botframework --stdio", "started as an editor starts it, LSP over pipes")
        self.say(
            f"{info.get('name', 'daemon')} {info.get('version', '')}  process {self.editor.process.pid}, "
            f"answered [b]initialize[/] after {(ready - started) * 1000:.0f} ms"
        )
        with self.console.status("loading the model …") as status:
            self._model = self.editor.wait_for_model(status.update)
        name, parameters = escape(self._model["name"]), self._model["nParams"] / 1e6
        self.say(f"model [b]{name}[/], {parameters:,.1f} M parameters, ready after {time.perf_counter() - ready:.2f} s")

    def complete(self, spot: Spot) -> None:
        """Ghost text at the spot, then the same again with its first letter typed."""
        uri = spot.uri
        self.editor.notify("textDocument/didOpen", {"textDocument": spot.document})
        self.scene("textDocument/inlineCompletion", f"{spot.path.name}:{spot.line + 1}:{spot.column + 1}")
        if not self._model["canInfill"]:
            self.console.print("[yellow]this model has no fill-in-the-middle tokens: it can only chat[/]")
            return
        where = {"textDocument": {"uri": uri}, "position": spot.position}
        started = time.perf_counter()
        result = self.editor.request("textDocument/inlineCompletion", {**where, "context": {"triggerKind": 1}})
        took = (time.perf_counter() - started) * 1000
        items = result.get("items", []) if isinstance(result, dict) else result or []
        ghost = str(items[0]["insertText"]) if items else ""
        self._show(spot, ghost)
        if not ghost:
            self.console.print("[yellow]nothing was suggested here[/]")
        self.console.print(f"[dim]whole suggestion after {took:.0f} ms; grey text is the model's[/]")
        self._type_on(uri, spot, ghost)

    def _type_on(self, uri: str, spot: Spot, ghost: str) -> None:
        """What one more keystroke costs: the number this project lives by."""
        letter = ghost[:1] if ghost[:1].isprintable() else ""
        position = spot.position
        if letter:
            place = {"start": position, "end": position}
            self.editor.notify(
                "textDocument/didChange",
                {
                    "textDocument": {"uri": uri, "version": 2},
                    "contentChanges": [{"range": place, "text": letter}],
                },
            )
            units = len(letter.encode("utf-16-le", "surrogatepass")) // 2
            position = {"line": position["line"], "character": position["character"] + units}
        answer = self.editor.request("botframework/complete", {"textDocument": {"uri": uri}, "position": position})
        typed = f"{letter!r} typed" if letter else "the same again"
        self._figures(f"[b]{escape(typed)}[/], [b]botframework/complete[/]: ", answer)

    def _show(self, spot: Spot, ghost: str) -> None:
        """The lines around the cursor, the suggestion in place."""
        lines = spot.lines
        first, last = max(0, spot.line - CONTEXT_LINES), min(len(lines), spot.line + CONTEXT_LINES + 1)
        for number in range(first, last):
            text = Text(f"{number + 1:5} │ ", style="dim")
            if number != spot.line:
                text.append(lines[number], style="default not dim")
                self.console.print(text, no_wrap=True, crop=self._fits, overflow="ignore")
                continue
            head, *more = ghost.split("\n")
            text.append(lines[number][: spot.column], style="default not dim")
            text.append(head, style=GHOST)
            for line in more:
                text.append(f"\n      │ {line}", style=GHOST)
            text.append(lines[number][spot.column :], style="default not dim")
            self.console.print(text, no_wrap=True, crop=self._fits, overflow="ignore")

    def chat(self, question: str) -> None:
        """A question, the answer token by token as the progress notifications bring them."""
        self.scene("botframework/chat", "streamed as $/progress")
        self.console.print(f"[b]you[/]    {escape(question)}")
        self.console.print("[b]model[/]  ", end="")
        pieces: list[str] = []

        def stream(method: str, params: Any) -> None:
            if method == "$/progress" and params["token"] == CHAT_STREAM and params["value"].get("kind") == "token":
                pieces.append(params["value"]["text"])
                self.console.print(Text(pieces[-1]), end="", soft_wrap=True)

        with self.editor.listening(stream):
            answer = self.editor.request(
                "botframework/chat",
                {
                    "messages": [{"role": "user", "content": question}],
                    "maxTokens": CHAT_TOKENS,
                    "partialResultToken": CHAT_STREAM,
                },
            )
        self.console.print()
        self._figures(f"{len(pieces)} pieces, ended by {answer.get('finishReason')}: ", answer)

    def _figures(self, lead: str, answer: dict[str, Any]) -> None:
        """Usage and timings of one answer on a line."""
        usage, timings = answer.get("usage") or {}, answer.get("timings") or {}
        tokens, decode_ms = usage.get("completionTokens", 0), timings.get("decodeMs", 0.0)
        speed = f"{tokens / decode_ms * 1000:.0f} tokens/s" if tokens and decode_ms else "no tokens"
        self.say(
            f"{lead}first token after [b]{timings.get('firstTokenMs', 0.0):.1f} ms[/], {speed}, "
            f"[b]{usage.get('evaluatedTokens', 0)}[/] of {usage.get('promptTokens', 0)} prompt tokens evaluated"
        )

    def status(self) -> None:
        """The heartbeat as a table."""
        status = self.editor.request("botframework/status")
        self.scene("$/botframework/heartbeat", f"{self._heartbeats} came in the meantime; this is the last state")
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        for name, value in status.items():
            if value not in (None, ""):
                table.add_row(f"[dim]{escape(name)}[/]", escape(readable(name, value)))
        self.console.print(table)


def readable(name: str, value: Any) -> str:
    """A value of the heartbeat for human eyes: byte counts in MiB, the rest as it is."""
    is_bytes = name.lower().endswith(("used", "total", "rss", "bytes"))
    if is_bytes and isinstance(value, int) and not isinstance(value, bool):
        return f"{value / 2**20:,.0f} MiB"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return shortened(str(value)) if name.lower().endswith(("path", "file")) else str(value)


def shortened(path: str) -> str:
    """A path as people write it: from the package, or from their home."""
    package = Path(__file__).parents[2]
    for start, name in ((package, ""), (Path.home(), "~")):
        with contextlib.suppress(ValueError):
            return str(Path(name) / Path(path).relative_to(start))
    return path
