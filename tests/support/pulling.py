"""A model on a local hub, and what tests do with it: ask, fetch, stop."""

from __future__ import annotations

import hashlib
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from botframework.errors import RequestCancelled
from botframework.models.store import HubReference, WebReference, parse
from botframework.models.store.download import download
from botframework.models.store.journal import BLOCK_BYTES
from botframework.models.store.resolve import resolve
from botframework.models.store.web import Patience

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.models.store.remote import RemoteFile, Resolved

FILE = "o/r/model-q4_k_m.gguf"
SIZE = 5 * BLOCK_BYTES + 4_321
CONTENT = random.Random(5).randbytes(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PATIENCE = Patience(stall_s=1.5, connect_s=2.0, attempts=3, pause_s=0.02)


def ask(text: str) -> Resolved:
    """What a reference means now."""
    reference = parse(text)
    assert isinstance(reference, (HubReference, WebReference))
    return resolve(reference, patience=PATIENCE)


def fetch(source: RemoteFile, part: Path, **more: Any) -> str:
    """Download with little patience."""
    given: dict[str, Any] = {"on_progress": lambda *_: None, "stop": threading.Event(), "patience": PATIENCE}
    return download(source, part, **(given | more))


def only(resolved: Resolved) -> RemoteFile:
    """The one file."""
    (file,) = resolved.files
    return file


def stop_after(source: RemoteFile, part: Path, n_bytes: int, **more: Any) -> None:
    """Download until so many bytes are there, and stop."""
    stop = threading.Event()

    def watch(done: int, _: int) -> None:
        if done >= n_bytes:
            stop.set()

    with pytest.raises(RequestCancelled):
        fetch(source, part, stop=stop, on_progress=watch, **more)
