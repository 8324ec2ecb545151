"""What old worker keys leave in the runtime folder, and who takes it away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from botframework.manager import leftovers
from botframework.manager.leftovers import MIN_AGE_S, sweep
from botframework.process import FileLock
from botframework.wire.flight import FlightWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.house import House

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no socket files")

OLD = "00000000000000aa"
OWN = "00000000000000bb"
NAMES = {f"{OLD}.{ending}" for ending in ("sock", "flight", "json", "lock")}
WRITER = "import sys, pathlib, botframework.wire.flight as flight; flight.FlightWriter(pathlib.Path(sys.argv[1]))"
"""Writes a recorder and ends."""


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Somebody who takes connections there; the file stays when it ends, as after a death."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield server


def leave(folder: Path, key: str = OLD) -> None:
    """What a worker and its daemons leave that were killed together."""
    with listening(folder / f"{key}.sock"):
        pass
    subprocess.run([sys.executable, "-c", WRITER, str(folder / f"{key}.flight")], check=True)
    for ending in ("json", "lock"):
        (folder / f"{key}.{ending}").touch()
    grow_old(folder)


def grow_old(folder: Path) -> None:
    """Let two days pass for every file."""
    then = time.time() - 2 * MIN_AGE_S
    for path in folder.iterdir():
        os.utime(path, (then, then))


def names(folder: Path) -> set[str]:
    """What lies there."""
    return {path.name for path in folder.iterdir()}


def test_the_dead_are_swept(runtime_dir: Path) -> None:
    """Files of a key that nobody has used for a day go, and nothing else does."""
    leave(runtime_dir)
    (runtime_dir / f"{OWN}.json").touch()
    (runtime_dir / "botframework.log").touch()
    grow_old(runtime_dir)

    assert sweep(runtime_dir, own=OWN) == [OLD]
    assert names(runtime_dir) == {f"{OWN}.json", "botframework.log"}


def test_what_is_left_of_a_key_is_enough_to_sweep_it(runtime_dir: Path) -> None:
    """A key whose worker ended in good order has no socket."""
    leave(runtime_dir)
    (runtime_dir / f"{OLD}.sock").unlink()
    (runtime_dir / f"{OLD}.lock").unlink()

    assert sweep(runtime_dir, own=OWN) == [OLD]
    assert names(runtime_dir) == set()


def test_what_a_killed_writer_left_is_swept(runtime_dir: Path) -> None:
    """A ledger that never took its name; one of today may be somebody's who is still writing."""
    old, young = (runtime_dir / f".{digit * 16}.new" for digit in "01")
    old.write_bytes(b"half")
    grow_old(runtime_dir)
    young.write_bytes(b"half")

    assert sweep(runtime_dir, own=OWN) == []
    assert names(runtime_dir) == {young.name}


def test_the_young_stay(runtime_dir: Path) -> None:
    """Somebody may come back to a key of today, and its ledger still counts."""
    leave(runtime_dir)
    os.utime(runtime_dir / f"{OLD}.json")

    assert sweep(runtime_dir, own=OWN) == []
    assert names(runtime_dir) == NAMES


def test_a_worker_that_listens_stays(runtime_dir: Path) -> None:
    """However old its files are, and even when it has no time to take a connection."""
    leave(runtime_dir)
    (runtime_dir / f"{OLD}.sock").unlink()
    with listening(runtime_dir / f"{OLD}.sock") as server, contextlib.ExitStack() as waiting:
        server.listen(0)
        grow_old(runtime_dir)

        assert sweep(runtime_dir, own=OWN) == []
        for _ in range(2):  # Nobody else fits into the queue.
            caller = waiting.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            caller.connect_ex(str(runtime_dir / f"{OLD}.sock"))
        assert sweep(runtime_dir, own=OWN) == []

    assert names(runtime_dir) == NAMES


def test_a_worker_that_lost_its_socket_keeps_its_recorder(runtime_dir: Path) -> None:
    """A cleaner may have taken the name away; what the worker says of its end is still to be read."""
    leave(runtime_dir)
    FlightWriter(runtime_dir / f"{OLD}.flight")
    grow_old(runtime_dir)

    assert sweep(runtime_dir, own=OWN) == []
    assert names(runtime_dir) == NAMES


def test_a_key_that_is_being_started_stays(runtime_dir: Path) -> None:
    """Whoever holds the lock is about to make these files new."""
    leave(runtime_dir)
    with FileLock(runtime_dir / f"{OLD}.lock"):
        assert sweep(runtime_dir, own=OWN) == []

    assert names(runtime_dir) == NAMES


def test_the_swept_key_can_be_locked_again(runtime_dir: Path) -> None:
    """A daemon that waited for the lock while it was swept gets a lock that holds."""
    leave(runtime_dir)
    sweep(runtime_dir, own=OWN)

    with FileLock(runtime_dir / f"{OLD}.lock"):
        assert not FileLock(runtime_dir / f"{OLD}.lock").try_acquire()


def test_a_folder_that_is_gone_is_no_matter(runtime_dir: Path) -> None:
    """Sweeping raises nothing: it is nobody's purpose."""
    assert sweep(runtime_dir / "never", own=OWN) == []


async def test_whoever_starts_a_worker_sweeps(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a dead key are gone when the next worker is ready, whose own are there."""
    await asyncio.to_thread(leave, house.folder)

    await house.ready()

    assert not names(house.folder) & NAMES
    assert house.supervisors[0]._place.socket.exists()
    assert sweep(house.folder, own=OWN, now=time.time() + 2 * leftovers.MIN_AGE_S) == []
