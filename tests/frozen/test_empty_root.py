"""The one-file binary on a machine that has nothing: a Debian of its base system alone, no Python, no network."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from support.certificate import self_signed
from support.debian_archive import Unavailable
from support.empty_root import HOME, PROGRAM, USER_ID, EmptyRoot, changed, empty_root, outside
from support.lsp_client import running_daemon
from support.real_daemon import GREEDY, HELLO, PATIENCE_S, status, streamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from frozen.conftest import Binary
    from support.lsp_client import LspClient
    from support.real_daemon import Models

pytestmark = [pytest.mark.binary, pytest.mark.timeout(900)]

REPOSITORY = "maker/alphabet-GGUF"
REFERENCE = f"hf:{REPOSITORY}:Q8_0"
FILE = "alphabet-q8_0.gguf"
URI = f"file://{HOME}/shapes.py"
SOURCE = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return "
LINE, CHARACTER = 5, 11
UNPACKED = "_MEI"
"""How the folders begin into which a one-file program is unpacked."""
CAPABILITIES = {"window": {"workDoneProgress": True}, "textDocument": {"inlineCompletion": {}}}


@pytest.fixture(scope="module")
def root(one_file: Binary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyRoot]:
    """A root with the binary in it."""
    try:
        with empty_root(tmp_path_factory.mktemp("empty") / "root", one_file.path) as made:
            yield made
    except Unavailable as error:
        pytest.skip(f"no empty Debian root: {error}")


@pytest.fixture(autouse=True)
def _nothing_left(root: EmptyRoot) -> Iterator[None]:
    """No test leaves a process or an unpacked folder in there."""
    yield
    root.seconds_until_empty()
    assert unpacked(root) == []


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Path:
    """One repository with one file."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / REPOSITORY).mkdir(parents=True)
    (folder / REPOSITORY / FILE).write_bytes(models.alphabet.read_bytes())
    return folder


def unpacked(root: EmptyRoot) -> list[PurePosixPath]:
    """Folders of one-file programs, running or dead."""
    return sorted(path for path in root.listing() if path.name.startswith(UNPACKED))


async def be_ready(client: LspClient) -> None:
    """Say ``initialize``, as a client whose process number means nothing in there, and wait for the model."""
    await client.initialize(CAPABILITIES, processId=None)
    await client.notification("$/botframework/modelReady", timeout_s=PATIENCE_S)


async def work(client: LspClient) -> dict[str, Any]:
    """Ghost text, a streamed chat, and the status."""
    await client.open(URI, SOURCE)
    suggestion = await client.result(await client.inline(URI, LINE, CHARACTER), timeout_s=PATIENCE_S)
    question = {"messages": HELLO, "maxTokens": 20, "sampling": GREEDY, "partialResultToken": "answer"}
    answer = await client.request("botframework/chat", question, timeout_s=PATIENCE_S)
    return {"items": suggestion["items"], "usage": answer["usage"], "status": await status(client)}


async def state_with_clients(client: LspClient, count: int) -> dict[str, Any]:
    """Wait until the worker serves so many daemons; the heartbeat that says so."""
    beat: dict[str, Any] = await client.notification("$/botframework/heartbeat", lambda now: now["clients"] == count)
    return beat


def test_nothing_in_there_could_help(root: EmptyRoot) -> None:
    """No interpreter, no compiler, no interface but the loopback, no authorities, and an ordinary user."""
    listing = root.listing()
    programs = {path.name for path in listing if path.parent.name in {"bin", "sbin"}}
    names = {path.name for path in listing}
    answer = root.run("id", "-u")

    assert {name for name in programs if name.startswith(("python", "gcc", "g++", "cc", "cmake", "node"))} == set()
    assert {name for name in names if name.startswith(("libpython", "libgomp", "ca-certificates.crt"))} == set()
    assert set(root.interfaces()) == {"lo"}
    assert answer.stdout == f"{USER_ID}\n"


def test_what_is_left_is_seen(root: EmptyRoot) -> None:
    """A process that stays and files in any folder, memory's included: what the other tests find none of, is found."""
    before = root.listing()
    strays = [PurePosixPath("/tmp/_MEIstray"), PurePosixPath("/dev/shm/stray"), HOME / "stray"]
    stays = "read it < /tmp/wake"
    made = root.run(
        "/bin/sh", "-c", f"touch {' '.join(map(str, strays))}; mkfifo /tmp/wake; sh -c '{stays}' > /tmp/out 2>&1 &"
    )
    living = root.processes()
    woken = root.run("/bin/sh", "-c", "echo > /tmp/wake")
    root.seconds_until_empty()
    found = outside(changed(before, root.listing()), [PurePosixPath("/tmp/wake"), PurePosixPath("/tmp/out")])
    seen = unpacked(root)
    root.run("/bin/sh", "-c", f"rm {' '.join(map(str, strays))} /tmp/wake /tmp/out")

    assert (made.returncode, woken.returncode) == (0, 0)
    assert [command for command in living.values() if stays in command]
    assert found == set(strays)
    assert seen == strays[:1]


