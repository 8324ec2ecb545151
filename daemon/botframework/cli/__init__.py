"""The command line decides which process this is.

::

    botframework --stdio            the daemon, as an editor starts it
    botframework worker …           a worker, as a daemon starts it, and what a worker starts itself
    botframework demo [FILE:L:C]    the main job on a terminal
    botframework models …           and the other commands of `COMMANDS`, each a module of this room
    botframework --version          the same as the command of that name

An editor waits for this module before anything else happens, so everything is imported where it is used.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

EXIT_USAGE = 2
"""The arguments make no sense; also what argparse ends with."""
EXIT_NO_CLIENT = 1
"""As at any end-of-file without ``shutdown``."""
COMMANDS = types.MappingProxyType(
    {
        "models": "which models suit this machine; fetch, check and remove them",
        "hardware": "what this machine has",
        "doctor": "what is wrong here, and what to do about it",
        "complete": "the ghost text for a place in a file",
        "chat": "a conversation with the model",
        "where": "the folders and files that are used",
        "version": "which program and which llama.cpp this is",
        "licences": "the licences of everything inside",
    }
)
"""Each is a module of this room with a ``main``, and does what is said here."""
GC_THRESHOLDS = (5_000, 20, 50)
"""Instead of (700, 10, 10); without any collection the imports would leave 10 MB behind."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the process that the arguments ask for; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["worker"]:
        _worker(words[1:])
        return 0
    if words[:1] == ["demo"]:
        _stay_with_bootloader()
        from botframework.demo import main as demo

        return demo(words[1:])
    if words and words[0] in COMMANDS:
        return _command(words[0], words[1:])
    if "--version" in words:
        return _command("version", [word for word in words if word != "--version"])
    if "--stdio" in words:
        return _daemon(words)
    parser = _parser()
    if words and not words[0].startswith("-"):
        parser.error(f"there is no command {words[0]!r}{_nearest(words[0])}")
    parser.parse_args(words)
    print("botframework: nothing to do; an editor starts it with --stdio\n", file=sys.stderr)
    parser.print_help(sys.stderr)
    return EXIT_USAGE


def _worker(words: Sequence[str]) -> None:
    """Be a worker, or one of the small processes that ours start and nobody else."""
    match words[:1]:
        case ["template"]:
            from botframework.worker.template import main as template

            template(words[1:])
        case ["bandwidth"]:
            from botframework.models.hardware.measured import main as bandwidth

            bandwidth()
        case _:
            _stay_with_bootloader()
            from botframework.worker.main import main as worker

            worker(words)


def _stay_with_bootloader() -> None:
    """In a program of one file: keep the folder that it runs from, end with its bootloader, count each key once."""
    from botframework.process import program

    if program.unpacked_folder() is None:
        return
    import signal

    from botframework.process import ParentWatch, unpacked, without_echo

    unpacked.claim()
    ParentWatch().start_with_bootloader()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, without_echo(signal.default_int_handler))


def _command(name: str, words: Sequence[str]) -> int:
    """Run a command. Its import is spelt out, so that whoever packs a program sees what it is made of."""
    _stay_with_bootloader()
    match name:
        case "models":
            from botframework.cli.models import main as command
        case "hardware":
            from botframework.cli.hardware import main as command
        case "doctor":
            from botframework.cli.doctor import main as command
        case "complete":
            from botframework.cli.complete import main as command
        case "chat":
            from botframework.cli.chat import main as command
        case "where":
            from botframework.cli.where import main as command
        case "version":
            from botframework.cli.version import main as command
        case _:
            from botframework.cli.licences import main as command
    return command(words)


def _nearest(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, [*COMMANDS, "demo"], n=1)
    return f"; did you mean {near[0]!r}?" if near else "; `botframework --help` lists them"


def _daemon(words: Sequence[str]) -> int:
    """Serve an editor on standard input and output."""
    # First of all: from here on nothing but the protocol can reach the client, whoever prints while being imported.
    from botframework.process.streams import is_abandoned, take_stdin, take_stdout

    stdout = take_stdout()
    stdin = take_stdin()
    options = _parser().parse_args(words)
    if is_abandoned(stdin):
        # On a busy machine the imports below take seconds, and a parent that ended before now is known to nobody.
        return EXIT_NO_CLIENT

    import gc

    # Half a second of imports makes many objects and little garbage: fewer collections save 15 % of it.
    gc.set_threshold(*GC_THRESHOLDS)
    from botframework.process import ParentWatch, program

    watch = ParentWatch()
    watch.start()
    if program.unpacked_folder() is not None:
        from botframework.process import unpacked

        unpacked.claim()
        unpacked.sweep_later()
    if options.client_process_id is not None:
        watch.add(options.client_process_id)

    from botframework import config
    from botframework.process import logs

    assignments = [*options.set]
    if options.log_level is not None:
        assignments.append(f"log.level={options.log_level}")
    layers, problems = config.startup_layers(options.model, assignments)
    log = logs.set_up(config.merge(layers).settings.log.level, config.log_dir(), take_streams=True)

    from botframework.lsp.server import serve

    gc.freeze()
    return serve(stdin, stdout, layers, problems, watch=watch, logs=log)


def _parser() -> argparse.ArgumentParser:
    import argparse

    listed = {**COMMANDS, "demo": "the main job on a terminal, step by step"}
    parser = argparse.ArgumentParser(
        prog="botframework",
        usage="botframework COMMAND …  |  botframework --stdio [options]",
        description="A local code model for editors. Editors start it with --stdio.",
        epilog="commands (each has --help):\n" + "\n".join(f"  {name:10}{told}" for name, told in listed.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="which program and which llama.cpp this is")
    parser.add_argument("--stdio", action="store_true", help="speak LSP on standard input and output")
    parser.add_argument(
        "--clientProcessId", dest="client_process_id", type=int, metavar="PID", help="end when this process ends"
    )
    parser.add_argument("--model", metavar="FILE", help="a GGUF file instead of the embedded model")
    parser.add_argument("--log-level", choices=("error", "warning", "info", "debug"))
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, such as completion.maxTokens=64"
    )
    return parser
