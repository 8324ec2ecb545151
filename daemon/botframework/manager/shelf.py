"""The model files that can be chosen from: the embedded one, the configured ones, the user's and other programs'.

Files are found by their names and described by their headers, which are read once for as long as a file stays the same.
Whether a file fits is told anew each time: the machine may have got a GPU, or lost one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from botframework.errors import BotframeworkError, ConfigError
from botframework.manager import machine
from botframework.manager.entry import ModelEntry
from botframework.manager.folder import models_folder
from botframework.manager.load import embedded_path, find_fit, model_path, with_parts
from botframework.manager.roles import ROLES, SERVED, model_of
from botframework.manager.status import Problem
from botframework.models import gguf, parts
from botframework.models.shape import shape_of
from botframework.models.source import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from botframework.config import Settings
    from botframework.manager.entry import Source
    from botframework.models.hardware import Hardware
    from botframework.models.shape import ModelShape
    from botframework.models.store.value import InstalledModel

_log = logging.getLogger(__name__)

MAX_DEPTH = 3
"""Folders below the user's: deep enough for maker/model/file, as other programs store them."""
MAX_SCANNED = 10_000
"""Entries of folders looked at: a folder that holds something else than models must not take minutes."""
MAX_MODELS = 200
"""Files listed: each one's header is read, and nobody chooses from more."""
MAX_REMEMBERED = 512
"""Descriptions kept; a header takes some 0.1 s to read, and a list is asked for whenever a menu opens."""


class Listing(NamedTuple):
    """The files that can be chosen from."""

    models: tuple[ModelEntry, ...]
    folder: str
    has_more: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a look into the folder."""

    paths: tuple[Path, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class _Described:
    """What a file's header says, on whatever machine it lies."""

    entry: ModelEntry
    shape: ModelShape | None = None
    """Of its own part of the weights; None: it cannot be loaded."""
    n_files: int = 1


class Shelf:
    """Lists model files. Reads disks: not for an event loop, but for any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._described: OrderedDict[tuple[object, ...], _Described] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the user's model files are; it need not exist."""
        return models_folder(self._settings)

    def list(self, loaded: Collection[str]) -> Listing:
        """Every file with its description; ``loaded`` are the paths of those that serve."""
        with self._lock:
            return self._list(loaded)

    def describe(self, path: Path) -> ModelEntry:
        """One file that is not loaded."""
        with self._lock:
            return self._described_as(path, self._kept().get(_identity(path)), machine.present)

    def paths(self) -> tuple[Path, ...]:
        """Every file of the user, in the folder or another program's, without a look into any of them."""
        found = {_identity(path): path for path in look(self.folder).paths}
        return tuple((found | {identity: Path(model.path) for identity, model in self._kept().items()}).values())

    def _list(self, loaded: Collection[str]) -> Listing:
        found, kept = look(self.folder), self._kept()
        here = functools.cache(machine.present)  # once for all files
        configured = self._configured()
        fixed = [embedded_path()] if embedded_path().is_file() else []
        fixed += [*configured, *map(Path, loaded)]
        paths: dict[str, Path] = {}
        for path in (*fixed, *found.paths, *(Path(model.path) for model in kept.values())):
            paths.setdefault(_identity(path), path)
        most = MAX_MODELS + len(fixed)
        in_use = {_identity(Path(path)) for path in loaded}
        at_start = {_identity(path) for path in configured}
        if any(model_of(self._settings, role) is None for role in SERVED):
            at_start.add(_identity(embedded_path()))
        entries = (
            msgspec.structs.replace(
                self._described_as(path, kept.get(identity), here),
                loaded=identity in in_use,
                embedded=identity == _identity(embedded_path()),
                configured=identity in at_start,
            )
            for identity, path in itertools.islice(paths.items(), most)
        )
        return Listing(tuple(entries), printable(self.folder), found.has_more or len(paths) > most)

    def _kept(self) -> dict[str, InstalledModel]:
        """What the store knows of: downloads of ours, and the models of other programs."""
        from botframework.models.store.store import Store

        store = Store(self.folder)
        try:
            known = (*store.installed(), *store.foreign())
        except (OSError, BotframeworkError) as error:
            _log.warning("neither downloads nor other programs' models are listed: %s", error)
            return {}
        return {_identity(Path(model.path)): model for model in known}

    def _described_as(self, path: Path, kept: InstalledModel | None, here: Callable[[], Hardware]) -> ModelEntry:
        """The description, and where the file is from; ``here`` looks at the machine."""
        entry = self._judged(path, self._describe(path), here)
        if kept is None:
            return msgspec.structs.replace(entry, source=self._source(path))
        # Ollama names files by their digests; people know its models by other names.
        name = printable(kept.name) if kept.origin == "ollama" else entry.name
        return msgspec.structs.replace(entry, name=name, source=kept.origin)

    def _source(self, path: Path) -> Source:
        identity = _identity(path)
        if identity == _identity(embedded_path()):
            return "embedded"
        return "folder" if Path(identity).is_relative_to(_identity(self.folder)) else "file"

    def require_trusted(self, path: Path) -> None:
        """Let a workspace that is not trusted have no other model than what the user has put on the shelf.

        Raises
        ------
        ConfigError
            The path is none of them.
        """
        if self._settings.workspace_trusted:
            return
        if _identity(path) not in {_identity(each) for each in (embedded_path(), *self._configured(), *self.paths())}:
            raise ConfigError(
                f"the workspace is not trusted: only the models in {printable(self.folder)}, those of other programs, "
                "the configured ones and the embedded one can be loaded"
            )

    def _configured(self) -> tuple[Path, ...]:
        """The files that settings name for some role, as far as they can be found."""
        found: dict[Path, None] = {}
        for role in ROLES:
            name = model_of(self._settings, role)
            with contextlib.suppress(BotframeworkError):
                if name is not None:
                    found.setdefault(model_path(name))
        return tuple(found)

    def _judged(self, path: Path, described: _Described, here: Callable[[], Hardware]) -> ModelEntry:
        """The entry, and whether the model fits this machine as it is now."""
        if described.shape is None:
            return described.entry
        try:
            fits_here = fits(self._settings, here(), path, described.shape, described.n_files)
        except BotframeworkError as error:
            return msgspec.structs.replace(described.entry, problem=_problem(error))
        return msgspec.structs.replace(described.entry, fits=fits_here)

    def _describe(self, path: Path) -> _Described:
        try:
            status = path.stat()
        except (OSError, ValueError):
            return _read(path, 0)
        key = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in self._described:
            self._described[key] = _read(path, status.st_size)
            while len(self._described) > MAX_REMEMBERED:
                self._described.popitem(last=False)
        self._described.move_to_end(key)
        return self._described[key]


