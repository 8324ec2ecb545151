"""A workspace's folder of snapshots with ordinary parameters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botframework.worker.fingerprint import DIGEST_BYTES, FINGERPRINT_BYTES
from botframework.worker.snapshots import SnapshotFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FINGERPRINT = bytes(range(FINGERPRINT_BYTES))
PLENTY = 1 << 30


def key(number: int) -> bytes:
    """A session's key."""
    return bytes([number]) * DIGEST_BYTES


def folder_at(
    path: Path, *, limit_bytes: int = PLENTY, mark: bytes = FINGERPRINT, clock: Callable[[], float] = time.time
) -> SnapshotFolder:
    """A folder, which is not made yet."""
    return SnapshotFolder(path, limit_bytes=limit_bytes, fingerprint=mark, clock=clock)
