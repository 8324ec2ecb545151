"""Faults at every system call of a change of the store (`disk_faults`).

``python -m support.store_faults MODE ACTION FOLDER`` prints one JSON object: for every N the call that was hit, what
was said, and which content was found afterwards. MODE is one of `disk_faults`; ACTION is

``first``  a local file is pulled into an empty store;
``update`` a local file is pulled in the place of an older one;
``split``  a model in two files is pulled in the place of an older one;
``hub``    a model of the hub (``HF_ENDPOINT``, which serves FOLDER/hub) is pulled in the place of an older one;
``remove`` a model is removed;
``repair`` the store is looked at after a crash between a manifest and its names.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from botframework.models.store import links, manifest
from botframework.models.store.foreign import Surroundings
from botframework.models.store.layout import Layout
from botframework.models.store.store import Store
from support.disk_faults import every_fault
from support.model_files import one_file, sha256, split_files

if TYPE_CHECKING:
    from botframework.models.store.value import InstalledModel

NAME = "local/model.gguf"
SPLIT_NAME = "local/model-00001-of-00002.gguf"
HUB_NAME = "maker/model/model.gguf"


class Scene:
    """A store with an old model in it, and a new one that may come into it."""

    def __init__(self, action: str, folder: Path) -> None:
        self.action = action
        self.root = folder / "models"
        self.source = folder / "source"
        self.around = Surroundings({}, folder / "nobody")
        self.kept = folder / "kept"
        old: tuple[Path, ...]
        new: tuple[Path, ...]
        if action == "split":
            old = split_files(self.source / "old", seed=1)
            new = split_files(self.source / "new", seed=2)
        else:
            old = (one_file(self.source / "old" / "model.gguf", seed=1),)
            new = (one_file(self.source / "new" / "model.gguf", seed=2),)
        self.digests = {"old": tuple(map(sha256, old)), "new": tuple(map(sha256, new))}
        self.references = {"old": str(old[0]), "new": str(new[0])}
        if action == "hub":
            self.references = dict.fromkeys(self.references, f"hf:{HUB_NAME}")
            old[0].replace(folder / "hub" / HUB_NAME)
        if action != "first":
            self.store().pull(self.references["old"])
            shutil.copytree(self.root, self.kept, copy_function=_link, symlinks=True)
        if action == "hub":
            new[0].replace(folder / "hub" / HUB_NAME)

    def store(self) -> Store:
        """A fresh look at it."""
        return Store(self.root, self.around)

    def prepare(self) -> None:
        """Bring the store back into the state before."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self.kept.is_dir():
            shutil.copytree(self.kept, self.root, copy_function=_link, symlinks=True)
        if self.action == "repair":
            layout = Layout(self.root)
            (known, _), *_ = manifest.read_all(layout)
            manifest.write(layout, msgspec.structs.replace(known, is_linked=False))
            links.hide(layout, known)

    def act(self) -> object:
        """What is struck."""
        if self.action == "remove":
            return self.store().remove(self._name).name
        if self.action == "repair":
            return len(self.store().installed())
        return self.store().pull(self.references["new"]).name

    def look(self) -> dict[str, Any]:
        """What a process finds that comes later: in the store, at the visible path, and after it has tried again."""
        before_look = self._visible()
        installed = self.store().installed()
        found = {
            "at_once": before_look,
            "found": "none" if not installed else self._which(installed[0]),
            "visible": self._visible(),
            "count": len(installed),
        }
        self.store().pull(self.references["new"])
        (again,) = self.store().installed()
        self.store().verify(again.name)
        return {**found, "again": self._which(again), "again_visible": self._visible()}

    def _which(self, model: InstalledModel) -> str:
        return self._name_of(Path(model.path)) if model.digests in self.digests.values() else "other"

    def _visible(self) -> str:
        return self._name_of(self.root / self._name)

    @property
    def _name(self) -> str:
        return {"split": SPLIT_NAME, "hub": HUB_NAME}.get(self.action, NAME)

    def _name_of(self, first: Path) -> str:
        """Which model a program that opens the visible file would load."""
        if not first.exists():
            return "none"
        count = len(self.digests["old"])
        paths = [first.with_name(first.name.replace("00001", f"{number:05}", 1)) for number in range(1, count + 1)]
        if not all(path.exists() for path in paths):
            return "half"
        digests = tuple(map(sha256, paths))
        return next((name for name, known in self.digests.items() if known == digests), "mixture")


def _link(source: str, target: str) -> None:
    """Copy a store's file in no time. Its names are one file in both places, as links have to be."""
    Path(target).hardlink_to(source)


def _no_flush(fd: object) -> None:
    """Stand for `os.fsync`."""


def main() -> None:
    """Print what came of every fault."""
    mode, action, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    logging.disable(logging.CRITICAL)
    # Nobody pulls the plug here, so nothing has to wait for the disk; a flush is a call that can fail like any other.
    os.fsync = _no_flush
    if action == "hub":  # imported before the faults, as it is in a daemon that has pulled before
        import botframework.models.store.download
        import botframework.models.store.resolve  # noqa: F401
    scene = Scene(action, folder)
    print(json.dumps(list(every_fault(mode, scene.prepare, scene.act, scene.look))))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
