"""Where everything lies in the folder of models, and which names may stand in it.

::

    <models>/blobs/sha256-<64 hex>            content: whole, verified, never written again
    <models>/blobs/<key>.part, .journal       a download
    <models>/blobs/<key>.lock, .progress      who carries it out, and how far it is
    <models>/manifests/<64 hex>.json          what was pulled, from where, when (`manifest`)
    <models>/manifests/store.lock             held for as long as names change: milliseconds
    <models>/<owner>/<repository>/<file>.gguf what people and other programs see (`links`)

A key is ``sha256-`` and the digest of what is to arrive, or ``from-`` and a digest of the address where nobody has
published one. So of the names below ``blobs`` and ``manifests`` not a letter comes from the network, and those of the
third kind are checked here, part by part.
"""

from __future__ import annotations

import hashlib
import re
import stat
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from botframework.errors import PullRefused, StoreError
from botframework.models.store.names import check_path, is_digest, shown_name
from botframework.process.durable import flush_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_COMPONENTS = 4
"""Owner, repository, one folder in it, file: as deep as the list of models looks."""
SUFFIX = ".gguf"

LOCK_PATIENCE_S = 30.0
"""For the store's lock: names change in milliseconds; only a sleeping disk takes seconds."""

_BLOB = re.compile(r"sha256-([0-9a-f]{64})")
_RESERVED = frozenset({"blobs", "manifests"})

IS_WINDOWS = sys.platform == "win32"


class Layout:
    """The paths of one store. Plain arithmetic; only `make` and `make_visible` touch the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.manifests = root / "manifests"
        self.lock = self.manifests / "store.lock"

    def blob(self, digest: str) -> Path:
        """Where content is, by its SHA-256 in hexadecimal."""
        if not is_digest(digest):
            raise StoreError(f"{digest[:80]!r} is no SHA-256 in hexadecimal")
        return self.blobs / f"sha256-{digest}"

    def part(self, key: str) -> Path:
        """A download on its way."""
        return self.blobs / f"{key}.part"

    def part_lock(self, key: str) -> Path:
        """Held by whoever carries the download out."""
        return self.blobs / f"{key}.lock"

    def progress(self, key: str) -> Path:
        """How far it is."""
        return self.blobs / f"{key}.progress"

    def manifest(self, name: str) -> Path:
        """What is known about a model. The name is hashed: it may be longer than a file name."""
        return self.manifests / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def visible(self, name: str) -> Path:
        """The path that people see. The name must be checked."""
        return self.root.joinpath(*name.split("/"))

    def make(self) -> None:
        """Create the folders.

        Raises
        ------
        StoreError
            One of them is a link: what is written there would lie outside.
        OSError
            The disk does not allow it.
        """
        for folder in (self.blobs, self.manifests):
            if not folder.parent.is_dir():
                folder.parent.mkdir(parents=True, exist_ok=True)
            _make(folder)

    def make_visible(self, name: str) -> Path:
        """Create the folders of a visible name; return the last of them. Raises as `make`."""
        folder = self.root
        for component in name.split("/")[:-1]:
            folder /= component
            _make(folder)
        return folder


def _make(folder: Path) -> None:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        folder.mkdir(exist_ok=True)  # another process may be as far
        flush_folder(folder.parent)
        status = folder.lstat()
    is_junction = bool(getattr(status, "st_reparse_tag", 0))  # Windows; never run
    if not stat.S_ISDIR(status.st_mode) or is_junction:
        raise StoreError(f"{folder} is a link or a file: models are only written into real folders", path=str(folder))


def digest_in(blob_name: str) -> str | None:
    """The digest in the name of a blob; None for every other name."""
    found = _BLOB.fullmatch(blob_name)
    return found[1] if found else None


def key_of(digest: str | None, address: str) -> str:
    """The name under which a download is known to all processes."""
    if digest is not None and is_digest(digest):
        return f"sha256-{digest}"
    return f"from-{hashlib.sha256(address.encode()).hexdigest()}"


def visible_name(folders: Sequence[str], filename: str) -> str:
    """Return the name of a model's file in the store.

    Parameters
    ----------
    folders
        Owner and repository, or the host of an address.
    filename
        The path inside the repository. Folders in it become one, joined by hyphens.

    Raises
    ------
    PullRefused
        A part of it is no name that is safe on all our systems.
    """
    check_path(filename)
    path = PurePosixPath(filename)
    inner = ["-".join(path.parts[:-1])] if len(path.parts) > 1 else []
    file = path.name if path.name.lower().endswith(SUFFIX) else path.name + SUFFIX
    name = "/".join((*folders, *inner, file))
    check_name(name)
    return name


def check_name(name: str) -> None:
    """Refuse what is no visible name, also when it comes from a file of our own.

    Raises
    ------
    PullRefused
        It leads out of the folder, hides a file, means a device or stands where our own files are.
    """
    check_path(name)
    components = name.split("/")
    if not 2 <= len(components) <= MAX_COMPONENTS or components[0].lower() in _RESERVED:
        raise PullRefused(f"{shown_name(name)} is no place for a model: expected owner/repository/file.gguf")
    if not components[-1].lower().endswith(SUFFIX):
        raise PullRefused(f"{shown_name(name)} does not end with {SUFFIX}")
