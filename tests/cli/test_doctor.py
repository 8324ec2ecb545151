"""`botframework doctor`: each thing that can be wrong here is made wrong once, and must be told with its cure."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.gguf_factory import tiny_llama, tiny_llama_file

if TYPE_CHECKING:
    from pathlib import Path

    from support.real_daemon import Models
    from support.shell import Shell


def findings(shell: Shell, *words: str, **env: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and what was found by the names of the checks."""
    told = shell.run("doctor", "--json", *words, **env)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(told.stdout)["findings"]:
        found.setdefault(finding["check"], []).append(finding)
    return told.returncode, found


def test_a_sound_machine(shell: Shell, models: Models) -> None:
    """The whole way is gone, nothing failed, and the exit code says so."""
    code, found = findings(shell, "--model", str(models.tiny))

    assert code == 0
    assert [each for checks in found.values() for each in checks if each["outcome"] == "failed"] == []
    assert found["answer"][0]["outcome"] in {"ok", "warning"}
    assert "tiny-llama: loaded after" in found["answer"][0]["told"]
    assert found["llama.cpp"][0]["outcome"] == "ok"
    assert found["workers"][0]["outcome"] == "ok"


def test_for_people(shell: Shell) -> None:
    """A line for each check, its cure below it, a count at the end."""
    told = shell.run("doctor", "--quick", "--set", "no.such=1")

    assert told.returncode == 0
    lines = told.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("warn  settings"))
    assert "no.such" in lines[at]
    assert lines[at + 1].lstrip().startswith("-> correct it in")
    assert "warning" in lines[-1]


def test_every_problem_has_a_cure(shell: Shell) -> None:
    """A warning without one would help nobody."""
    _, found = findings(shell, "--quick", "--model", "/no/such.gguf", "--set", "engine.nThreads=many", PATH="/nowhere")

    bad = [each for checks in found.values() for each in checks if each["outcome"] != "ok"]
    assert {"model", "settings", "command"} <= {each["check"] for each in bad}
    assert [each for each in bad if not each["cure"]] == []


def test_a_settings_file_that_is_broken(shell: Shell) -> None:
    """Named, with the place in it."""
    (shell.folder / "mine.toml").write_text("[completion\n", encoding="utf-8")
    code, found = findings(shell, "--quick", BOTFRAMEWORK_CONFIG_FILE=str(shell.folder / "mine.toml"))

    assert code == 0
    assert found["settings"][0]["outcome"] == "warning"
    assert "mine.toml" in found["settings"][0]["cure"]
    assert "line 1" in found["settings"][0]["told"]


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no modes there")
def test_a_runtime_folder_open_to_others(shell: Shell, home: Path) -> None:
    """Daemon and worker refuse it, so it fails, and the cure is the command that closes it."""
    home.chmod(0o755)
    code, found = findings(shell, "--quick")
    home.chmod(0o700)

    assert code == 1
    assert found["runtime folder"][0]["outcome"] == "failed"
    assert "chmod 700" in found["runtime folder"][0]["cure"]


def test_a_folder_that_cannot_be_written(shell: Shell) -> None:
    """A file stands where the folder of models should be."""
    (shell.folder / "file").write_text("", encoding="utf-8")
    code, found = findings(shell, "--quick", "--set", "models.folder=/proc/models")

    assert code == 1
    assert found["models folder"][0]["outcome"] == "failed"
    assert "models.folder" in found["models folder"][0]["cure"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.gguf", None, "No such file"),
        ("page.gguf", b"<!doctype html>", "a web page"),
        ("short.gguf", b"GGUF", ""),
    ],
)
def test_a_model_that_cannot_be_loaded(shell: Shell, name: str, content: bytes | None, words: str) -> None:
    """Failed, with the file's name and what it seems to be."""
    path = shell.folder / name
    if content is not None:
        path.write_bytes(content)
    code, found = findings(shell, "--quick", "--model", str(path))

    assert code == 1
    assert found["model"][0]["outcome"] == "failed"
    assert name in found["model"][0]["told"]
    assert words in found["model"][0]["told"]


def test_a_model_without_ghost_text_and_chat(shell: Shell) -> None:
    """Two warnings: it works, but not for that."""
    model = tiny_llama(shell.folder / "plain.gguf", fim=False, chat_template=None)
    code, found = findings(shell, "--quick", "--model", str(model))

    assert code == 0
    assert found["ghost text"][0]["outcome"] == "warning"
    assert found["chat"][0]["outcome"] == "warning"


def test_another_installation_comes_first(shell: Shell) -> None:
    """Both paths are told."""
    other = shell.folder / "bin" / "botframework"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n", encoding="utf-8")
    other.chmod(0o755)
    _, found = findings(shell, "--quick", PATH=f"{other.parent}:/usr/bin:/bin")

    assert found["command"][0]["outcome"] == "warning"
    assert str(other) in found["command"][0]["told"]


def test_workers_that_died(shell: Shell, home: Path) -> None:
    """What daemons remember of deaths is told, with the last words."""
    import time

    from botframework.manager.ledger import Ledger, write

    ledger = Ledger()
    for pid in (7, 8):
        ledger = ledger.started(pid, time.time())
        ledger = ledger.died(pid, time.time(), since=time.time() - 1, loading=True, last_words="GGML_ASSERT(no luck)")
    write(home / "0123456789abcdef.json", ledger)
    code, found = findings(shell, "--quick")

    assert code == 1
    assert "GGML_ASSERT(no luck)" in found["workers"][0]["told"]


def test_an_answer_that_does_not_come(shell: Shell) -> None:
    """The last check goes the whole way, and says what the daemon said: here of a tensor that the file lacks."""
    gguf = tiny_llama_file()
    gguf.tensors = [tensor for tensor in gguf.tensors if tensor.name != "blk.0.ffn_up.weight"]
    model = gguf.write(shell.folder / "torn.gguf")
    code, found = findings(shell, "--model", str(model))

    assert code == 1
    assert found["answer"][0]["outcome"] == "failed"
    assert "blk.0.ffn_up.weight is missing" in found["answer"][0]["told"]