def test_it_says_what_it_is(root: EmptyRoot) -> None:
    """``--version`` answers on standard output with nothing on standard error."""
    answer = root.run("botframework", "--version")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("botframework ")


def test_the_demo(root: EmptyRoot) -> None:
    """Load, ghost text, a key, a streamed chat, the heartbeat and a clean end, on the embedded model."""
    answer = root.run("botframework", "demo")

    assert (answer.returncode, answer.stderr) == (0, "")
    for word in ("initialize", "inlineCompletion", "prompt tokens evaluated", "tokens/s", "workerPid", "left with 0"):
        assert word in " ".join(answer.stdout.split())


async def test_it_serves_an_editor(root: EmptyRoot) -> None:
    """The main job over pipes without a packet on any network; two seconds after ``exit`` nobody is there any more."""
    before = root.interfaces()
    async with running_daemon(root.command("botframework", "--stdio")) as client:
        await be_ready(client)
        done = await work(client)
        while_it_ran = root.processes()
        code = await client.leave()
        assert root.seconds_until_empty() <= 2.0

    (item,) = done["items"]
    assert (code, client.foreign) == (0, b"")
    assert item["insertText"].strip()
    assert done["usage"]["completionTokens"] == 20
    assert streamed(client, "answer").strip()
    assert done["status"]["state"] == "ready"
    assert len([command for command in while_it_ran.values() if " worker " in f"{command} "]) >= 2
    assert root.interfaces() == before


async def test_windows_share_a_worker(root: EmptyRoot) -> None:
    """Two daemons, each unpacked anew, have one worker of the embedded model, which outlives whoever started it."""
    command = root.command("botframework", "--stdio")
    async with running_daemon(command) as one, running_daemon(command) as other:
        await be_ready(one)
        await be_ready(other)
        together = [await status(client) for client in (one, other)]
        await one.leave()
        left = await state_with_clients(other, 1)
        done = await work(other)
        await other.leave()

    assert [now["clients"] for now in together][-1] == 2
    assert {now["workerPid"] for now in (*together, left, done["status"])} == {left["workerPid"]}
    assert done["items"][0]["insertText"].strip()


async def test_it_pulls_and_uses_a_model(root: EmptyRoot, hub_folder: Path) -> None:
    """A model comes from a server of the same machine, is whole, and answers as that model does."""
    with root.hub(hub_folder) as address:
        pulled = root.run("botframework", "models", "pull", REFERENCE, "--json", HF_ENDPOINT=address)
    verified = root.run("botframework", "models", "verify")
    assert pulled.returncode == 0, pulled.stderr
    assert verified.returncode == 0, verified.stderr
    path = json.loads(pulled.stdout)["path"]
    assert root.inside(PurePosixPath(path)).stat().st_size == (hub_folder / REPOSITORY / FILE).stat().st_size

    async with running_daemon(root.command("botframework", "--stdio", "--model", path)) as client:
        await be_ready(client)
        answer = await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 30, "sampling": GREEDY})
        await client.leave()

    assert answer["text"].startswith("abcdef")


def test_it_checks_certificates(root: EmptyRoot, hub_folder: Path, tmp_path: Path) -> None:
    """The list of authorities is inside: a server that none of them knows is refused, unless the user names another."""
    certificate = self_signed(tmp_path)
    named = HOME / "authority.pem"
    with root.hub(hub_folder, certificate) as address:
        refused = root.run("botframework", "models", "pull", REFERENCE, HF_ENDPOINT=address)
        root.inside(named).write_bytes(certificate[0].read_bytes())
        root.inside(named).chmod(0o644)
        taken = root.run("botframework", "models", "pull", REFERENCE, HF_ENDPOINT=address, SSL_CERT_FILE=str(named))
    root.inside(named).unlink()

    assert refused.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    assert taken.returncode == 0, taken.stderr


async def test_it_leaves_nothing_but_what_where_names(root: EmptyRoot, hub_folder: Path) -> None:
    """After a whole day's work, changed files are in the folders that ``botframework where`` names, and nowhere else.

    Sockets, unpacked folders and processes are gone.
    """
    before = root.listing()
    with root.hub(hub_folder) as address:
        for words in (
            ["--version"],
            ["demo"],
            ["doctor"],
            ["hardware"],
            ["models", "recommend"],
            ["models", "pull", REFERENCE],
        ):
            answer = root.run("botframework", *words, HF_ENDPOINT=address)
            assert answer.returncode == 0, f"{words}: {answer.stdout}{answer.stderr}"
    async with running_daemon(root.command("botframework", "--stdio")) as client:
        await be_ready(client)
        await work(client)
        during = unpacked(root)
        await client.leave()
    root.seconds_until_empty()
    places = root.places()
    after = root.listing()

    assert during, "nothing was unpacked: this run tests nothing"
    assert PurePosixPath("/") not in places.values()
    assert PurePosixPath("/tmp") not in places.values()
    assert outside(changed(before, after), places.values()) == set()
    assert [path for path in after if path.suffix == ".sock"] == []
    assert unpacked(root) == []
    assert after[PROGRAM] == before[PROGRAM]
