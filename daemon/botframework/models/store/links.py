"""The names of models that people, the list of models and other programs see: hard links to the blobs.

Hard links and not symbolic ones, because a path stays itself when a program resolves it (the parts of a split model are
found by their names), because Windows allows them to everybody, and because a file that is moved out of the folder is
still whole. Where a file system has none, a relative symbolic link takes their place.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.errors import StoreError
from botframework.models.store.layout import digest_in
from botframework.process.durable import TEMPORARY, flush_folder

if TYPE_CHECKING:
    from botframework.models.store.layout import Layout
    from botframework.models.store.manifest import Manifest


def are_there(layout: Layout, manifest: Manifest) -> bool:
    """Whether every visible name of a model leads to its part."""
    visible = manifest.visible(layout)
    return all(_leads_to(path, layout.blob(part.digest)) for path, part in zip(visible, manifest.parts, strict=True))


def require_free(layout: Layout, manifest: Manifest) -> None:
    """Refuse to take the place of a file that the store did not put there.

    Raises
    ------
    StoreError
        Somebody else's file has a name of the model.
    """
    for path in manifest.visible(layout):
        if os.path.lexists(path) and not is_ours(layout, path):
            raise StoreError(
                f"{path} is there already and was not pulled by botframework: move it away, or load it as it is",
                path=str(path),
            )


def is_ours(layout: Layout, path: Path) -> bool:
    """Whether a visible file is one of the store's blobs under another name, or a link to one that is gone.

    Raises `OSError` when the disk does not tell: what is not known to be ours must not be taken for somebody else's.
    """
    if path.is_symlink():
        target = Path(os.path.normpath(path.parent / path.readlink()))
        return target.parent == layout.blobs and digest_in(target.name) is not None
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return status.st_nlink > 1 and any(_is_file(blob, status) for blob in layout.blobs.iterdir())


def show(layout: Layout, manifest: Manifest) -> None:
    """Have the visible names lead to the parts. Under the store's lock only.

    A split model is never visible half, nor as a mixture with an older one: the name of its first part, by which it is
    found, goes first and comes last.

    Raises
    ------
    StoreError
        A folder on the way is a link, or the file system has no links.
    OSError
        The disk does not allow it.
    """
    if are_there(layout, manifest):
        return
    folder = layout.make_visible(manifest.name)
    pairs = list(zip(manifest.visible(layout), manifest.parts, strict=True))
    if len(pairs) > 1:
        pairs[0][0].unlink(missing_ok=True)
        flush_folder(folder)
    for path, part in reversed(pairs):
        _place(layout.blob(part.digest), path)
    flush_folder(folder)


def hide(layout: Layout, manifest: Manifest) -> None:
    """Remove the visible names, and folders that are empty then. Raises `OSError`."""
    for path in manifest.visible(layout):
        if is_ours(layout, path):
            path.unlink(missing_ok=True)
    folder = layout.visible(manifest.name).parent
    with contextlib.suppress(OSError):  # not empty, or gone already
        while folder != layout.root:
            flush_folder(folder)
            folder.rmdir()
            folder = folder.parent


def _is_file(blob: Path, status: os.stat_result) -> bool:
    try:
        return digest_in(blob.name) is not None and os.path.samestat(status, blob.lstat())
    except FileNotFoundError:
        return False  # removed meanwhile


def _leads_to(path: Path, blob: Path) -> bool:
    try:
        return path.samefile(blob)
    except OSError:
        return False


def _place(blob: Path, path: Path) -> None:
    if _leads_to(path, blob):
        return  # renaming one name of a file over another does nothing, and leaves both
    fresh = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY}")
    try:
        try:
            os.link(blob, fresh)
        except OSError as error:
            try:
                fresh.symlink_to(os.path.relpath(blob, path.parent))
            except OSError:
                raise error from None
        fresh.replace(path)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
