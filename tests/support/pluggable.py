"""A machine whose graphics cards are plugged in and pulled out while daemons run on it.

The kernel's list, NVIDIA's driver and llama.cpp's own list all follow a folder, so that several processes are on one
machine. As a program it is the real daemon on such a machine::

    python tests/support/pluggable.py FOLDER --stdio …
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from botframework.manager import machine, machine_watch
from botframework.process.durable import replace_whole
from botframework.wire.messages import Device
from support.fake_machine import GIB, GPU_IS_LOST, FakeNvml, forget_the_machine, install_nvml, linux_machine

if TYPE_CHECKING:
    from types import SimpleNamespace

    import pytest

CARDS = "cards.json"
ASKED = "asked"
RAM = (64 * GIB, 48 * GIB)


class PluggableMachine:
    """The folder that says which cards there are.

    Parameters
    ----------
    folder
        Of its own; made with the first card, or by `install`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plug(self, name: str, vram: int, *, is_ready: bool = True) -> None:
        """Put a card in; if it is not ready the kernel lists it before its driver does."""
        if is_ready:
            self.be_ready(name, vram)
        slot = self._kernel_list / "card1"
        slot.symlink_to(f"../../devices/{name}/drm/card1")

    def be_ready(self, name: str, vram: int) -> None:
        """Let the drivers see the card."""
        self._write({name: vram})

    def pull_out(self) -> None:
        """Take the card away."""
        self._write({})
        (self._kernel_list / "card1").unlink()

    @property
    def asked(self) -> int:
        """How often llama.cpp was asked for its devices, by any process."""
        return len((self.folder / ASKED).read_text()) if (self.folder / ASKED).exists() else 0

    @property
    def _kernel_list(self) -> Path:
        path = self.folder / "sys/class/drm"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _write(self, cards: dict[str, int]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_whole(self.folder / CARDS, json.dumps(cards).encode(), durable=False)

    def cards(self) -> dict[str, int]:
        """Memory by name, as the drivers see them."""
        path = self.folder / CARDS
        cards: dict[str, int] = json.loads(path.read_bytes()) if path.exists() else {}
        return cards

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put this process on the machine, with a llama.cpp that was built for its cards."""
        linux_machine(patch, self.folder / f"process-{os.getpid()}", ram=RAM)
        patch.setattr("botframework.models.hardware.kernel.SYS", self.folder / "sys")
        self._kernel_list.mkdir(parents=True, exist_ok=True)
        install_nvml(patch, self.folder, [])
        patch.setitem(sys.modules, "pynvml", _Nvml(self))
        patch.setattr(machine, "library_names", lambda: ("libggml-cpu.so", "libggml-cuda.so"))
        patch.setattr(machine, "probe_devices", self._probe_devices)
        patch.setattr(machine, "_devices", machine._DeviceList())
        forget_the_machine()

    async def _probe_devices(self) -> tuple[Device, ...]:
        with (self.folder / ASKED).open("a") as file:
            file.write(".")
        gpus = (
            Device(name=f"CUDA{number}", description=name, kind="gpu", total_bytes=vram, free_bytes=vram)
            for number, (name, vram) in enumerate(self.cards().items())
        )
        return (machine.PROCESSOR_ONLY, *gpus)


class _Nvml(FakeNvml):
    """A driver that counts its cards when it is opened, as the real one does."""

    def __init__(self, there: PluggableMachine) -> None:
        super().__init__([], {})
        self._there = there

    def _init(self) -> None:
        cards = self._there.cards()
        self.names, self.vram = list(cards), [(total, 0) for total in cards.values()]
        super()._init()

    def _memory(self, handle: int) -> SimpleNamespace:
        if self.names[handle] not in self._there.cards():
            raise self.NVMLError(GPU_IS_LOST)
        return super()._memory(handle)


def main() -> int:
    """Be the daemon."""
    import pytest

    patch = pytest.MonkeyPatch()
    PluggableMachine(Path(sys.argv[1])).install(patch)
    # A list comes late rather than old, where so many tests run at once that a look takes seconds.
    patch.setattr(machine_watch, "PATIENCE_S", 60.0)
    from botframework.cli import main as botframework

    sys.argv = ["botframework", *sys.argv[2:]]
    return botframework()


if __name__ == "__main__":
    sys.exit(main())
