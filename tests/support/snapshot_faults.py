"""Faults at every system call of a snapshot's writing (`disk_faults`).

``python -m support.snapshot_faults MODE FOLDER`` prints one JSON object: for every N the call that was hit, what
`write` said, and which content was found afterwards. MODE is one of `disk_faults`, or

``first`` as ``kill``, with no snapshot there before;
``read``  as ``fail``, while a snapshot is read.
"""

from __future__ import annotations

import json
import logging
import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botframework.worker.fingerprint import DIGEST_BYTES, FINGERPRINT_BYTES
from botframework.worker.parked import ParkedState
from botframework.worker.snapshots import SnapshotFolder
from support.disk_faults import every_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = bytes(range(DIGEST_BYTES))
FINGERPRINT = b"f" * FINGERPRINT_BYTES
LIMIT_BYTES = 64 * 1024 * 1024


def old() -> ParkedState:
    """The snapshot that is there before."""
    return ParkedState(array("i", range(100)), b"old" * 500_000, b"the old note")


def new() -> ParkedState:
    """The one that is to take its place."""
    return ParkedState(array("i", range(50, 400)), b"newer" * 500_000, b"the new note")


def folder_at(path: Path) -> SnapshotFolder:
    """The folder as a worker sees it."""
    return SnapshotFolder(path, limit_bytes=LIMIT_BYTES, fingerprint=FINGERPRINT)


def name_of(found: ParkedState | None) -> str:
    """Which of the two a reader got."""
    return "none" if found is None else "old" if found == old() else "new" if found == new() else "other"


def all_faults(mode: str, path: Path) -> Iterator[dict[str, Any]]:
    """Strike at every call; what happened, and what a fresh reader finds."""
    before = folder_at(path)

    def prepare() -> None:
        before.clear()
        if mode != "first":
            assert before.write(KEY, old())

    def act() -> object:
        folder = folder_at(path)
        return name_of(folder.read(KEY)) if mode == "read" else folder.write(KEY, new())

    def look() -> dict[str, Any]:
        return {"found": name_of(folder_at(path).read(KEY)), "leftovers": len(list(path.glob(".*.part")))}

    return every_fault({"first": "kill", "read": "fail"}.get(mode, mode), prepare, act, look)


def main() -> None:
    """Print what came of every fault."""
    mode, path = sys.argv[1], Path(sys.argv[2])
    logging.disable(logging.CRITICAL)
    print(json.dumps(list(all_faults(mode, path))))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
