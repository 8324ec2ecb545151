"""Changes of what is in the store, each under its lock and each in steps that a crash may end anywhere.

The manifest decides. It is written when every part lies verified under its digest, so before it a pull has changed
nothing, and after it the model is there: what is still missing then, the visible names, is put there by whoever looks
next. In the other direction the names go first, then the manifest, then the content that no other manifest names.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import StoreError
from botframework.models.store import blobs, holds, journal, links, manifest
from botframework.models.store.layout import LOCK_PATIENCE_S, digest_in
from botframework.models.store.room import disk_errors
from botframework.process.durable import flush_folder, sweep_unnamed
from botframework.process.lock import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from botframework.models.store.layout import Layout
    from botframework.models.store.manifest import Manifest

UNFINISHED_AGE_S = 14 * 86_400.0
"""A download that nobody went on with for so long, or content that no manifest names, is deleted."""
TEMPORARY_AGE_S = 600.0
"""A file without its final name that is older belongs to a process that was killed."""
SHEET_AGE_S = 600.0
"""The outcome of a download is of interest for those who have waited for it."""

_OF_DOWNLOAD = re.compile(r"((?:sha256|from)-[0-9a-f]{64})\.(part|part\.journal|part\.journal\.new|progress|lock)")


@contextlib.contextmanager
def changing(layout: Layout, what: str) -> Iterator[None]:
    """Hold the store's lock, and say what went wrong in the words of `durable.disk_errors`."""
    with disk_errors(what, layout.root):
        layout.make()
        with FileLock(layout.lock, LOCK_PATIENCE_S):
            yield


def add(layout: Layout, added: Manifest) -> bool:
    """Put a model into the store, in the place of the older one of its name.

    Returns
    -------
    Whether it is there. It is not if somebody has removed a part in the meantime, which then has to come again.

    Raises
    ------
    StoreError
        A file of somebody else has its name, or the disk does not take it.
    """
    with changing(layout, "put into the store"):
        if not all(blobs.is_whole(layout, part.digest, part.size) for part in added.parts):
            return False
        links.require_free(layout, added)
        before = manifest.read(layout, added.name)
        manifest.write(layout, msgspec.structs.replace(added, is_linked=False))
        try:
            _link(layout, added)
        except (OSError, StoreError):
            if before is None:  # a file system without links must not keep what nobody can see
                with contextlib.suppress(OSError):
                    links.hide(layout, added)
                    layout.manifest(added.name).unlink(missing_ok=True)
            raise
        if before is not None:
            _drop_content(layout, before)
        _sweep(layout)
    return True


def settle(layout: Layout) -> None:
    """Finish what a crash has left unfinished; if somebody else is at work there is nothing to do."""
    with contextlib.suppress(OSError, StoreError):
        lock = FileLock(layout.lock)
        if not lock.try_acquire():
            return
        try:
            for each, _ in manifest.read_all(layout):
                if not each.is_linked:
                    with contextlib.suppress(OSError, StoreError):
                        _link(layout, each)
        finally:
            lock.release()


def remove(layout: Layout, removed: Manifest, *, force: bool) -> None:
    """Take a model out of the store.

    Where a file may be unlinked while it is open or mapped, which is everywhere but on Windows, a worker that has it
    loaded keeps it until it ends.

    Raises
    ------
    StoreError
        A process has it in use, and it is not forced; or the disk does not allow it.
    """
    with changing(layout, "removed"):
        if not force and is_held(layout, removed):
            raise StoreError(
                f"{removed.name} is in use: another model must be loaded, or the editor ended, before it is removed",
                name=removed.name,
            )
        _take_out(layout, removed)
        _sweep(layout)


