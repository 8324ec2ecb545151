"""The model files that can be chosen from: the embedded one, the configured one, and those in the user's folder.

Files are found by their names and described by their headers, which are read once for as long as a file stays the same.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from botframework import config
from botframework.errors import BotframeworkError, ConfigError
from botframework.manager.entry import ModelEntry
from botframework.manager.load import EMBEDDED_MODEL, decide_load, memory_bytes, model_path
from botframework.manager.status import Problem
from botframework.models import gguf, hardware
from botframework.models.source import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.config import Settings
    from botframework.models.gguf import GgufHeader

FOLDER_NAME = "models"
"""In the user's data folder."""
MAX_DEPTH = 3
"""Folders below the user's: deep enough for maker/model/file, as other programs store them."""
MAX_SCANNED = 10_000
"""Entries of folders looked at: a folder that holds something else than models must not take minutes."""
MAX_MODELS = 200
"""Files listed: each one's header is read, and nobody chooses from more."""
MAX_REMEMBERED = 512
"""Descriptions kept; a header takes some 0.1 s to read, and a list is asked for whenever a menu opens."""
RAM_SHARE = 0.8
"""Of the machine's memory that a model may take: the editor and the system need the rest."""

_LATER_PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$", re.IGNORECASE)


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


class Shelf:
    """Lists model files. Reads disks: not for an event loop, but for any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._described: OrderedDict[tuple[object, ...], ModelEntry] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the user's model files are; it need not exist."""
        chosen = self._settings.models.folder
        return Path(chosen).expanduser() if chosen is not None else config.data_dir() / FOLDER_NAME

    def list(self, loaded: str) -> Listing:
        """Every file with its description; ``loaded`` is the path of the loaded one, empty if there is none."""
        with self._lock:
            return self._list(loaded)

    def _list(self, loaded: str) -> Listing:
        found = look(self.folder)
        configured = self._configured()
        fixed = [EMBEDDED_MODEL] if EMBEDDED_MODEL.is_file() else []
        fixed += [configured] if configured is not None else []
        fixed += [Path(loaded)] if loaded else []
        paths: dict[str, Path] = {}
        for path in (*fixed, *found.paths):
            paths.setdefault(_identity(path), path)
        at_start = EMBEDDED_MODEL if self._settings.model is None else configured
        entries = (
            msgspec.structs.replace(
                self._describe(path),
                loaded=bool(loaded) and identity == _identity(Path(loaded)),
                embedded=identity == _identity(EMBEDDED_MODEL),
                configured=at_start is not None and identity == _identity(at_start),
            )
            for identity, path in paths.items()
        )
        return Listing(tuple(entries), printable(self.folder), found.has_more)

    def require_trusted(self, path: Path) -> None:
        """Let a workspace that is not trusted have no other model than what the user has put on the shelf.

        Raises
        ------
        ConfigError
            The path is none of them.
        """
        if self._settings.workspace_trusted:
            return
        configured = self._configured()
        allowed = {EMBEDDED_MODEL, *look(self.folder).paths, *([configured] if configured is not None else [])}
        if _identity(path) not in {_identity(each) for each in allowed}:
            raise ConfigError(
                f"the workspace is not trusted: only the models in {printable(self.folder)}, the configured and the "
                "embedded one can be loaded"
            )

    def _configured(self) -> Path | None:
        if self._settings.model is None:
            return None
        try:
            return model_path(self._settings.model)
        except BotframeworkError:
            return None

    def _describe(self, path: Path) -> ModelEntry:
        try:
            status = path.stat()
        except (OSError, ValueError):
            return self._read(path, 0)
        key = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in self._described:
            self._described[key] = self._read(path, status.st_size)
            while len(self._described) > MAX_REMEMBERED:
                self._described.popitem(last=False)
        self._described.move_to_end(key)
        return self._described[key]

    def _read(self, path: Path, size: int) -> ModelEntry:
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
            problem=None,
        )
        try:
            header = gguf.read_header(path)
            fits_here = fits(self._settings, hardware.probe(), header)
        except BotframeworkError as error:
            return msgspec.structs.replace(blank, problem=Problem(kind=type(error).__name__, message=error.message))
        return msgspec.structs.replace(
            blank,
            name=header.name,
            architecture=header.architecture,
            quantization=header.quantization,
            parameters=header.n_params,
            n_ctx_train=header.n_ctx_train,
            can_infill=header.can_infill,
            has_chat_template=header.chat_template is not None,
            fits=fits_here,
        )


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
    part = _LATER_PART.search(name)
    # A projector is the eye of a model that is another file, and no model itself.
    return (
        name.endswith(".gguf")
        and not name.startswith("mmproj")
        and (part is None or int(part[1]) == 1)
        and not _is_folder(entry)
    )


def _identity(path: Path) -> str:
    """One name for a file, whatever links lead to it."""
    return os.path.realpath(path)


def fits(settings: Settings, machine: hardware.Hardware, header: GgufHeader) -> bool | None:
    """Whether a model with its contexts finds room on this machine when nothing else is there. Pure.

    None for a model in several files: the header of the first knows nothing of the others' weights.

    Raises
    ------
    ModelRefused
        The settings do not go together.
    """
    if header.metadata.get("split.count", 0) not in {0, 1}:
        return None
    load = decide_load(settings, machine, header)
    if load.n_gpu_layers > header.n_layers:
        return True  # decided by the same arithmetic
    needed = memory_bytes(header, load.n_ctx_fim + load.n_ctx_chat, load.kv_type)
    return needed <= machine.ram_total * RAM_SHARE
