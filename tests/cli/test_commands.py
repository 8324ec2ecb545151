"""What all commands have in common."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from botframework.cli import COMMANDS

if TYPE_CHECKING:
    from support.shell import Shell

QUICK = ("where", "hardware")
"""Commands that need neither an argument nor a model."""


def test_help_names_every_command(shell: Shell) -> None:
    """`--help` lists them, and each of them has one of its own."""
    listed = shell.run("--help")

    assert listed.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in listed.stdout


@pytest.mark.parametrize("name", [*COMMANDS, "models pull", "models recommend", "demo"])
def test_every_command_explains_itself(shell: Shell, name: str) -> None:
    """With its arguments, on standard output."""
    told = shell.run(*name.split(), "--help")

    assert (told.returncode, told.stderr) == (0, "")
    assert f"usage: botframework {name}" in told.stdout


def test_a_misspelt_command(shell: Shell) -> None:
    """The nearest one is named, and nothing is started."""
    told = shell.run("modles")

    assert (told.returncode, told.stdout) == (2, "")
    assert "did you mean 'models'?" in told.stderr


@pytest.mark.parametrize("name", QUICK)
def test_without_a_terminal_there_are_no_codes(shell: Shell, name: str) -> None:
    """A file gets plain text."""
    told = shell.run(name, FORCE_COLOR="1")

    assert told.returncode == 0
    assert "\x1b" not in told.stdout + told.stderr


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colours(shell: Shell, name: str, env: dict[str, str]) -> None:
    """Results are plain text there too."""
    with shell.terminal(name, **env) as terminal:
        assert terminal.wait() == 0
    assert "\x1b[3" not in terminal.raw
    assert "\x1b[1m" not in terminal.raw


def test_a_terminal_gets_colours(shell: Shell) -> None:
    """Titles of a table stand out."""
    with shell.terminal("where") as terminal:
        assert terminal.wait() == 0
    assert "\x1b[1m" in terminal.raw
    assert "WHAT" in terminal.shown


def test_json_is_one_document(shell: Shell) -> None:
    """And nothing else is on standard output."""
    for name in QUICK:
        told = shell.run(name, "--json")
        assert isinstance(json.loads(told.stdout), dict)


def test_an_error_in_json(shell: Shell) -> None:
    """It is a document too, with the error's name, code and words."""
    told = shell.run("models", "info", "--json", "no-such-model")

    error = json.loads(told.stdout)["error"]
    assert told.returncode == 1
    assert (error["kind"], error["code"], error["retryable"]) == ("ModelNotFound", -33101, False)
    assert "no-such-model" in error["message"]


def test_a_reader_that_leaves(shell: Shell) -> None:
    """`| head` ends a command without a word."""
    process = subprocess.Popen(
        shell.command("where"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=shell.env, cwd=shell.folder
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()

    assert (process.wait(30), stderr) == (141, b"")


def test_settings_that_are_wrong_are_told(shell: Shell) -> None:
    """On standard error, and the command goes on without them."""
    told = shell.run("where", "--set", "no.such=1")

    assert told.returncode == 0
    assert "no.such" in told.stderr


def test_an_editor_waits_for_no_command() -> None:
    """Choosing the daemon imports nothing of the commands."""
    program = (
        "import sys, botframework.cli\n"
        "print([name for name in sys.modules if name.startswith(('botframework.cli.', 'rich', 'botframework.demo'))])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert answer.stdout == "[]\n"