def trim(layout: Layout, limit_bytes: int, keep: Iterable[str]) -> tuple[str, ...]:
    """Remove the least recently used models that are beyond a limit; never one in use, nor one of those to keep.

    Returns
    -------
    The names of those that went.
    """
    kept = frozenset(keep)
    gone = []
    with changing(layout, "removed"):
        by_age = sorted(manifest.read_all(layout), key=lambda pair: pair[1])
        for each, _ in by_age:
            if content_bytes(layout) <= limit_bytes:
                break
            if each.name not in kept and not is_held(layout, each):
                _take_out(layout, each)
                gone.append(each.name)
    return tuple(gone)


def discard_unfinished(layout: Layout) -> None:
    """Delete the downloads that nobody carries out now. Raises `StoreError`."""
    with changing(layout, "removed"):
        _sweep_downloads(layout, age_s=0.0)


def content_bytes(layout: Layout) -> int:
    """Bytes of all content, also of what no manifest names."""
    return sum(status for _, status in _blobs(layout))


def is_held(layout: Layout, of: Manifest) -> bool:
    """Whether some process has a part of the model in use."""
    return any(holds.is_held(layout.blob(part.digest)) for part in of.parts)


def _link(layout: Layout, of: Manifest) -> None:
    links.show(layout, of)
    manifest.write(layout, msgspec.structs.replace(of, is_linked=True))


def _take_out(layout: Layout, removed: Manifest) -> None:
    links.hide(layout, removed)
    layout.manifest(removed.name).unlink(missing_ok=True)
    flush_folder(layout.manifests)
    _drop_content(layout, removed)


def _drop_content(layout: Layout, of: Manifest) -> None:
    """Delete the parts that no manifest names any more."""
    needed = {part.digest for each, _ in manifest.read_all(layout) for part in each.parts}
    for part in of.parts:
        if part.digest not in needed:
            layout.blob(part.digest).unlink(missing_ok=True)
    flush_folder(layout.blobs)


def _blobs(layout: Layout) -> Iterator[tuple[Path, int]]:
    for path in layout.blobs.iterdir():
        if digest_in(path.name) is not None:
            with contextlib.suppress(FileNotFoundError):
                yield path, path.lstat().st_size


# --- what crashes and people leave behind -----------------------------------------------------------------------------


def _sweep(layout: Layout) -> None:
    """Tidy up. What cannot be deleted now is left to the next time."""
    with contextlib.suppress(OSError):
        for each, _ in list(manifest.read_all(layout)):
            if each.is_linked and not all(path.exists() for path in each.visible(layout)):
                _take_out(layout, each)  # a person has deleted it, or a part of it
        needed = {part.digest for each, _ in manifest.read_all(layout) for part in each.parts}
        for path, _ in list(_blobs(layout)):
            if digest_in(path.name) not in needed and _is_older(path, UNFINISHED_AGE_S) and not holds.is_held(path):
                path.unlink(missing_ok=True)
        for folder in (layout.blobs, layout.manifests):
            sweep_unnamed(folder, time.time() - TEMPORARY_AGE_S)
        _sweep_downloads(layout, age_s=UNFINISHED_AGE_S)


def _sweep_downloads(layout: Layout, *, age_s: float) -> None:
    keys = {found[1] for path in layout.blobs.iterdir() if (found := _OF_DOWNLOAD.fullmatch(path.name))}
    for key in sorted(keys):
        part, sheet = layout.part(key), layout.progress(key)
        lock = FileLock(layout.part_lock(key))
        if not lock.try_acquire():
            continue
        try:
            if part.exists() and not _is_older(part, age_s):
                continue
            journal.discard(part)
            if not sheet.exists() or _is_older(sheet, min(age_s, SHEET_AGE_S)):
                sheet.unlink(missing_ok=True)
                # While we hold it: a waiter that has it open sees that it is gone, and makes a new one.
                layout.part_lock(key).unlink(missing_ok=True)
        finally:
            lock.release()


def _is_older(path: Path, age_s: float) -> bool:
    try:
        return time.time() - path.lstat().st_mtime >= age_s
    except FileNotFoundError:
        return False
