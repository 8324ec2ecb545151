"""``botframework complete``: the ghost text of one place, as an editor would show it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.cli import command, exits
from botframework.cli.documents import Completion
from botframework.errors import InvalidParams, ModelCannotInfill

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from botframework.cli.terminal import Terminal
    from botframework.demo.editor import Editor
    from botframework.demo.spot import Spot

DEADLINE_MS = 20_000
"""Ten times what an editor grants: whoever types a command waits for its answer."""
STDIN = "-"
_AT = re.compile(r"(?P<line>\d+)(?::(?P<column>\d+))?")


def main(arguments: Sequence[str]) -> int:
    """Print the suggestion for a place in a file or in standard input."""
    parser = command.make_parser(
        "complete",
        "Print the ghost text for a place in a file, as an editor would show it. Nothing is printed where an editor\n"
        "would show nothing; the reason goes to standard error.",
        epilog="A place is FILE:LINE:COL, both numbers from 1, without COL the end of the line. For a text on\n"
        "standard input it is -, the end of the text, or with --at a place in it. The file is only read.",
    )
    parser.add_argument("place", metavar="FILE:LINE:COL", help="where the cursor stands")
    parser.add_argument("--at", metavar="LINE:COL", help="where in standard input")
    parser.add_argument("--name", metavar="FILE", default="stdin.py", help="what standard input is called (stdin.py)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="at most so many")
    command.add_settings(parser)
    return command.run(parser, arguments, _complete)


def _complete(options: argparse.Namespace, terminal: Terminal) -> int:
    from botframework.cli import client

    with client.in_our_words():
        spot = _spot(options)
    defaults: dict[str, object] = {"completion.deadlineMs": DEADLINE_MS}
    if options.max_tokens is not None:
        defaults |= _as_setting(options.max_tokens)
    with client.daemon(options, terminal, "fim", defaults) as (editor, model):
        if not model["canInfill"]:
            raise ModelCannotInfill(
                f"the model {model['name']} has no fill-in-the-middle tokens and cannot complete code; "
                "`botframework models recommend` names some that can"
            )
        with terminal.waiting("completing …"):
            found = _ask(editor, spot, model["name"])
    terminal.document(found)
    if found.text:
        terminal.stream(found.text if found.text.endswith("\n") else found.text + "\n")
    else:
        terminal.note(f"nothing was suggested here: {found.reason}")
    return exits.DONE


def _ask(editor: Editor, spot: Spot, model: str) -> Completion:
    where = {"textDocument": {"uri": spot.uri}, "position": spot.position}
    editor.notify("textDocument/didOpen", {"textDocument": spot.document})
    started = time.perf_counter()
    # 1: the user asked for it.
    result = editor.request("textDocument/inlineCompletion", {**where, "context": {"triggerKind": 1}})
    total_ms = (time.perf_counter() - started) * 1000
    items = (result.get("items") if isinstance(result, dict) else result) or []
    told = editor.request("botframework/inspect", {"textDocument": {"uri": spot.uri}})
    return Completion(
        text=items[0]["insertText"] if items else "",
        range=items[0].get("range") if items else None,
        reason=": ".join(part for part in (told["reason"], told["detail"]) if part),
        model=model,
        total_ms=round(total_ms, 1),
        timings=told["timings"],
    )


def _as_setting(max_tokens: int) -> dict[str, object]:
    from botframework import config

    wanted: dict[str, object] = {"completion.maxTokens": max_tokens}
    for problem in config.merge([config.Layer(config.Source.COMMAND_LINE, wanted)]).problems:
        raise InvalidParams(f"--max-tokens {max_tokens}: {problem.message}")
    return wanted


def _spot(options: argparse.Namespace) -> Spot:
    from botframework.demo.spot import parse_spot, spot_in

    if options.place != STDIN:
        if options.at is not None:
            raise InvalidParams(f"--at is for standard input; a place in a file is {options.place}:{options.at}")
        return parse_spot(options.place)
    found = _AT.fullmatch(options.at) if options.at is not None else None
    if options.at is not None and found is None:
        raise InvalidParams(f"--at {options.at!r} is not LINE:COL")
    text = command.read_stdin()
    line = int(found["line"]) if found is not None else len(text.split("\n"))
    column = int(found["column"]) if found is not None and found["column"] else None
    return spot_in(Path(options.name), text, line, column)
