"""What every command has in common: its arguments, and how it ends."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from botframework.cli import exits
from botframework.cli.terminal import Terminal
from botframework.errors import BotframeworkError, InvalidParams, ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.config import Settings


def make_parser(name: str, description: str, *, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of ``botframework NAME``, with ``--json``."""
    parser = argparse.ArgumentParser(
        prog=f"botframework {name}",
        description=description,
        epilog=epilog or None,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_json(parser, is_asked=False)
    return parser


def add_json(parser: argparse.ArgumentParser, *, is_asked: bool | str = argparse.SUPPRESS) -> None:
    """Add ``--json``; below another parser that has it nothing is said by default, or it would unsay the other's."""
    parser.add_argument(
        "--json", dest="as_json", action="store_true", default=is_asked, help="one JSON document on standard output"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that change settings, as ``--stdio`` has them."""
    parser.add_argument(
        "--model", metavar="FILE", help="a GGUF file, or the name of a pulled model, to be used instead"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, such as models.folder=~/gguf"
    )


def run(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str],
    work: Callable[[argparse.Namespace, Terminal], int],
) -> int:
    """Do the work of a command; its exit code, whatever happens."""
    options = parser.parse_args(arguments)
    terminal = Terminal(as_json=options.as_json)
    try:
        try:
            _name_model(options)
            code = work(options, terminal)
        except BotframeworkError as error:
            terminal.fail(error)
            code = exits.FAILED
        terminal.out.flush()
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        _leave_output()
        return exits.BROKEN_PIPE
    except OSError as error:
        _leave_output()
        with contextlib.suppress(OSError):
            print(f"botframework: {error}", file=terminal.err)
        return exits.FAILED
    return code


def _leave_output() -> None:
    """Write nothing more to standard output: Python flushes once more when it ends, and would complain."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _name_model(options: argparse.Namespace) -> None:
    """Let ``--model`` be the name of a model that the store or another program has."""
    name: str | None = getattr(options, "model", None)
    if name is None or os.path.lexists(os.path.expanduser(name)):  # noqa: PTH111 - any text must pass
        return
    from botframework import config
    from botframework.manager.folder import models_folder
    from botframework.models.store.store import Store

    layers, _ = config.startup_layers(None, options.set)
    # If it is none, whoever loads the model says so.
    with contextlib.suppress(ModelNotFound):
        options.model = Store(models_folder(config.merge(layers).settings)).find(name).path


def read_settings(options: argparse.Namespace, terminal: Terminal) -> Settings:
    """The settings as a daemon started here would have them; what is wrong with them is told."""
    from botframework import config

    layers, problems = config.startup_layers(options.model, options.set)
    merged = config.merge(layers)
    for problem in (*problems, *merged.problems):
        terminal.warn(str(problem))
    return merged.settings


def read_stdin() -> str:
    """All of standard input.

    Raises
    ------
    InvalidParams
        It is no UTF-8 text.
    """
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidParams(f"standard input is no UTF-8 text: {error}") from None
