"""Where layers come from before the editor speaks: files, the environment, the command line."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from botframework.config.folders import ENV_CONFIG_FILE, ENV_RUNTIME_DIR, config_file
from botframework.config.merge import MAX_PROBLEMS_PER_LAYER, Layer, Problem, Source, nearest, shown, tree
from botframework.config.settings import PATHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ENV_PREFIX = "BOTFRAMEWORK_"
ENV_DEBUG = "BOTFRAMEWORK_DEBUG"
"""``llm`` lets request bodies into the log; everything else keeps them out."""
ENV_NOT_SETTINGS = frozenset({ENV_RUNTIME_DIR, ENV_CONFIG_FILE, ENV_DEBUG})

MAX_FILE_BYTES = 256 * 1024
"""A workspace's file is untrusted: larger ones are not settings."""


def read_file(path: Path, source: Source) -> tuple[Layer, tuple[Problem, ...]]:
    """Read a settings file; one that is absent, unreadable or broken gives an empty layer and says why."""
    empty = Layer(source, {})
    try:
        # O_NONBLOCK: a workspace may hold a FIFO of that name, and opening it must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return empty, (Problem(source, "", f"{path} is not a regular file"),)
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return empty, ()
    except (OSError, ValueError) as error:
        return empty, (Problem(source, "", f"{path} cannot be read: {error}"),)
    if len(content) > MAX_FILE_BYTES:
        return empty, (Problem(source, "", f"{path} is larger than {MAX_FILE_BYTES} bytes"),)
    import tomllib

    try:
        return Layer(source, tomllib.loads(content.decode("utf-8-sig"))), ()
    except (ValueError, RecursionError) as error:
        # tomllib's message ends with "(at line 3, column 5)".
        return empty, (Problem(source, "", f"{path} is not valid TOML: {error}"),)


def environment_layer(environ: Mapping[str, str]) -> tuple[Layer, tuple[Problem, ...]]:
    """The settings among the environment's variables; an empty variable counts as absent."""
    names = {_env_name(name): name for name in tree()[0]}
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for variable, value in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in ENV_NOT_SETTINGS or not value:
            continue
        if variable in names:
            name = names[variable]
            values[name] = _from_here(value) if name in PATHS else value
        elif len(problems) < MAX_PROBLEMS_PER_LAYER:
            hint = nearest(variable, names)
            problems.append(Problem(Source.ENVIRONMENT, shown(variable), f"unknown variable{hint}"))
    return Layer(Source.ENVIRONMENT, values), tuple(problems)


def _env_name(name: str) -> str:
    """``completion.maxTokens`` is ``BOTFRAMEWORK_COMPLETION_MAX_TOKENS``."""
    return ENV_PREFIX + "".join(f"_{c}" if c.isupper() else "_" if c == "." else c.upper() for c in name)


def _from_here(path: str) -> str:
    """A path from the working folder: who types a command line or exports a variable knows where they stand."""
    if not path:
        return path  # an error, which the folder itself would not be
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - any text must pass


def argument_layer(model: str | None, assignments: Sequence[str]) -> tuple[Layer, tuple[Problem, ...]]:
    """The command line: ``--model`` and any number of ``--set key=value``."""
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if equals:
            name = key.strip()
            values[name] = _from_here(value.strip()) if name in PATHS else value.strip()
        else:
            problems.append(Problem(Source.COMMAND_LINE, shown(assignment), "is not of the form key=value"))
    if model is not None:
        values["model"] = _from_here(model)
    return Layer(Source.COMMAND_LINE, values), tuple(problems)


def startup_layers(
    model: str | None = None, assignments: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> tuple[tuple[Layer, ...], tuple[Problem, ...]]:
    """All layers that are known before the editor speaks: the user's file, the environment, the command line."""
    parts = (
        read_file(config_file(), Source.USER_FILE),
        environment_layer(os.environ if environ is None else environ),
        argument_layer(model, assignments),
    )
    return tuple(layer for layer, _ in parts), tuple(problem for _, found in parts for problem in found)
