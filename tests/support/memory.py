"""A machine with as much memory as a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botframework.manager import need
from botframework.manager.need import Room
from botframework.process import is_alive
from support.chaos_worker import spawns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

PLENTY = 1 << 50


def has_memory(patch: pytest.MonkeyPatch, free: Callable[[], int], whole: int = PLENTY) -> None:
    """Let the machine have no GPU, so many bytes free at each look, and so many in all."""
    patch.setattr(need, "free", lambda: Room(free(), None))
    patch.setattr(need, "whole", lambda: Room(whole, None))


def holds_one(folder: Path, ram: int = PLENTY) -> Callable[[], int]:
    """Free memory of a machine that holds one worker of a runtime folder at a time."""
    return lambda: 0 if any(is_alive(pid) for pid in spawns(folder)) else ram
