"""Whether the machine runs on its battery, which no test can pull the plug of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from botframework.process import power


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked before."""
    monkeypatch.setattr(power, "_asked_at", -power.BELIEVED_S)
    monkeypatch.setattr(power, "_answer", False)


def test_this_machine() -> None:
    """Whatever this machine has, there is an answer."""
    assert power.on_battery() in (True, False)


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
    """Only a battery that is known to be in use counts; the answer is believed for a while."""
    asked = []

    def sensors_battery() -> Any:
        asked.append(1)
        return battery

    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery, raising=False)

    assert [power.on_battery(), power.on_battery()] == [expected, expected]
    assert len(asked) == 1


@pytest.mark.parametrize("error", [OSError, RuntimeError, AttributeError])
def test_a_driver_that_fails(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """Not knowing is no reason to save."""

    def sensors_battery() -> Any:
        raise error("as asked")

    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery, raising=False)

    assert power.on_battery() is False
