"""Check 37 for the small files that daemons keep: whatever fails at a write, they are the old ones or the new ones."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from support.disk_faults import MODES, results_of
from support.kept_faults import FILES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="faults strike in forked processes")
LEAST = {"fail": 4, "late": 4, "kill": 4, "short": 1, "full": 1}
"""Calls of the smallest write (open, write, close, replace); fewer: the faults stand in the wrong place."""


@pytest.mark.parametrize("file", list(FILES))
@pytest.mark.parametrize("mode", MODES)
def test_a_fault_at_any_call_leaves_the_old_or_the_new(tmp_path: Path, mode: str, file: str) -> None:
    """Nobody reads half a file, the next write succeeds, and only a kill leaves a file without a name."""
    *struck, last = results_of("kept_faults", mode, file, tmp_path, deadline_s=60)

    assert len(struck) >= LEAST[mode]
    assert (last["found"], last["exit"], last["unnamed"]) == ("new", 0, 0)
    for result in struck:
        assert result["found"] in {"old", "new"}, result
        assert result["again"] == "new", result
        assert result["exit"] == (-signal.SIGKILL if mode == "kill" else 0), result
        assert result["unnamed"] <= (mode == "kill"), result
        # A ledger's writer is told, since a start depends on it; the others are caches.
        assert file != "ledger" or mode == "kill" or result["said"] == "OSError", result
    assert {"old"} <= {result["found"] for result in struck}
