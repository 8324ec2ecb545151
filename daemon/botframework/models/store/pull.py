"""One pull, from what the user wrote to a model that can be loaded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import ModelError, ModelNotFound, PullRefused, StoreError
from botframework.models.store import commit, copying, foreign, links, manifest
from botframework.models.store.blobs import Fetching, fetch, is_whole, require_model
from botframework.models.store.digest import file_digest
from botframework.models.store.layout import key_of, visible_name
from botframework.models.store.manifest import Manifest, Part
from botframework.models.store.reference import (
    FORMS,
    CatalogReference,
    FileReference,
    HubReference,
    lasting,
    parse,
)
from botframework.models.store.room import allocated_bytes, disk_errors, require_room
from botframework.models.store.selection import parts_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from botframework.models.store.blobs import Download
    from botframework.models.store.foreign import Surroundings
    from botframework.models.store.layout import Layout
    from botframework.models.store.reference import ModelReference, WebReference
    from botframework.models.store.remote import RemoteFile, Resolved
    from botframework.models.store.value import DownloadProgress, InstalledModel

ATTEMPTS = 3
"""Somebody may remove a part between its arrival and the end of the pull; nobody does that three times in a row."""


def pull(
    reference: str,
    *,
    layout: Layout,
    around: Surroundings,
    on_progress: Callable[[int, int], None],
    stop: threading.Event,
    limit_bytes: int | None,
) -> Manifest | InstalledModel:
    """Have a model here: in the store as a manifest tells, or where another program already keeps it.

    Raises as `Store.pull`.
    """
    asked = _named(parse(reference))
    resolved = _resolve(asked, stop)
    wanted = _manifest(reference, resolved)
    known = manifest.read(layout, wanted.name)
    if known is not None and _is_same(known, resolved) and links.are_there(layout, known):
        manifest.mark_used(layout, known.name)
        return known
    in_place = _in_place(resolved, around, on_progress, stop)
    if in_place is not None:
        return in_place
    if limit_bytes is not None and resolved.size > limit_bytes:
        raise PullRefused(
            f"{wanted.name} has {resolved.size} bytes, more than all models together may have (models.diskGib)",
            neededBytes=resolved.size,
            limitBytes=limit_bytes,
        )
    with disk_errors("downloaded", layout.root):
        layout.make()
        links.require_free(layout, wanted)

    def tell(progress: DownloadProgress) -> None:
        on_progress(progress.done_bytes, progress.total_bytes)

    fetching = Fetching(layout, wanted.name, resolved.size, tell, stop, _means(asked))
    for _ in range(ATTEMPTS):
        _require_room(layout, resolved)
        added = _fetch_all(wanted, resolved, fetching)
        if commit.add(layout, added):
            on_progress(resolved.size, resolved.size)
            return added
    raise StoreError(f"{wanted.name}: its files were removed again and again while it was pulled", name=wanted.name)


def _named(reference: ModelReference) -> HubReference | WebReference | FileReference:
    """A name of the catalog stands for a repository."""
    if not isinstance(reference, CatalogReference):
        return reference
    from botframework.models import catalog

    known = catalog.load_catalog(catalog.user_catalog_file())
    try:
        entry = known.entry(reference.name)
    except ModelNotFound as error:
        raise ModelNotFound(f"{error.message} A model is named by one of {FORMS}", **error.data) from error
    owner, _, repository = entry.repository.partition("/")
    return HubReference(owner, repository, quantization=reference.quantization or entry.usual_quantization)


def _resolve(asked: HubReference | WebReference | FileReference, stop: threading.Event) -> Resolved:
    if isinstance(asked, FileReference):
        with disk_errors("copied", asked.path.parent):
            return copying.describe(asked.path)
    from botframework.models.store.resolve import resolve

    return resolve(asked, stop=stop)


def _manifest(reference: str, resolved: Resolved) -> Manifest:
    """What the store will say about it; the digests that nobody has published come later."""
    names = [visible_name(resolved.folder, file.filename) for file in resolved.files]
    if len({name.rpartition("/")[0] for name in names}) != 1 or len(set(names)) != len(names):
        raise PullRefused(f"the parts of {names[0]} are not in one folder, or two have one name")
    parts = tuple(
        Part(
            file=name.rpartition("/")[2],
            digest=file.sha256 or "0" * 64,
            size=file.size,
            address=file.url.partition("?")[0],
            etag=file.etag,
        )
        for name, file in zip(names, resolved.files, strict=True)
    )
    return Manifest(
        name=names[0],
        reference=lasting(reference.strip()),
        origin=lasting(resolved.origin),
        pulled_at=time.time(),
        parts=parts,
    )


def _is_same(known: Manifest, resolved: Resolved) -> bool:
    """Whether what is in the store is what would be pulled now."""
    return len(known.parts) == len(resolved.files) and all(
        part.size == file.size
        and (
            part.digest == file.sha256
            if file.sha256 is not None
            else file.etag is not None and (part.etag, part.address) == (file.etag, file.url.partition("?")[0])
        )
        for part, file in zip(known.parts, resolved.files, strict=True)
    )


def _in_place(
    resolved: Resolved, around: Surroundings, on_progress: Callable[[int, int], None], stop: threading.Event
) -> InstalledModel | None:
    """The same model in another program's folder, if its content is the published one."""
    if any(file.sha256 is None for file in resolved.files):
        return None
    for found in foreign.holding(around, resolved.files):
        paths = [Path(found.path).with_name(name) for name in _part_names(found)]
        if _is_content(paths, resolved.files, resolved.size, on_progress, stop):
            return found
    return None


def _part_names(found: InstalledModel) -> tuple[str, ...]:
    name = Path(found.path).name
    return parts_of(name) if found.parts > 1 else (name,)


def _is_content(
    paths: list[Path],
    files: tuple[RemoteFile, ...],
    total: int,
    on_progress: Callable[[int, int], None],
    stop: threading.Event,
) -> bool:
    before = 0
    for number, (path, file) in enumerate(zip(paths, files, strict=True)):
        start = before

        def tell(done: int, _: int, start: int = start) -> None:
            on_progress(start + done, total)

        try:
            if file_digest(path, on_progress=tell, stop=stop) != file.sha256:
                return False  # then it is downloaded
            require_model(path, file, is_first=number == 0)
        except (ModelError, OSError):
            return False
        before += file.size
    return True


def _means(asked: HubReference | WebReference | FileReference) -> Download:
    """What brings the bytes."""
    if isinstance(asked, FileReference):
        return copying.copier(asked.path.parent)
    from botframework.models.store.download import download

    return download


def _fetch_all(wanted: Manifest, resolved: Resolved, fetching: Fetching) -> Manifest:
    """Have every part in the store, one after the other; return the manifest with the digests of what came."""
    before, parts = 0, []
    for number, (part, file) in enumerate(zip(wanted.parts, resolved.files, strict=True)):
        digest = fetch(fetching, file, before, is_first=number == 0)
        parts.append(msgspec.structs.replace(part, digest=digest))
        before += file.size
    return msgspec.structs.replace(wanted, parts=tuple(parts), pulled_at=time.time())


def _require_room(layout: Layout, resolved: Resolved) -> None:
    """A model in several files must not fail at the last one. A single file is left to its download, which knows more.

    Raises
    ------
    DiskFull
        With what is needed and what is free.
    """
    if len(resolved.files) == 1:
        return
    missing = 0
    for file in resolved.files:
        if file.sha256 is None or not is_whole(layout, file.sha256, file.size):
            missing += max(0, file.size - allocated_bytes(layout.part(key_of(file.sha256, file.url))))
    require_room(layout.root, missing, resolved.size)
