"""`botframework complete`: what an editor would show, on standard output."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

import pytest

from support.gguf_factory import tiny_llama

if TYPE_CHECKING:
    from support.real_daemon import Models
    from support.shell import Shell


@pytest.fixture
def file(shell: Shell) -> str:
    """A file with a place for the alphabet on its second line."""
    (shell.folder / "letters.py").write_text("x = 1\ny = \nz = 3\n", encoding="utf-8")
    return "letters.py"


def test_a_place_in_a_file(shell: Shell, models: Models, file: str) -> None:
    """The suggestion alone, with a line end; the file stays as it is."""
    told = shell.run("complete", f"{file}:2:5", "--model", str(models.alphabet))

    assert (told.returncode, told.stdout, told.stderr) == (0, string.ascii_lowercase + "\n", "")
    assert (shell.folder / file).read_text() == "x = 1\ny = \nz = 3\n"


def test_standard_input(shell: Shell, models: Models) -> None:
    """The end of the text, or a place in it."""
    model = ("--model", str(models.alphabet))

    assert shell.run("complete", "-", *model, stdin="y = ").stdout == string.ascii_lowercase + "\n"
    told = shell.run("complete", "-", "--at", "2:5", *model, stdin="x = 1\ny = \nz = 3\n")
    assert told.stdout == string.ascii_lowercase + "\n"


def test_for_a_program(shell: Shell, models: Models, file: str) -> None:
    """The text, what it replaces, and what it took."""
    told = shell.run("complete", f"{file}:2", "--json", "--max-tokens", "3", "--model", str(models.alphabet))

    found = json.loads(told.stdout)
    assert found["text"] == "abc"
    assert found["range"] == {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 4}}
    assert (found["reason"], found["model"]) == ("", "tiny-llama")
    assert found["totalMs"] > 0
    assert found["timings"]["firstTokenMs"] > 0


def test_nothing_to_suggest(shell: Shell, models: Models, file: str) -> None:
    """Nothing on standard output, the reason on standard error; that is no failure."""
    told = shell.run("complete", f"{file}:2", "--set", "completion.enabled=false", "--model", str(models.alphabet))

    assert (told.returncode, told.stdout) == (0, "")
    assert "disabled" in told.stderr


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("absent.py:1:1", "absent.py"),
        ("letters.py", "FILE:LINE:COL"),
        ("letters.py:9", "no line 9"),
        ("letters.py:1:99", "no column 99"),
        ("- --at 7", "no line 7"),
        ("- --at here", "LINE:COL"),
        ("letters.py:1 --at 1:1", "standard input"),
    ],
)
def test_a_place_that_is_none(shell: Shell, file: str, place: str, words: str) -> None:
    """Told at once, before a model is loaded."""
    told = shell.run("complete", *place.split(), "--model", "/no/such.gguf")

    assert (told.returncode, told.stdout) == (1, "")
    assert words in told.stderr
    assert "such.gguf" not in told.stderr


def test_bytes_that_are_no_text(shell: Shell) -> None:
    """Are refused in a sentence."""
    told = shell.run("complete", "-", stdin=b"\xff\xfe")

    assert told.returncode == 1
    assert "UTF-8" in told.stderr


def test_a_model_that_cannot_complete(shell: Shell, file: str) -> None:
    """The error of the tree, and where to find a model that can."""
    model = tiny_llama(shell.folder / "no-fim.gguf", fim=False)
    told = shell.run("complete", f"{file}:2", "--json", "--model", str(model))

    error = json.loads(told.stdout)["error"]
    assert told.returncode == 1
    assert error["kind"] == "ModelCannotInfill"
    assert "models recommend" in error["message"]


def test_a_model_that_is_not_there(shell: Shell, file: str) -> None:
    """The daemon's own error, under its own name."""
    told = shell.run("complete", f"{file}:2", "--json", "--model", "/no/such.gguf")

    assert told.returncode == 1
    assert json.loads(told.stdout)["error"]["kind"] == "ModelNotFound"


def test_nothing_of_it_is_kept(shell: Shell, models: Models, file: str) -> None:
    """No snapshot of the text is left on the disk."""
    shell.run("complete", f"{file}:2", "--model", str(models.alphabet))

    assert [path for path in shell.folder.rglob("*") if "sessions" in path.parts and path.is_file()] == []


@pytest.mark.parametrize("number", ["0", "-5", "1025"])
def test_a_number_of_tokens_that_is_none(shell: Shell, file: str, number: str) -> None:
    """It is refused, and not left out of account."""
    told = shell.run("complete", f"{file}:2:5", "--max-tokens", number)

    assert (told.returncode, told.stdout) == (1, "")
    assert f"--max-tokens {number}" in told.stderr
    assert "from 1 to 1024" in told.stderr
