"""Check 39: several processes, one folder of models."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from botframework.errors import RequestCancelled, StoreError
from support.hub_server import HubServer
from support.model_files import large_file, one_file, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botframework.models.store.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and maps as Linux has them")
TESTS = Path(__file__).parent.parent
PATIENCE_S = 60.0
MIB = 1 << 20
RATE = 10.0 * MIB
"""A second: the download takes some three, so that everybody is there while it goes on."""
CONNECTIONS = 4
REFERENCE = "hf:maker/model/model.gguf"
NAME = "maker/model/model.gguf"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hub has."""
    folder = tmp_path_factory.mktemp("hub")
    large_file(folder / "maker" / "model" / "model.gguf")
    return folder


@pytest.fixture
def hub(shelf: Path, monkeypatch: pytest.MonkeyPatch, plain_surroundings: None) -> Iterator[HubServer]:
    """A hub at the end of a slow line."""
    with HubServer(shelf, rate=RATE) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def start(store: Store, reference: str = REFERENCE) -> subprocess.Popen[str]:
    """A process that pulls."""
    command = [sys.executable, "-m", "support.store_puller", str(store.folder), reference]
    return subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[list[list[int]], dict[str, Any]]:
    """What a process has told: its progress, and its end."""
    out, _ = process.communicate(timeout=PATIENCE_S)
    *progress, last = [json.loads(line) for line in out.splitlines()]
    return progress, last


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again; the things waited for happen in other processes."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("kind", ["of the hub", "without a digest"])
def test_four_processes_make_one_download(hub: HubServer, store: Store, kind: str) -> None:
    """Each gets the model, each sees the progress, and the server has sent it once."""
    is_plain = kind == "without a digest"
    reference = f"{hub.address}/plain/{NAME}" if is_plain else REFERENCE
    name = "127.0.0.1/model.gguf" if is_plain else NAME
    processes = [start(store, reference) for _ in range(4)]
    wait_until(lambda: bool(store.downloads()))
    (running,) = store.downloads()
    results = [ended(process) for process in processes]
    size = (hub.folder / NAME).stat().st_size

    # The first byte of a plain server's file is asked for to learn its size.
    assert hub.sent == size + (4 if is_plain else 0)
    assert (running.name, running.total_bytes) == (name, size)
    assert running.pid in {process.pid for process in processes}
    assert {last["path"] for _, last in results} == {str(store.folder / name)}
    for progress, _ in results:
        assert len([done for done, total in progress if 0 < done < total]) >= 3
        assert progress == sorted(progress)
        assert progress[-1] == [size, size]
    assert store.verify(name).digests == (sha256(hub.folder / NAME),)
    assert store.downloads() == ()


