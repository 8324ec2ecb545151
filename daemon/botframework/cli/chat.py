"""``botframework chat``: a conversation on the terminal.

Answers are streamed. Ctrl-C stops an answer, and the part that is there stays in the conversation; Ctrl-D leaves.
Nothing that is said is written to disk: the conversation and the lines to go back to live as long as the command.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botframework.cli import command, exits
from botframework.cli.documents import Answer
from botframework.errors import InvalidParams

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from botframework.cli.terminal import Terminal
    from botframework.demo.editor import Editor

PROMPT = "> "
MORE = "… "
STREAM = "chat"
SESSION = "chat"
"""The daemon keeps under this name what the model has read, so each turn reads only what is new."""
HELP = """\
/new     begin a new conversation
/system  what the model is told before the conversation: /system Answer briefly.
/help    this list
/exit    leave, as Ctrl-D does
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer."""


@dataclass
class Conversation:
    """What was said so far."""

    editor: Editor
    terminal: Terminal
    model: str
    max_tokens: int | None
    messages: list[dict[str, str]] = field(default_factory=list)

    def begin(self, system: str | None) -> None:
        """Forget everything; ``system`` is what the model is told first, None: what the settings say."""
        self.messages = [] if system is None else [{"role": "system", "content": system}]

    def ask(self, question: str) -> Answer:
        """Ask, show the answer as it comes, and remember both.

        Raises
        ------
        RequestFailed
            There is no answer; the question is not remembered.
        """
        from botframework.demo.editor import RequestFailed

        pieces: list[str] = []

        def hear(method: str, params: Any) -> None:
            if method == "$/progress" and params["token"] == STREAM and params["value"].get("kind") == "token":
                pieces.append(params["value"]["text"])
                self.terminal.stream(pieces[-1])

        messages = [*self.messages, {"role": "user", "content": question}]
        params: dict[str, Any] = {"messages": messages, "session": SESSION, "partialResultToken": STREAM}
        if self.max_tokens is not None:
            params["maxTokens"] = self.max_tokens
        result: dict[str, Any] = {"finishReason": "cancelled"}
        with self.editor.listening(hear):
            try:
                result = self.editor.request("botframework/chat", params, deadline_s=None, is_stoppable=True)
            except RequestFailed as error:
                if not error.is_cancelled:
                    raise
        text = "".join(pieces)
        self.terminal.stream("" if text.endswith("\n") else "\n")
        if text:
            self.messages = [*messages, {"role": "assistant", "content": text}]
        return Answer(
            text=text,
            finish_reason=result["finishReason"],
            model=self.model,
            dropped_messages=result.get("droppedMessages", 0),
            usage=result.get("usage"),
            timings=result.get("timings"),
        )


def main(arguments: Sequence[str]) -> int:
    """Talk, or answer one question."""
    parser = command.make_parser(
        "chat",
        "Talk with the model. With a QUESTION, or one on standard input, there is one answer and the command ends.",
        epilog=HELP,
    )
    parser.add_argument("question", nargs="*", metavar="QUESTION", help="one question, instead of a conversation")
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="of one answer, at most")
    command.add_settings(parser)
    return command.run(parser, arguments, _chat)


def _chat(options: argparse.Namespace, terminal: Terminal) -> int:
    from botframework.cli import client

    is_conversation = not options.question and sys.stdin.isatty() and (terminal.as_json or terminal.out.isatty())
    if is_conversation and terminal.as_json:
        raise InvalidParams("--json needs the question as an argument or on standard input")
    question = "" if is_conversation else " ".join(options.question) or command.read_stdin()
    if not is_conversation and not question.strip():
        raise InvalidParams("there is no question")
    with client.daemon(options, terminal, "chat", {}) as (editor, model):
        talk = Conversation(editor, terminal, model["name"], options.max_tokens)
        talk.begin(options.system)
        if is_conversation:
            _converse(talk)
            return exits.DONE
        answer = talk.ask(question)
    terminal.document(answer)
    return exits.INTERRUPTED if answer.finish_reason == "cancelled" else exits.DONE


def _converse(talk: Conversation) -> None:
    from botframework.demo.editor import RequestFailed

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - lines can be edited and gone back to once it is loaded; Windows has none
    talk.terminal.note(f"{talk.model}. Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands.")
    while (said := _next_line()) is not None:
        if not said.strip():
            continue
        if said.startswith("/"):
            if not _obey(talk, said.strip()):
                return
            continue
        try:
            answer = talk.ask(said)
        except RequestFailed as error:
            talk.terminal.note(f"{error.reason}", "red")
        else:
            talk.terminal.note(_figures(answer))


def _next_line() -> str | None:
    """What the user says next; None: nothing any more."""
    lines: list[str] = []
    while True:
        try:
            lines.append(input(MORE if lines else PROMPT))
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            # As a shell: the line is given up.
            print()
            lines = []
            continue
        if not lines[-1].endswith("\\"):
            return "\n".join(lines)
        lines[-1] = lines[-1][:-1]


def _obey(talk: Conversation, words: str) -> bool:
    """Carry a command out; False: it was the last one."""
    name, _, rest = words.partition(" ")
    match name:
        case "/exit" | "/quit":
            return False
        case "/new":
            first = talk.messages[:1]
            talk.begin(first[0]["content"] if first and first[0]["role"] == "system" else None)
            talk.terminal.note("a new conversation")
        case "/system":
            talk.begin(rest.strip() or None)
            talk.terminal.note("a new conversation" + (", and the model is told so" if rest.strip() else ""))
        case "/help":
            talk.terminal.note(HELP)
        case _:
            talk.terminal.note(f"there is no command {name}; /help lists them", "yellow")
    return True


def _figures(answer: Answer) -> str:
    """What the answer cost, and what was left out of it."""
    if answer.finish_reason == "cancelled":
        return "stopped"
    usage, timings = answer.usage or {}, answer.timings or {}
    tokens, decode_ms = usage.get("completionTokens", 0), timings.get("decodeMs", 0.0)
    words = [f"{tokens} tokens"]
    if tokens and decode_ms:
        words.append(f"{tokens / decode_ms * 1000:.0f} tokens/s")
    words.append(f"first one after {timings.get('firstTokenMs', 0.0) / 1000:.2f} s")
    if answer.finish_reason in {"length", "deadline"}:
        words.append("cut short at " + ("chat.maxTokens" if answer.finish_reason == "length" else "chat.deadlineMs"))
    if answer.dropped_messages:
        words.append(f"the oldest {answer.dropped_messages} messages did not fit and were left out")
    return ", ".join(words)
