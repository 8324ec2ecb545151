"""Whether the machine runs on its battery, which no test can pull the plug of."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from botframework.process import power

if TYPE_CHECKING:
    from pathlib import Path

PLUG, USB = {"type": "Mains", "online": "1"}, {"type": "USB", "online": "1"}
NO_PLUG = {"type": "Mains", "online": "0"}
BATTERY = {"type": "Battery", "status": "Discharging", "scope": "System"}
FULL = {"type": "Battery", "status": "Full"}
MOUSE = {"type": "Battery", "status": "Discharging", "scope": "Device"}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked before."""
    monkeypatch.setattr(power, "_asked_at", -power.BELIEVED_S)
    monkeypatch.setattr(power, "_answer", False)


def test_this_machine() -> None:
    """Whatever this machine has, there is an answer."""
    assert power.on_battery() in (True, False)


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        (None, False),
        ([], False),
        ([BATTERY], True),
        ([FULL], False),
        ([MOUSE], False),
        ([MOUSE, FULL, BATTERY, NO_PLUG], True),
        ([BATTERY, PLUG], False),
        ([BATTERY, NO_PLUG, USB], False),
        ([{}, {"type": "Battery"}], False),
    ],
)
def test_what_linux_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, supplies: list[dict[str, str]] | None, *, expected: bool
) -> None:
    """A battery of the machine that is being emptied, and no plug that gives power; read without psutil."""
    where = tmp_path / "power_supply"
    for number, supply in enumerate(supplies or ()):
        folder = where / str(number)
        folder.mkdir(parents=True)
        for name, word in supply.items():
            (folder / name).write_text(f"{word}\n")
    if supplies == []:
        where.mkdir()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(power, "SUPPLIES", where)
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)

    assert power.on_battery() is expected


@pytest.mark.parametrize(
    ("battery", "expected"),
    [
        (None, False),
        (SimpleNamespace(power_plugged=True), False),
        (SimpleNamespace(power_plugged=None), False),
        (SimpleNamespace(power_plugged=False), True),
    ],
)
def test_every_kind_of_machine(monkeypatch: pytest.MonkeyPatch, battery: Any, *, expected: bool) -> None:
    """Elsewhere psutil tells: only a battery that is known to be in use counts; the answer is believed for a while."""
    asked = []

    def sensors_battery() -> Any:
        asked.append(1)
        return battery

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery, raising=False)

    assert [power.on_battery(), power.on_battery()] == [expected, expected]
    assert len(asked) == 1


@pytest.mark.parametrize("error", [OSError, RuntimeError, AttributeError])
def test_a_driver_that_fails(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Not knowing is no reason to save."""

    def sensors_battery() -> Any:
        raise error("as asked")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery, raising=False)

    assert power.on_battery() is False
