"""A download: whole, in parts, after a kill, on a disk that fails."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from botframework.errors import DigestMismatch, DiskFull, DownloadFailed, RequestCancelled, StoreError
from botframework.models.store.download import CONNECTIONS
from botframework.models.store.journal import BLOCK_BYTES, HEAD_BYTES, discard, journal_of
from botframework.models.store.web import Patience
from support.pulling import CONTENT, DIGEST, FILE, SIZE, ask, fetch, only, stop_after

if TYPE_CHECKING:
    from support.hub_server import HubServer

TESTS = Path(__file__).resolve().parents[1]


class Usage(NamedTuple):
    """What ``shutil.disk_usage`` answers."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_a_download_is_whole(hub: HubServer, part: Path, connections: int) -> None:
    """Content and digest are the published ones, every byte is sent once, progress grows from nothing to the size."""
    told: list[tuple[int, int]] = []
    digest = fetch(
        only(ask("hf:o/r")), part, connections=connections, on_progress=lambda *figures: told.append(figures)
    )

    assert digest == DIGEST
    assert part.read_bytes() == CONTENT
    assert hub.sent == SIZE
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((0, SIZE), (SIZE, SIZE))


@pytest.mark.parametrize("size", [1, 4_321, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_every_size(hub: HubServer, part: Path, size: int) -> None:
    """The last block may be of any length."""
    (hub.folder / FILE).write_bytes(CONTENT[:size])

    assert fetch(only(ask("hf:o/r")), part) == hashlib.sha256(CONTENT[:size]).hexdigest()
    assert part.read_bytes() == CONTENT[:size]


def make_large(hub: HubServer) -> Path:
    """A file that takes three requests."""
    path = hub.folder / FILE
    with path.open("wb") as file:
        for number in range(71):
            file.write(number.to_bytes(4, "little") * (BLOCK_BYTES // 4))
        file.truncate(70 * BLOCK_BYTES + 1)
    return path


@pytest.mark.parametrize("lie", ["", "one-at-a-time", "expired-once", "short-once", "stall-once", "busy-once"])
def test_a_slow_line_gets_several_connections(
    hub: HubServer, part: Path, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole file, also where the server allows one connection only, or lets each address be used once."""
    path = make_large(hub)
    hub.lies, hub.rate = {FILE: lie}, 50e6
    monkeypatch.setattr("botframework.models.store.download.GROW_S", 0.05)
    most: list[int] = []

    def count(*_: int) -> None:
        most.append(sum(thread.name == "botframework-fetch" for thread in threading.enumerate()))

    assert fetch(only(ask("hf:o/r")), part, on_progress=count) == hub.digest(path)
    assert part.read_bytes() == path.read_bytes()
    assert 1 < max(most) <= CONNECTIONS


def test_a_fast_line_gets_one_connection(hub: HubServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others would only take turns at the interpreter."""
    path = make_large(hub)
    monkeypatch.setattr("botframework.models.store.download.FAST_BYTES_PER_S", 0.0)
    monkeypatch.setattr("botframework.models.store.download.GROW_S", 0.0)

    assert fetch(only(ask("hf:o/r")), part) == hub.digest(path)
    assert len(hub.downloads()) == 3


def test_nothing_is_asked_for_twice(hub: HubServer, part: Path) -> None:
    """Three requests, none for more than 32 MiB, and together they ask for every byte once."""
    path = make_large(hub)

    assert fetch(only(ask("hf:o/r")), part) == hub.digest(path)
    assert hub.sent == path.stat().st_size
    assert len([asked for asked in hub.downloads() if asked.range]) == 3


@pytest.mark.parametrize("limit", [300_000, 2 * BLOCK_BYTES + 77, 4 * BLOCK_BYTES + 4_000])
def test_kill_and_resume(hub: HubServer, part: Path, limit: int) -> None:
    """A killed download goes on where it was: at most the block that each connection had in hand is sent twice."""
    source = only(ask("hf:o/r"))
    hub.sends_at_most = limit
    command = [sys.executable, "-m", "support.downloader", str(part), msgspec.json.encode(source).decode()]
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        # The server stalls after that many bytes; the client has then taken all of them.
        assert any(line.strip() == str(limit) for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    before, hub.sends_at_most = hub.sent, None
    hub.released.set()

    assert before == limit
    assert fetch(source, part) == DIGEST
    assert part.read_bytes() == CONTENT
    assert hub.sent - SIZE <= CONNECTIONS * BLOCK_BYTES
    assert hub.sent - SIZE <= limit


def test_stop_ends_it_at_once_and_keeps_what_has_come(hub: HubServer, part: Path) -> None:
    """Also while every connection waits for the server; no thread is left, and the next download goes on."""
    source = only(ask("hf:o/r"))
    hub.sends_at_most = 3 * BLOCK_BYTES
    stop = threading.Event()
    stopped_at: list[float] = []

    def watch(done: int, _: int) -> None:
        if done == 3 * BLOCK_BYTES and not stop.is_set():
            stopped_at.append(time.monotonic())
            stop.set()

    with pytest.raises(RequestCancelled):
        fetch(source, part, stop=stop, on_progress=watch, patience=Patience())
    assert time.monotonic() - stopped_at[0] < 1.0
    assert not [thread for thread in threading.enumerate() if thread.name == "botframework-fetch"]

    hub.sends_at_most = None
    assert fetch(source, part) == DIGEST
    assert hub.sent - SIZE <= BLOCK_BYTES * CONNECTIONS


def test_what_is_damaged_meanwhile_is_fetched_again(hub: HubServer, part: Path) -> None:
    """A page that a loss of power has lost costs its block and nothing else."""
    source = only(ask("hf:o/r"))
    fetch(source, part)
    with part.open("r+b") as file:
        file.seek(2 * BLOCK_BYTES + 5 * 4_096)
        file.write(bytes(4_096))

    assert fetch(source, part) == DIGEST
    assert part.read_bytes() == CONTENT
    assert hub.sent == SIZE + BLOCK_BYTES


def test_damage_that_no_sample_shows_is_the_digests(hub: HubServer, part: Path) -> None:
    """One wrong bit is found in the end; then nothing of the part is left, and the next attempt is whole."""
    source = only(ask("hf:o/r"))
    fetch(source, part)
    with part.open("r+b") as file:
        file.seek(1)
        file.write(bytes([CONTENT[1] ^ 1]))
    with pytest.raises(DigestMismatch):
        fetch(source, part)

    assert not list(part.parent.iterdir())
    assert fetch(source, part) == DIGEST


def test_a_whole_part_is_not_fetched_again(hub: HubServer, part: Path) -> None:
    """Killed between the last byte and the final name: it is hashed, and the server is asked for nothing."""
    source = only(ask("hf:o/r"))
    fetch(source, part)
    asked = len(hub.asked)

    assert fetch(source, part) == DIGEST
    assert len(hub.asked) == asked


def test_a_part_of_another_file_is_not_gone_on_with(hub: HubServer, part: Path) -> None:
    """The journal says whose the part is."""
    fetch(only(ask("hf:o/r")), part)
    other = bytes(reversed(CONTENT))
    (hub.folder / FILE).write_bytes(other)

    assert fetch(only(ask("hf:o/r")), part) == hashlib.sha256(other).hexdigest()
    assert part.read_bytes() == other


def test_without_digest_and_tag_nothing_is_gone_on_with(hub: HubServer, part: Path) -> None:
    """Nobody could say whether the server still has the same file."""
    source = replace(only(ask("hf:o/r")), sha256=None)
    fetch(source, part)

    assert fetch(source, part) == DIGEST
    assert hub.sent == 2 * SIZE


def test_a_tag_tells_versions_apart(hub: HubServer, part: Path) -> None:
    """Without a digest a download goes on if the server's tag is the same, and ends if it is not."""
    source = only(ask(f"{hub.address}/plain/{FILE}"))
    assert source.sha256 is None
    hub.rate = 4e6
    stop_after(source, part, BLOCK_BYTES)
    hub.rate = None
    part.with_suffix(".copy").write_bytes(part.read_bytes())
    journal_copy = journal_of(part).read_bytes()

    assert fetch(source, part) == DIGEST
    part.write_bytes(part.with_suffix(".copy").read_bytes())
    journal_of(part).write_bytes(journal_copy)
    (hub.folder / FILE).write_bytes(bytes(reversed(CONTENT)))
    with pytest.raises(DownloadFailed, match="was changed meanwhile"):
        fetch(source, part)


def test_no_journal_misleads(hub: HubServer, part: Path) -> None:
    """Whatever stands in the journal, cut, changed or of random bytes: the file is the published one or nobody's."""
    source = only(ask("hf:o/r"))
    fetch(source, part)
    good = journal_of(part).read_bytes()
    chance = random.Random(37)
    for _ in range(60):
        content = bytearray(good[: chance.choice([len(good), len(good), chance.randrange(len(good))])])
        for _ in range(chance.randrange(4)):
            if content:
                content[chance.choice([chance.randrange(len(content)), min(HEAD_BYTES, len(content) - 1)])] ^= (
                    1 << chance.randrange(8)
                )
        journal_of(part).write_bytes(bytes(content))
        with part.open("r+b") as file:
            file.seek(chance.randrange(SIZE // 4_096) * 4_096)
            file.write(bytes(4_096))

        assert fetch(source, part) == DIGEST
        assert part.read_bytes() == CONTENT


def test_a_link_in_the_place_of_a_part_is_not_followed(hub: HubServer, part: Path, tmp_path: Path) -> None:
    """Nothing is written where it leads."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    part.symlink_to(victim)
    journal_of(part).symlink_to(victim)

    assert fetch(only(ask("hf:o/r")), part) == DIGEST
    assert victim.read_bytes() == b"mine"
    assert not part.is_symlink()


def test_discard_leaves_nothing(hub: HubServer, part: Path) -> None:
    """Part and journal go; a second time there is nothing to do."""
    fetch(only(ask("hf:o/r")), part)
    discard(part)
    discard(part)

    assert not list(part.parent.iterdir())


def test_a_disk_without_room_is_told_before_the_first_byte(
    hub: HubServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file and a tenth of it must fit; the error has the figures and the folder."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(SIZE, 0, int(SIZE * 1.05)))
    with pytest.raises(DiskFull) as caught:
        fetch(only(ask("hf:o/r")), part)

    assert caught.value.data == {
        "neededBytes": SIZE + SIZE // 10,
        "freeBytes": int(SIZE * 1.05),
        "folder": str(part.parent),
    }
    assert hub.sent == 0


class FailingWrite:
    """``os.write`` that fails at its N-th call."""

    def __init__(self, number: int, code: int) -> None:
        self._write = os.write
        self._number = number
        self._code = code
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self, descriptor: int, data: Any) -> int:
        """Write, or not."""
        with self._lock:
            self.count += 1
            is_hit = self.count == self._number
        if is_hit:
            raise OSError(self._code, os.strerror(self._code))
        return self._write(descriptor, data)


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, StoreError)]
)
def test_a_fault_at_any_write(
    hub: HubServer, part: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[StoreError]
) -> None:
    """The disk refuses the N-th write, for every N: an error of the tree each time, and the next attempt is whole."""
    source = only(ask("hf:o/r"))
    number, is_struck = 0, True
    while is_struck:
        number += 1
        shim = FailingWrite(number, code)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", shim)
            try:
                assert fetch(source, part) == DIGEST
            except error:
                assert shim.count >= number
            else:
                is_struck = shim.count >= number
                assert not is_struck
        assert fetch(source, part) == DIGEST
        discard(part)

    assert number > 2 * SIZE // BLOCK_BYTES
