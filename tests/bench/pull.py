"""(l) A model from a server on this machine to the disk, hashed on the way, beside curl, which only writes."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report import Report, Row
from botframework.models.store.download import download
from botframework.models.store.journal import discard
from botframework.models.store.reference import HubReference
from botframework.models.store.resolve import resolve
from support.hub_server import serving_apart

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.setting import Setting

PROMISE = 0.8
NAME = "bench/pull/model-q8_0.gguf"
PIECE_BYTES = 1 << 20
MIB = 512
QUICK_MIB = 64


def throughput(fetch: Callable[[], object], n_bytes: int) -> float:
    """MB/s."""
    started = time.perf_counter()
    fetch()
    return n_bytes / (time.perf_counter() - started) / 1e6


def measure(setting: Setting) -> Report:
    """In turn, so that what else the machine does meets both."""
    peer = "curl"
    if shutil.which(peer) is None:
        return Report("l", "a pull", peer, [], "There is no curl on this machine.")
    n_bytes = (QUICK_MIB if setting.quick else MIB) * PIECE_BYTES
    with tempfile.TemporaryDirectory(prefix="bf-") as name:
        folder = Path(name)
        (folder / "hub" / NAME).parent.mkdir(parents=True)
        with (folder / "hub" / NAME).open("wb") as file:
            for _ in range(n_bytes // PIECE_BYTES):
                file.write(os.urandom(PIECE_BYTES))
        ours, theirs, hashed = compare(folder, n_bytes, setting.times(10))
    ratio = paired(ours, theirs)
    what = f"{n_bytes // PIECE_BYTES} MiB, SHA-256 included"
    rows = [
        Row(what, shown(ours), shown(theirs), ratio, f">= {PROMISE}", ratio >= PROMISE),
        Row("the peer hashes afterwards", shown(ours), shown(hashed), paired(ours, hashed)),
    ]
    note = "Neither waits for the disk. The ratio is the median of the rounds' ratios."
    return Report("l", "a pull from a server of this machine", peer, rows, note)


def paired(ours: list[float], theirs: list[float]) -> float:
    """What else the machine does changes from round to round, and meets both of a round."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def compare(folder: Path, n_bytes: int, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """MB/s of ours, of curl, and of curl with the hash that ours has made meanwhile."""
    ours: list[float] = []
    theirs: list[float] = []
    hashed: list[float] = []
    part, output = folder / "model.part", folder / "model.curl"
    with serving_apart(folder / "hub") as address:
        os.environ["HF_ENDPOINT"] = address
        owner, repository, path = NAME.split("/")
        (source,) = resolve(HubReference(owner, repository, path=path)).files
        curl = ["curl", "--silent", "--fail", "--output", str(output), f"{address}/plain/{NAME}"]

        def fetch() -> None:
            digest = download(source, part, on_progress=lambda *_: None, stop=threading.Event())
            assert digest == source.sha256

        def peer() -> None:
            subprocess.run(curl, check=True)

        def peer_and_hash() -> None:
            peer()
            with output.open("rb") as file:
                assert hashlib.file_digest(file, "sha256").hexdigest() == source.sha256

        for _ in range(rounds):
            ours.append(throughput(fetch, n_bytes))
            discard(part)
            theirs.append(throughput(peer, n_bytes))
            output.unlink()
            hashed.append(throughput(peer_and_hash, n_bytes))
            output.unlink()
    return ours, theirs, hashed


def shown(values: list[float]) -> str:
    """The median and the slowest."""
    return f"{statistics.median(values):.0f} MB/s (slowest {min(values):.0f})"
