"""What `--json` prints is what `schemas/cli.json` says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from botframework.cli.documents import DOCUMENTS, Failure
from support.gguf_factory import tiny_llama

if TYPE_CHECKING:
    from support.real_daemon import Models
    from support.shell import Shell

COMMANDS = {
    "version": "version",
    "licences": "licences",
    "where": "where",
    "hardware": "hardware",
    "complete": "complete - --model {alphabet}",
    "chat": "chat hello --model {alphabet} --max-tokens 3",
    "doctor": "doctor --quick",
    "models list": "models list",
    "models recommend": "models recommend --role chat",
    "models pull": "models pull {file}",
    "models verify": "models verify",
    "models remove": "models remove --yes mine.gguf",
    "models info": "models info qwen2.5-coder-7b-instruct",
    "models where": "models where",
}


def test_every_command_has_a_document() -> None:
    """And is run below."""
    assert list(COMMANDS) == list(DOCUMENTS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_document(shell: Shell, models: Models, name: str) -> None:
    """It has the fields of its struct, all of them and no others."""
    file = tiny_llama(shell.folder / "mine.gguf")
    if name in {"models verify", "models remove"}:
        shell.run("models", "pull", str(file))
    words = COMMANDS[name].format(alphabet=models.alphabet, file=file).split()
    told = shell.run(*words, "--json", stdin="x = ")

    assert told.returncode == 0, told.stdout
    document = msgspec.json.decode(told.stdout, type=DOCUMENTS[name])
    assert json.loads(msgspec.json.encode(document)) == json.loads(told.stdout)


def test_a_failure(shell: Shell) -> None:
    """Takes the document's place."""
    told = shell.run("models", "pull", "/no/such.gguf", "--json")

    failure = msgspec.json.decode(told.stdout, type=Failure)
    assert (told.returncode, failure.error.kind) == (1, "ModelNotFound")
    assert json.loads(msgspec.json.encode(failure)) == json.loads(told.stdout)
