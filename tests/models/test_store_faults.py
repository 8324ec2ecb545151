"""Check 37 for the store: faults of the disk at every call, and kills at every call."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from support.disk_faults import MODES, results_of
from support.hub_server import HubServer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults strike in forked processes")
BEFORE = {"hub": "old", "first": "none", "update": "old", "split": "old", "remove": "old", "repair": "old"}
AFTER = {"hub": "new", "first": "new", "update": "new", "split": "new", "remove": "none", "repair": "old"}
LEAST = {"fail": 30, "late": 8, "kill": 8, "short": 1, "full": 1}
"""Calls of the smallest action; fewer would mean that the faults stand in the wrong place."""


@pytest.mark.parametrize("action", list(BEFORE))
@pytest.mark.parametrize("mode", MODES)
def test_a_fault_at_any_call_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain_surroundings: None, mode: str, action: str
) -> None:
    """Whatever fails, is cut short, fills up or is killed: what is found is whole, and the next pull succeeds.

    At the very moment a split model may be invisible, since its names cannot change in one step; it is never half, and
    the next look finds it.
    """
    (tmp_path / "hub" / "maker" / "model").mkdir(parents=True)
    with HubServer(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        *struck, last = results_of("store_faults", mode, action, tmp_path, deadline_s=110)

    if action == "remove" and mode in {"short", "full"}:
        assert struck == []  # who has no room left must be able to make some
    else:
        assert len(struck) >= LEAST[mode]
    assert (last["found"], last["exit"]) == (AFTER[action], 0)
    whole = {BEFORE[action], AFTER[action]}
    for result in struck:
        assert result["at_once"] in whole | {"none"}, result
        assert result["at_once"] in whole or action in {"split", "repair"}, result
        assert result["found"] in whole, result
        assert result["visible"] == result["found"], result
        assert result["count"] == (0 if result["found"] == "none" else 1), result
        assert (result["again"], result["again_visible"]) == ("new", "new"), result
        assert result["exit"] == (-signal.SIGKILL if mode == "kill" else 0), result
    if mode != "kill" and action != "repair":
        errors = {result["said"] for result in struck if isinstance(result["said"], str) and "/" not in result["said"]}
        of_the_disk = {"StoreError", "DiskFull", "ModelNotFound"}
        assert errors <= of_the_disk | ({"DownloadFailed", "ConfigError"} if action == "hub" else set()), errors
    if mode in {"short", "full"} and action in {"first", "update", "split", "hub"}:
        assert "DiskFull" in {result["said"] for result in struck}
