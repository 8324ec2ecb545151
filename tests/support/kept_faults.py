"""Faults at every system call of the writers of small files that daemons keep (`disk_faults`).

``python -m support.kept_faults MODE FILE FOLDER`` prints one JSON object: for every N the call that was hit, what was
said, and which content was found afterwards. MODE is one of `disk_faults`; FILE is

``ledger``    what the daemons of a user remember of a worker key;
``hardware``  what the last look found of the machine;
``bandwidth`` the highest bandwidths that were ever measured.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from botframework.manager import ledger
from botframework.manager.ledger import Ledger
from botframework.models import hardware
from botframework.models.hardware.history import highest_bandwidth
from support.disk_faults import every_fault

OLD = hardware.Hardware(cpu="old", physical_cores=1, logical_cores=1, ram_total=1 << 34, ram_available=1 << 33, gpus=())
NEW = replace(OLD, cpu="new")
CPU, OTHER = "this processor", "the one before"


class LedgerFile:
    """Written under a lock, whenever a worker starts or dies."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "0123456789abcdef.json"

    def prepare(self) -> None:
        """The state before."""
        ledger.write(self.path, Ledger(last_words="old"))

    def act(self) -> None:
        """What is struck."""
        ledger.write(self.path, Ledger(last_words="new"))

    def found(self) -> str:
        """What a reader gets; an empty ledger is what half a file would be."""
        return ledger.read(self.path).last_words or "other"


class HardwareFile:
    """Written by whichever daemon sees a change first."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hardware.json"

    def prepare(self) -> None:
        """The state before."""
        self.path.unlink(missing_ok=True)
        hardware.since_last_look(self.path, OLD)

    def act(self) -> object:
        """What is struck."""
        return hardware.since_last_look(self.path, NEW)

    def found(self) -> str:
        """What the next look compares with."""
        kept = msgspec.json.decode(self.path.read_bytes(), type=hardware.Hardware)
        return {OLD: "old", NEW: "new"}.get(kept, "other")


class BandwidthFile:
    """Written when a higher figure was measured."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bandwidth.json"

    def prepare(self) -> None:
        """The state before: two processors are known."""
        self.path.write_text(json.dumps({OTHER: 50.0, CPU: 10.0}))

    def act(self) -> object:
        """What is struck."""
        return highest_bandwidth(self.path, CPU, 20.0)

    def found(self) -> str:
        """What is known; the figure of the other processor is there in either case."""
        kept = json.loads(self.path.read_bytes())
        return {10.0: "old", 20.0: "new"}.get(kept[CPU], "other") if kept.pop(OTHER) == 50.0 else "other"


FILES: dict[str, type[LedgerFile | HardwareFile | BandwidthFile]] = {
    "ledger": LedgerFile,
    "hardware": HardwareFile,
    "bandwidth": BandwidthFile,
}


def main() -> None:
    """Print what came of every fault."""
    mode, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    file = FILES[name](folder)

    def prepare() -> None:
        for path in folder.iterdir():
            path.unlink()
        file.prepare()

    def look() -> dict[str, Any]:
        found = {"found": file.found(), "unnamed": len([path for path in folder.iterdir() if path != file.path])}
        file.act()
        return {**found, "again": file.found()}

    print(json.dumps(list(every_fault(mode, prepare, file.act, look))))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
