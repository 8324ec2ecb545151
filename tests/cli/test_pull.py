"""`botframework models pull` from a hub on this machine, on a terminal and in a pipe."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from support.gguf_factory import tiny_llama
from support.hub_server import HubServer
from support.pseudo_terminal import CTRL_C

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.shell import Shell

REFERENCE = "hf:maker/model-GGUF:Q4_K_M"
FILE = "model-Q4_K_M.gguf"
SLOW = 600_000.0
"""Bytes a second of each connection: the model of 2.7 MB takes some seconds."""
ENOUGH_BYTES = 3 << 19
"""More than one block, as which a download remembers what it has."""


@pytest.fixture
def hub(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A hub with one repository, which the shell's commands ask."""
    folder = tmp_path_factory.mktemp("hub")
    repository = folder / "maker" / "model-GGUF"
    repository.mkdir(parents=True)
    tiny_llama(repository / FILE, n_layers=6, d=128)
    with HubServer(folder) as server:
        shell.env["HF_ENDPOINT"] = server.address
        yield server


def soon(condition: Callable[[], bool]) -> None:
    """Wait for what the hub has seen."""
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def size_of(hub: HubServer) -> int:
    """Bytes of the model."""
    return (hub.folder / "maker" / "model-GGUF" / FILE).stat().st_size


def test_a_pull_in_a_pipe(shell: Shell, hub: HubServer) -> None:
    """Plain lines on standard error, the result on standard output."""
    told = shell.run("models", "pull", REFERENCE)

    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[0].startswith(f"maker/model-GGUF/{FILE}: ")
    assert "\x1b" not in told.stderr
    assert "\r" not in told.stderr
    assert shell.run("models", "verify").returncode == 0


def test_a_bar_on_a_terminal(shell: Shell, hub: HubServer) -> None:
    """It moves, shows bytes and speed, and the cursor is visible again afterwards."""
    hub.rate = 2 * SLOW
    with shell.terminal("models", "pull", REFERENCE) as terminal:
        assert terminal.wait() == 0

    assert "/s" in terminal.shown
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h") > 0
    assert f"maker/model-GGUF/{FILE}" in terminal.shown


def test_ctrl_c_and_on_it_goes(shell: Shell, hub: HubServer) -> None:
    """Ctrl-C ends the command with 130 and keeps what has come; the next pull does not fetch it again."""
    hub.rate = SLOW
    with shell.terminal("models", "pull", REFERENCE) as terminal:
        soon(lambda: hub.sent > ENOUGH_BYTES)
        terminal.type(CTRL_C)
        assert terminal.wait() == 130
    before, hub.rate = hub.sent, None
    assert "the same command goes on with it" in terminal.shown
    assert json.loads(shell.run("models", "where", "--json").stdout)["usage"]["unfinishedBytes"] > 0
    told = shell.run("models", "pull", REFERENCE)

    assert told.returncode == 0
    assert hub.sent - before < size_of(hub)
    assert "of it are there" in told.stderr


def test_two_terminals_share_one_download(shell: Shell, hub: HubServer) -> None:
    """The second command shows the first one's progress, and both end with the model."""
    hub.rate = SLOW
    with shell.terminal("models", "pull", REFERENCE) as first:
        soon(lambda: hub.sent > 0)
        with shell.terminal("models", "pull", REFERENCE) as second:
            assert (first.wait(), second.wait()) == (0, 0)

    assert hub.sent < 1.5 * size_of(hub)


def test_a_download_is_listed(shell: Shell, hub: HubServer) -> None:
    """`models list` of another process sees how far it is."""
    hub.rate = SLOW / 8
    process = subprocess.Popen(shell.command("models", "pull", REFERENCE, "--json"), env=shell.env, cwd=shell.folder)
    soon(lambda: hub.sent > 0)
    (download,) = json.loads(shell.run("models", "list", "--json").stdout)["downloads"]
    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 130
    assert download["name"] == f"maker/model-GGUF/{FILE}"
    assert download["totalBytes"] == size_of(hub)


@pytest.mark.parametrize(
    ("lie", "kind", "words"),
    [
        ("wrong-digest", "DigestMismatch", ""),
        ("gated", "ModelGated", "HF_TOKEN"),
        ("not-found", "RemoteNotFound", ""),
        ("redirect-metadata", "PullRefused", "169.254.169.254"),
        ("api-page", "DownloadFailed", ""),
    ],
)
def test_what_a_hub_can_do_wrong(shell: Shell, hub: HubServer, lie: str, kind: str, words: str) -> None:
    """One error of the tree, the exit code, and a store without a model."""
    hub.lies["maker/model-GGUF"] = lie
    told = shell.run("models", "pull", REFERENCE, "--json")

    error = json.loads(told.stdout)["error"]
    assert (told.returncode, error["kind"]) == (1, kind)
    assert words in error["message"]
    assert shell.run("models", "verify").stdout == ""


def test_an_id_of_the_catalog(shell: Shell, hub: HubServer) -> None:
    """Stands for its repository and its usual format."""
    repository = hub.folder / "Qwen" / "Qwen2.5-Coder-7B-Instruct-GGUF"
    repository.mkdir(parents=True)
    tiny_llama(repository / "qwen2.5-coder-7b-instruct-q4_k_m.gguf")
    told = shell.run("models", "pull", "qwen2.5-coder-7b-instruct")

    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Qwen/Qwen2.5-Coder-7B-Instruct-GGUF/qwen2.5-coder-7b-instruct-q4_k_m.gguf: ")


def test_the_token_is_not_shown(shell: Shell, hub: HubServer) -> None:
    """Neither when it is used nor when the hub does not know it."""
    hub.lies["maker/model-GGUF"] = "bad-token"
    told = shell.run("models", "pull", REFERENCE, HF_TOKEN="hf_secretsecret")
    checked = shell.run("doctor", "--quick", "--online", HF_TOKEN="hf_secretsecret")

    assert told.returncode == 1
    assert "hf_secretsecret" not in told.stdout + told.stderr + checked.stdout + checked.stderr


def test_a_file_that_is_no_model(shell: Shell, hub: HubServer) -> None:
    """It is refused before it is among the models."""
    (hub.folder / "maker" / "model-GGUF" / FILE).write_bytes(b"not a model at all" * 1_000)
    told = shell.run("models", "pull", REFERENCE, "--json")

    assert told.returncode == 1
    assert json.loads(told.stdout)["error"]["kind"] == "ModelRefused"
    assert shell.run("models", "verify").stdout == ""


def test_the_hub_is_checked_on_demand(shell: Shell, hub: HubServer) -> None:
    """`doctor` asks nobody by itself; with `--online` it says whether the hub answers."""
    shell.run("doctor", "--quick")
    asked = len(hub.asked)
    told = shell.run("doctor", "--quick", "--online")

    assert asked == 0
    assert len(hub.asked) == 1
    assert f"{hub.address} answers" in told.stdout