def _read(path: Path, size: int) -> _Described:
    blank = ModelEntry(
        name=printable(path.name),
        path=printable(path),
        size_bytes=size,
        architecture="",
        quantization=None,
        parameters=None,
        n_ctx_train=None,
        can_infill=None,
        has_chat_template=None,
        fits=None,
        loaded=False,
        embedded=False,
        configured=False,
        source="file",
        problem=None,
    )
    try:
        header = gguf.read_header(path)
    except BotframeworkError as error:
        return _Described(msgspec.structs.replace(blank, problem=_problem(error)))
    entry = msgspec.structs.replace(
        blank,
        name=header.name,
        architecture=header.architecture,
        quantization=header.quantization,
        parameters=header.n_params,
        n_ctx_train=header.n_ctx_train,
        can_infill=header.can_infill,
        has_chat_template=header.chat_template is not None,
    )
    return _Described(entry, shape_of(header), header.n_files)


def _problem(error: BotframeworkError) -> Problem:
    return Problem(kind=type(error).__name__, message=error.message)


def look(folder: Path) -> Found:
    """Find the model files of a folder and of those in it, by their paths; of a split model its first part."""
    paths: list[Path] = []
    scanned = 0
    for entry in _walk(folder, MAX_DEPTH):
        scanned += 1
        if scanned > MAX_SCANNED or len(paths) > MAX_MODELS:
            break
        if _is_model(entry):
            paths.append(Path(entry.path))
    has_more = scanned > MAX_SCANNED or len(paths) > MAX_MODELS
    return Found(tuple(sorted(paths)[:MAX_MODELS]), has_more)


def _walk(folder: Path | str, depth: int) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (OSError, ValueError):
        return
    yield from found
    for entry in found:
        if depth > 0 and _is_folder(entry):
            yield from _walk(entry.path, depth - 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_model(entry: os.DirEntry[str]) -> bool:
    """By its name alone: whether it can be loaded is told by its header."""
    name = entry.name.lower()
    part = parts.number(name)
    # A projector is the eye of a model that is another file, and no model itself.
    return (
        name.endswith(".gguf")
        and not name.startswith("mmproj")
        and (part is None or part == 1)
        and not _is_folder(entry)
    )


def _identity(path: Path) -> str:
    """One name for a file, whatever links lead to it."""
    return os.path.realpath(path)


def fits(settings: Settings, here: Hardware, path: Path, shape: ModelShape, n_files: int) -> bool | None:
    """Whether a model with its contexts finds room on this machine when nothing else is there.

    Looks at the sizes of the other files of a split model, of which ``path`` is the first and ``shape`` has the weights
    of that; None if their names cannot be told.

    Raises
    ------
    ModelRefused
        The settings do not go together.
    ModelNotFound
        A part is missing.
    """
    if n_files > 1 and not parts.others(path, n_files):
        return None
    return find_fit(settings, here, with_parts(shape, path, n_files)).placement != "none"
