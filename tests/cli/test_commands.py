"""What all commands have in common."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from botframework.cli import COMMANDS

if TYPE_CHECKING:
    from support.shell import Shell

FULL = Path("/dev/full")
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
    with shell.terminal("where", COLUMNS="200") as terminal:
        assert terminal.wait() == 0
    assert "\x1b[1m" in terminal.raw
    assert "WHAT" in terminal.shown


def test_a_narrow_terminal_cuts_nothing(shell: Shell) -> None:
    """What does not fit side by side stands below each other; a path that was cut would be of no use."""
    places = json.loads(shell.run("where", "--json").stdout)["places"]
    with shell.terminal("where", COLUMNS="40") as terminal:
        assert terminal.wait() == 0
    shown = "".join(terminal.shown.split())

    for place in places:
        for text in (place["name"], place["path"], place["holds"]):
            assert "".join(text.split()) in shown


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


@pytest.mark.skipif(not FULL.exists(), reason="there is no such device here")
def test_a_disk_that_is_full(shell: Shell) -> None:
    """What could not be written is told in a line, and is no success."""
    with FULL.open("wb") as full:
        done = subprocess.run(
            shell.command("where"), stdout=full, stderr=subprocess.PIPE, env=shell.env, cwd=shell.folder, check=False
        )

    assert done.returncode == 1
    assert done.stderr.decode() == "botframework: [Errno 28] No space left on device\n"


def test_without_standard_output(shell: Shell) -> None:
    """A shell's `>&-`: there is nothing to be said, and nothing to complain of."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *shell.command("where")],
        stderr=subprocess.PIPE,
        env=shell.env,
        cwd=shell.folder,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_settings_that_are_wrong_are_told(shell: Shell) -> None:
    """On standard error, and the command goes on without them."""
    told = shell.run("where", "--set", "no.such=1")

    assert told.returncode == 0
    assert told.stderr == "warning: the command line: no.such unknown setting\n"


def test_an_editor_waits_for_no_command() -> None:
    """Choosing the daemon imports nothing of the commands."""
    program = (
        "import sys, botframework.cli\n"
        "print([name for name in sys.modules if name.startswith(('botframework.cli.', 'rich', 'botframework.demo'))])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert answer.stdout == "[]\n"