def test_a_killed_holder_is_followed_within_a_second(hub: HubServer, store: Store) -> None:
    """Its lock is free at once, another one goes on, and at most a block of each connection comes twice."""
    processes = {process.pid: process for process in (start(store) for _ in range(4))}
    size = (hub.folder / NAME).stat().st_size
    wait_until(lambda: any(each.done_bytes > size // 3 for each in store.downloads()))
    killed = store.downloads()[0].pid
    processes[killed].send_signal(signal.SIGKILL)
    processes[killed].communicate(timeout=PATIENCE_S)
    since = time.monotonic()
    wait_until(lambda: any(each.pid != killed for each in store.downloads()))
    followed_s = time.monotonic() - since
    results = [ended(process) for pid, process in processes.items() if pid != killed]

    assert followed_s <= 1.0
    assert {last["path"] for _, last in results} == {str(store.folder / NAME)}
    # The server counts what it has handed to the system, of which a killed client has not read all.
    assert hub.sent - size <= CONNECTIONS * (MIB + MIB // 2)
    store.verify(NAME)


def test_an_error_is_made_once(hub: HubServer, store: Store) -> None:
    """Four windows that wait for a file with the wrong content hear of it, and do not download it four times."""
    hub.lies[NAME] = "changed-byte"
    processes = [start(store) for _ in range(4)]
    results = [ended(process)[1] for process in processes]

    assert {result.get("error") for result in results} == {"DigestMismatch"}
    assert hub.sent < 2 * (hub.folder / NAME).stat().st_size
    assert store.installed() == ()


def test_a_cancel_leaves_the_download_to_the_others(hub: HubServer, store: Store) -> None:
    """Who cancels gets `RequestCancelled`; the other one goes on with what is there."""
    stop = threading.Event()
    cancelled: list[BaseException] = []

    def pull_and_cancel() -> None:
        try:
            store.pull(REFERENCE, stop=stop)
        except RequestCancelled as error:
            cancelled.append(error)

    thread = threading.Thread(target=pull_and_cancel)
    thread.start()
    wait_until(lambda: any(each.pid == os.getpid() and each.done_bytes > 4 * MIB for each in store.downloads()))
    other = start(store)
    assert other.stdout is not None
    other.stdout.readline()  # it has seen the progress, so it waits
    stop.set()
    thread.join(PATIENCE_S)
    _, last = ended(other)

    assert len(cancelled) == 1
    assert last["path"] == str(store.folder / NAME)
    assert hub.sent - (hub.folder / NAME).stat().st_size <= CONNECTIONS * (MIB + MIB // 2)


def test_a_pull_again_after_a_kill_goes_on(hub: HubServer, store: Store) -> None:
    """Without anybody who waits: the next start fetches what is missing."""
    first = start(store)
    size = (hub.folder / NAME).stat().st_size
    wait_until(lambda: any(each.done_bytes > size // 2 for each in store.downloads()))
    first.kill()
    first.communicate(timeout=PATIENCE_S)
    assert store.downloads() == ()
    assert store.installed() == ()
    assert store.usage().unfinished_bytes >= size // 2
    store.pull(REFERENCE)

    assert hub.sent - size <= CONNECTIONS * (MIB + MIB // 2)
    assert store.usage().unfinished_bytes == 0
    store.verify(NAME)


def test_removal_and_renewal_while_somebody_has_it_mapped(store: Store, tmp_path: Path) -> None:
    """Check 39: no SIGBUS; the one that has it mapped reads every byte it had."""
    path = one_file(tmp_path / "source" / "model.gguf", seed=1)
    found = store.pull(str(path))
    with Path(found.path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        content = path.read_bytes()
        path.unlink()
        store.pull(str(one_file(path, seed=2)))
        store.remove(found.name, force=True)

        assert mapped[:] == content


def test_a_hold_ends_with_its_process(store: Store, tmp_path: Path) -> None:
    """A model that another process has loaded is not removed; after that one's death, however it came, it may be."""
    found = store.pull(str(one_file(tmp_path / "source" / "model.gguf")))
    program = (
        "import sys, pathlib\n"
        "from botframework.models.store.store import Store\n"
        "hold = Store(pathlib.Path(sys.argv[1])).hold(sys.argv[2])\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(store.folder), found.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreError, match="in use"):
            store.remove(found.name)
        assert store.trim(0) == ()
        holder.kill()

    store.remove(found.name)
    assert store.installed() == ()


def test_limits_and_pulls_of_many_processes(store: Store, tmp_path: Path) -> None:
    """Pulls, removals, limits and looks at the same time: nobody sees half a model, and the end is whole."""
    program = (
        "import sys, random, pathlib\n"
        "from botframework.errors import ModelNotFound\n"
        "from botframework.models.store.store import Store\n"
        "from botframework.models.store.foreign import Surroundings\n"
        "folder, source, seed = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])\n"
        "store, dice = Store(folder, Surroundings({}, folder.parent / 'nobody')), random.Random(seed)\n"
        "for _ in range(80):\n"
        "    path = source / f'm{dice.randrange(3)}.gguf'\n"
        "    act = dice.randrange(4)\n"
        "    try:\n"
        "        if act == 0: store.remove(f'local/{path.name}')\n"
        "        elif act == 1: store.trim(path.stat().st_size)\n"
        "        else: store.verify(store.pull(str(path)).name)\n"
        "    except ModelNotFound: pass\n"
    )
    source = tmp_path / "source"
    for number in range(3):
        one_file(source / f"m{number}.gguf", seed=number)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(store.folder), str(source), str(seed)],
            cwd=TESTS,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=PATIENCE_S)
        assert (worker.returncode, said) == (0, "")

    for each in store.installed():
        store.verify(each.name)
    blobs = {path.name for path in (store.folder / "blobs").iterdir() if path.name.startswith("sha256-")}
    named = {f"sha256-{digest}" for each in store.installed() for digest in each.digests}
    assert named == {name for name in blobs if not name.endswith((".lock", ".progress", ".part"))}
