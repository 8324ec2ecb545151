"""The thread that writes snapshots: the newest, within limits, out of the way, and never after a deletion."""

from __future__ import annotations

import threading
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from botframework.worker import container
from botframework.worker.parked import ENTRY_BYTES, ParkedState
from botframework.worker.snapshot_writer import SnapshotWriter
from botframework.worker.snapshots import SnapshotFolder
from support.snapshot_folder import FINGERPRINT, PLENTY, folder_at, key

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 20.0


def state(size: int = 2_000, *, fill: bytes = b"s") -> ParkedState:
    """A parked state of so many bytes in memory."""
    tokens = array("i", range(10))
    return ParkedState(tokens, fill * (size - ENTRY_BYTES - tokens.itemsize * len(tokens)))


def numbers(folder: SnapshotFolder) -> list[int]:
    """Which snapshots there are."""
    return sorted(entry.key[0] for entry in folder.entries())


class Gate(SnapshotFolder):
    """A folder whose first write stops before its first piece until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, limit_bytes=PLENTY, fingerprint=FINGERPRINT)
        self.is_there = threading.Event()
        self.may_go = threading.Event()
        self.written: list[ParkedState] = []

    def write(self, key: bytes, parked: ParkedState, **options: Any) -> bool:
        """Wait in the middle, once."""

        def before_piece() -> None:
            self.is_there.set()
            assert self.may_go.wait(PATIENCE_S)

        self.written.append(parked)
        return super().write(key, parked, **options | {"before_piece": before_piece})


def test_the_newest_of_a_key_is_written(path: Path) -> None:
    """What waits is given up for a newer one; what is under way is followed by it."""
    gate, writer = Gate(path), SnapshotWriter()
    states = [state(fill=bytes([number])) for number in range(4)]
    writer.write(gate, key(1), states[0])
    assert gate.is_there.wait(PATIENCE_S)
    for newer in states[1:]:
        writer.write(gate, key(1), newer)
    assert writer.waiting(gate, key(1)) is states[3]
    assert writer.waiting(gate, key(2)) is None

    gate.may_go.set()

    assert writer.flush(PATIENCE_S)
    assert gate.written == [states[0], states[3]]
    assert gate.read(key(1)) == states[3]
    assert (writer.queued_bytes, writer.waiting(gate, key(1))) == (0, None)


def test_what_may_wait_is_limited(path: Path) -> None:
    """The oldest are given up, so that the newest fit; what never fits is refused."""
    gate, writer = Gate(path), SnapshotWriter(max_queued_bytes=50_000)
    writer.write(gate, key(0), state())
    assert gate.is_there.wait(PATIENCE_S)

    for number in range(1, 6):
        assert writer.write(gate, key(number), state(15_000))
        assert writer.queued_bytes <= 50_000
    assert not writer.write(gate, key(9), state(60_000))
    gate.may_go.set()
    assert writer.flush(PATIENCE_S)

    assert numbers(gate) == [0, 3, 4, 5]


@pytest.mark.parametrize("how", ["clear", "delete"])
def test_what_is_deleted_stays_deleted(path: Path, how: str) -> None:
    """Neither what waits nor what is being written comes back after a deletion; another folder object counts too."""
    gate, writer = Gate(path), SnapshotWriter()
    gate.may_go.set()
    writer.write(gate, key(1), state(fill=b"1"))
    assert writer.flush(PATIENCE_S)
    gate.may_go.clear()
    gate.is_there.clear()
    writer.write(gate, key(1), state(fill=b"2"))
    assert gate.is_there.wait(PATIENCE_S)
    writer.write(gate, key(1), state(fill=b"3"))

    if how == "clear":
        writer.clear(folder_at(path))
    else:
        writer.delete(gate, key(1))
    gate.may_go.set()

    assert writer.flush(PATIENCE_S)
    assert list(path.iterdir()) == []
    assert gate.written == [state(fill=b"1"), state(fill=b"2")]
    # What comes after the deletion is written.
    assert writer.write(gate, key(1), state(fill=b"4"))
    assert writer.flush(PATIENCE_S)
    assert gate.read(key(1)) == state(fill=b"4")


def test_giving_up_keeps_the_files(path: Path) -> None:
    """Nothing more is written; what is there stays."""
    gate, writer = Gate(path), SnapshotWriter()
    folder_at(path).write(key(1), state(fill=b"1"))
    writer.write(gate, key(1), state(fill=b"2"))
    assert gate.is_there.wait(PATIENCE_S)
    writer.write(gate, key(2), state())

    writer.give_up(gate)
    gate.may_go.set()

    assert writer.flush(PATIENCE_S)
    assert numbers(gate) == [1]
    assert gate.read(key(1)) == state(fill=b"1")


def test_the_thread_survives_its_tasks(folder: SnapshotFolder, caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody thought of is logged, and the next snapshot is written."""
    writer = SnapshotWriter()

    def fail() -> None:
        raise RuntimeError("a defect")

    writer.run(fail)
    writer.write(folder, key(1), state())

    assert writer.flush(PATIENCE_S)
    assert numbers(folder) == [1]
    assert "a defect" in caplog.text


class Telling(SnapshotFolder):
    """A folder that tells when something was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, limit_bytes=PLENTY, fingerprint=FINGERPRINT)
        self.is_done = threading.Event()

    def write(self, *args: Any, **options: Any) -> bool:
        """Write and tell."""
        done = super().write(*args, **options)
        self.is_done.set()
        return done


def test_writing_stops_while_it_is_held(path: Path) -> None:
    """No piece is written while a request is answered; the time limit goes on, and so does letting go."""
    waiting, slow = Telling(path), Telling(path)
    held, limited = SnapshotWriter(hold_limit_s=10 * PATIENCE_S), SnapshotWriter(hold_limit_s=0.001)
    for writer in (held, limited):
        writer.hold(held=True)
    held.write(waiting, key(1), state())
    limited.write(slow, key(2), state(5 * container.PIECE_BYTES))

    assert slow.is_done.wait(PATIENCE_S)

    assert numbers(slow) == [2]
    assert not waiting.is_done.is_set()
    assert held.waiting(waiting, key(1)) is not None
    held.hold(held=False)
    assert waiting.is_done.wait(PATIENCE_S)
    assert numbers(waiting) == [1, 2]


def test_flush_has_a_deadline_and_goes_before_hold(path: Path) -> None:
    """It returns False when the time is over, and does not wait for a hold to end."""
    gate, writer = Gate(path), SnapshotWriter(hold_limit_s=PATIENCE_S)
    assert writer.flush(0.0)
    writer.hold(held=True)
    writer.write(gate, key(1), state())
    assert gate.is_there.wait(PATIENCE_S)

    assert not writer.flush(0.01)
    gate.may_go.set()
    assert writer.flush(PATIENCE_S)
