"""Which cards the kernel lists, from its own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from botframework.models import hardware
from botframework.models.hardware import kernel

if TYPE_CHECKING:
    from pathlib import Path

INTEL = "../../devices/pci0000:00/0000:00:02.0/drm"
DOCKED = "../../devices/pci0000:00/0000:00:1c.4/0000:03:00.0/drm"


@pytest.fixture
def drm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A laptop's list: one card with a screen."""
    monkeypatch.setattr(kernel, "PLATFORM", "linux")
    monkeypatch.setattr(kernel, "SYS", tmp_path / "sys")
    monkeypatch.setattr(kernel, "PROC", tmp_path / "proc")
    folder = tmp_path / "sys/class/drm"
    folder.mkdir(parents=True)
    for name in ("card0", "card0-eDP-1", "renderD128"):
        (folder / name).symlink_to(f"{INTEL}/{name}")
    (folder / "version").write_text("drm 1.1.0 20060810\n")
    return folder


def test_a_card_that_is_plugged_in(drm: Path) -> None:
    """The list is another one while it is there, and the same as before afterwards."""
    before = hardware.cards()
    (drm / "card1").symlink_to(f"{DOCKED}/card1")
    with_it = hardware.cards()
    (drm / "card1").unlink()

    assert with_it - before == {f"{DOCKED}/card1"}
    assert hardware.cards() == before == {f"{INTEL}/card0", f"{INTEL}/renderD128"}


def test_a_monitor_is_no_card(drm: Path) -> None:
    """Screens come and go, and nothing is asked for that."""
    before = hardware.cards()
    (drm / "card0-HDMI-A-1").symlink_to(f"{INTEL}/card0-HDMI-A-1")

    assert hardware.cards() == before


def test_another_card_of_the_same_name(drm: Path) -> None:
    """Names are given anew; the place on the bus tells the cards apart."""
    before = hardware.cards()
    (drm / "card0").unlink()
    (drm / "card0").symlink_to(f"{DOCKED}/card0")

    assert hardware.cards() != before


def test_a_card_without_a_display(drm: Path, tmp_path: Path) -> None:
    """NVIDIA's driver lists it in a place of its own."""
    before = hardware.cards()
    (tmp_path / "proc/driver/nvidia/gpus/0000:41:00.0").mkdir(parents=True)

    assert hardware.cards() - before == {"0000:41:00.0"}


def test_a_machine_without_any(drm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No driver, no files, no error; other systems keep none."""
    monkeypatch.setattr(kernel, "SYS", tmp_path / "none")
    assert hardware.cards() == frozenset()

    monkeypatch.setattr(kernel, "SYS", tmp_path / "sys")
    monkeypatch.setattr(kernel, "PLATFORM", "win32")
    assert hardware.cards() == frozenset()
