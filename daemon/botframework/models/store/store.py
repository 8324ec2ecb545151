"""The folder of models, as the rest of the program sees it.

Any thread and any number of processes may use one folder at the same time. Nothing here belongs into an event loop:
disks are slow, and a pull takes as long as the network.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.errors import DigestMismatch, ModelNotFound, StoreError
from botframework.models.source import printable
from botframework.models.store import commit, foreign, holds, links, manifest, progress
from botframework.models.store.layout import Layout
from botframework.models.store.reference import lasting
from botframework.models.store.room import allocated_bytes, disk_errors, free_bytes
from botframework.models.store.selection import parts_of
from botframework.models.store.value import InstalledModel, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from botframework.models.store.foreign import Surroundings
    from botframework.models.store.holds import Hold
    from botframework.models.store.manifest import Manifest
    from botframework.models.store.value import DownloadProgress


def ignore(done_bytes: int, total_bytes: int) -> None:
    """Somebody who does not want to know how far it is."""


class Store:
    """The models of a folder. It need not exist: a pull creates it."""

    def __init__(self, folder: Path, around: Surroundings | None = None) -> None:
        """Look at nothing yet.

        Parameters
        ----------
        folder
            Of the models. It may be a link; the folders in it may not.
        around
            Where the other programs of this user keep their models.
        """
        self.folder = folder
        self._layout = Layout(Path(os.path.realpath(folder)))
        self._around = foreign.Surroundings.ours() if around is None else around

    # --- changes ------------------------------------------------------------------------------------------------------

    def pull(
        self,
        reference: str,
        *,
        on_progress: Callable[[int, int], None] = ignore,
        stop: threading.Event | None = None,
        limit_bytes: int | None = None,
        keep: Collection[str] = (),
    ) -> InstalledModel:
        """Have a model here and verified; return where it is.

        Processes that want the same file share one download, and each is told how far it is. A second pull of the same
        content changes nothing; one of newer content replaces the older when it is whole.

        Parameters
        ----------
        reference
            As in `reference.parse`.
        on_progress
            Called with the bytes that are there and those that there will be, in this thread or one of the download's.
        stop
            Ends the pull when it is set. What has arrived is kept, and other processes go on with it.
        limit_bytes
            Of all models together: afterwards the least recently used ones beyond it are removed.
        keep
            Paths of models that stay all the same.

        Raises
        ------
        PullRefused
            The reference, an address, a redirect, a name or the size is one that we do not follow.
        RemoteNotFound, ModelGated, DownloadFailed
            The hub or the server does not give it.
        DigestMismatch, ModelRefused
            What came is not what was published, or no model; it is deleted.
        ModelNotFound
            There is no such local file, or no such model in the catalog.
        DiskFull, StoreError
            The disk does not take it, or a file of somebody else is in its place.
        RequestCancelled
            ``stop`` was set.
        """
        from botframework.models.store.pull import pull

        found = pull(
            reference,
            layout=self._layout,
            around=self._around,
            on_progress=on_progress,
            stop=threading.Event() if stop is None else stop,
            limit_bytes=limit_bytes,
        )
        if isinstance(found, InstalledModel):
            return found
        if limit_bytes is not None:
            self.trim(limit_bytes, keep=(*keep, self._layout.visible(found.name)))
        return self._describe(found, None)

    def remove(self, name: str, *, force: bool = False) -> InstalledModel:
        """Take a pulled model out of the store; return what it was.

        Parameters
        ----------
        name
            As `find` takes it.
        force
            Also if some process has it in use. On Windows that does not help: a file in use cannot be deleted there.

        Raises
        ------
        ModelNotFound
            There is none of that name.
        StoreError
            It is another program's, it is in use, or the disk does not allow it.
        """
        found = self.find_own(name)
        known = manifest.read(self._layout, found.name)
        if known is not None:  # else somebody was quicker
            commit.remove(self._layout, known, force=force)
        return found

    def trim(self, limit_bytes: int, *, keep: Collection[str | Path] = ()) -> tuple[str, ...]:
        """Remove the least recently used models beyond a limit; return their names.

        Models in use and those whose paths are in ``keep`` stay, so it may end above the limit.
        """
        if not self._layout.manifests.is_dir():
            return ()
        kept = {os.path.realpath(path) for path in keep}
        names = [each.name for each in self.installed() if os.path.realpath(each.path) in kept]
        return commit.trim(self._layout, limit_bytes, names)

    def discard_unfinished(self) -> None:
        """Delete what is left of downloads that nobody carries out now."""
        if self._layout.blobs.is_dir():
            commit.discard_unfinished(self._layout)

    def hold(self, path: Path | str) -> Hold:
        """Say that a model file is in use, until the result is released or this process ends.

        As long as any process holds it neither `remove` nor `trim` takes it. It counts as used now.
        """
        path = Path(path)
        with contextlib.suppress(ValueError):
            # The file itself may be a link, and then its name counts.
            name = Path(os.path.realpath(path.parent), path.name).relative_to(self._layout.root)
            manifest.mark_used(self._layout, name.as_posix())
        return holds.Hold(path)

    # --- looks --------------------------------------------------------------------------------------------------------

    def installed(self) -> tuple[InstalledModel, ...]:
        """Return the pulled models by name. What a crash left unfinished is finished first."""
        pairs = list(manifest.read_all(self._layout))
        if not all(each.is_linked for each, _ in pairs):
            commit.settle(self._layout)
            pairs = list(manifest.read_all(self._layout))
        return tuple(self._describe(each, used) for each, used in pairs if links.are_there(self._layout, each))

    def foreign(self) -> tuple[InstalledModel, ...]:
        """Return the models in the folders of Ollama, LM Studio, llama.cpp and the Hugging Face libraries."""
        return foreign.models(self._around)

    def find(self, name: str) -> InstalledModel:
        """Return the model of a name, a path, a reference or a file name that only one of them has.

        Raises
        ------
        ModelNotFound
            There is none, or several; the message has those that come near.
        """
        pulled = self.installed()
        found = _among(pulled, name)
        if found is not None:
            return found
        others = self.foreign()
        found = _among(others, name)
        if found is not None:
            return found
        names = [each.name for each in (*pulled, *others)]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
        hint = f" There is {', '.join(near)}." if near else ""
        raise ModelNotFound(f"no pulled model is called {printable(name[:200])!r}.{hint}", near=near)

    def find_own(self, name: str) -> InstalledModel:
        """Return the model of a name if this store keeps it, so that it may be removed.

        Raises
        ------
        ModelNotFound
            As `find`.
        StoreError
            It is another program's.
        """
        found = self.find(name)
        if found.origin != "pulled":
            raise StoreError(
                f"{found.name} is in the folder of another program ({found.path}); remove it there", path=found.path
            )
        return found

    def verify(
        self,
        name: str,
        *,
        on_progress: Callable[[int, int], None] = ignore,
        stop: threading.Event | None = None,
    ) -> InstalledModel:
        """Compare a model's content with its digest; return it if they agree.

        Raises
        ------
        ModelNotFound
            There is none of that name.
        DigestMismatch
            It has changed. Nothing is deleted: the message tells how.
        StoreError
            Nobody knows its digest, or the disk cannot read it.
        RequestCancelled
            ``stop`` was set.
        """
        from botframework.models.store.digest import file_digest

        found = self.find(name)
        if not found.digests:
            raise StoreError(f"{found.name}: the program that keeps it knows no digest of it", path=found.path)
        path, stop = Path(found.path), stop or threading.Event()
        names = parts_of(path.name) if found.parts > 1 else (path.name,)
        done_before = done = 0

        def tell(of_part: int, _: int) -> None:
            nonlocal done
            done = done_before + of_part
            on_progress(done, found.size_bytes)

        with disk_errors("verified", self.folder):
            for part, expected in zip(names, found.digests, strict=True):
                digest = file_digest(path.with_name(part), on_progress=tell, stop=stop)
                done_before = done
                if digest != expected:
                    raise DigestMismatch(
                        f"{found.name}: {part} has changed since it was pulled (SHA-256 {digest}, expected "
                        f"{expected}). Remove it and pull it again; if it happens again, check disk and memory",
                        expected=expected,
                        found=digest,
                        path=found.path,
                    )
        return found

    def usage(self) -> Usage:
        """Return what the folder takes of the disk."""
        models_bytes = unfinished_bytes = 0
        with contextlib.suppress(OSError):
            models_bytes = commit.content_bytes(self._layout)
            unfinished_bytes = sum(map(allocated_bytes, self._layout.blobs.glob("*.part")))
        return Usage(
            models_bytes=models_bytes, unfinished_bytes=unfinished_bytes, free_bytes=free_bytes(self._layout.root)
        )

    def downloads(self) -> tuple[DownloadProgress, ...]:
        """Return the downloads that some process is carrying out. Cheap: one folder and some small files."""
        return progress.running(self._layout)

    def _describe(self, known: Manifest, used_at: float | None) -> InstalledModel:
        return InstalledModel(
            name=known.name,
            path=str(known.visible(self._layout)[0]),
            origin="pulled",
            reference=known.reference,
            size_bytes=known.size,
            parts=len(known.parts),
            digests=tuple(part.digest for part in known.parts),
            pulled_at=known.pulled_at,
            used_at=known.pulled_at if used_at is None else used_at,
        )


def _among(models: tuple[InstalledModel, ...], name: str) -> InstalledModel | None:
    """The only one that the name means."""
    for matches in (
        [each for each in models if name in {each.name, each.path}],
        [each for each in models if lasting(name) == each.reference],
        [each for each in models if Path(each.path).name.lower() == name.lower()],
        [each for each in models if _is_one(name, each.path)],
    ):
        if len(matches) == 1:
            return matches[0]
    return None


def _is_one(name: str, path: str) -> bool:
    try:
        return Path(name).is_absolute() and Path(name).samefile(path)
    except (OSError, ValueError):
        return False
