"""A daemon for one command: started as an editor starts it, so a command gets what an editor would get.

It joins the worker that an editor's window has already started for the same model, and ends with the command.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from botframework.cli import command
from botframework.demo.editor import DemoError, Editor, ModelUnusable, RequestFailed, daemon_command
from botframework.errors import BotframeworkError, WorkerUnavailable, from_wire
from botframework.manager.load import embedded_path
from botframework.manager.roles import model_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from botframework.cli.terminal import Terminal
    from botframework.models.recommendation import Role

CLIENT = "botframework command line"


@contextlib.contextmanager
def daemon(
    options: argparse.Namespace, terminal: Terminal, role: Role, defaults: Mapping[str, object]
) -> Iterator[tuple[Editor, dict[str, Any]]]:
    """A daemon with its model loaded, and what it says of the model.

    Parameters
    ----------
    options
        With ``model`` and ``set``, as `command.add_settings` makes them.
    role
        What the model is wanted for; only the model of this role is loaded.
    defaults
        Settings that this command wants unless ``--set`` says otherwise. Nothing of it is kept on disk in any case.

    Raises
    ------
    BotframeworkError
        As the daemon says it: the model cannot be loaded, a request was refused, the daemon ended.
    """
    wanted = {"sessions.snapshots": "false", "completion.prefetch": "false", "worker.preload": "true", **defaults}
    arguments = [part for name, value in wanted.items() for part in ("--set", f"{name}={value}")]
    arguments += [part for assignment in options.set for part in ("--set", assignment)]
    path = options.model or model_of(command.read_settings(options, terminal), role) or embedded_path()
    arguments += ["--set", f"models.fim={path}", "--set", f"models.chat={path}"]
    with in_our_words():
        editor = Editor(daemon_command("--log-level=error", *arguments))
        try:
            with terminal.waiting("starting …") as waiting:
                editor.begin(CLIENT)
                waiting.tell("loading the model …")
                model = editor.wait_for_model(waiting.tell)
            yield editor, model
        finally:
            editor.stop()


@contextlib.contextmanager
def in_our_words() -> Iterator[None]:
    """Turn what the editor raises into the errors of the package.

    Raises
    ------
    BotframeworkError
        Instead of a `DemoError`.
    """
    try:
        yield
    except DemoError as error:
        raise as_ours(error) from error


def as_ours(error: DemoError) -> BotframeworkError:
    """The error of the package that the daemon meant."""
    match error:
        case ModelUnusable():
            return from_wire(error.kind, error.reason, {})
        case RequestFailed():
            data = error.data if isinstance(error.data, dict) else {}
            kind = data.get("kind", "")
            return from_wire(
                kind, error.reason, {name: data[name] for name in data if name not in {"kind", "retryable"}}
            )
        case _:
            return WorkerUnavailable(str(error).strip())
