"""Check 37 for the store: faults of the disk at every call, and kills at every call."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.disk_faults import MODES
from support.hub_server import HubServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults strike in forked processes")
TESTS = Path(__file__).parent.parent
BEFORE = {"hub": "old", "first": "none", "update": "old", "split": "old", "remove": "old", "repair": "old"}
AFTER = {"hub": "new", "first": "new", "update": "new", "split": "new", "remove": "none", "repair": "old"}
LEAST = {"fail": 30, "late": 8, "kill": 8, "short": 1, "full": 1}
"""Calls of the smallest action; fewer would mean that the faults stand in the wrong place."""


def faults(mode: str, action: str, folder: Path) -> list[dict[str, Any]]:
    """What came of a fault at every call of an action."""
    done = subprocess.run(
        [sys.executable, "-m", "support.store_faults", mode, action, str(folder)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


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
        *struck, last = faults(mode, action, tmp_path)

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
