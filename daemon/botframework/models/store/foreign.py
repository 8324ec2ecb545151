"""Models that other programs keep on this machine. They are found, read, and used where they lie; nothing is changed.

Their places are the documented ones: Ollama's FAQ, LM Studio's "Import models", ``fs_get_cache_directory`` of
llama.cpp, the Hub's "Local cache". Each may be moved by the program's own environment variable.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import ModelError, PullRefused
from botframework.models.source import open_regular, printable
from botframework.models.store.layout import SUFFIX
from botframework.models.store.names import is_digest
from botframework.models.store.selection import parts_of
from botframework.models.store.value import InstalledModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from botframework.models.store.remote import RemoteFile
    from botframework.models.store.value import Origin

MAX_SCANNED = 20_000
"""Entries of one program's folder: caches hold other things than models too."""
MAX_DEPTH = 6
"""Folders below a program's: a snapshot of a repository with folders of its own is the deepest."""
MAX_MANIFEST_BYTES = 1 << 20
"""Of a file in which Ollama describes a model; it lists some ten files."""
OLLAMA_SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Where Ollama's installer for Linux lets its service keep them."""
OLLAMA_MODEL_LAYER = "application/vnd.ollama.image.model"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where this user's programs keep their files."""

    environment: Mapping[str, str]
    home: Path
    platform: str = sys.platform

    @classmethod
    def ours(cls) -> Surroundings:
        """Those of this process. A user without a home has no such files."""
        return cls(os.environ, Path(os.path.expanduser("~")))  # noqa: PTH111 - Path.home raises where there is none

    def folder(self, variable: str) -> Path | None:
        """The absolute folder that an environment variable names."""
        value = self.environment.get(variable, "")
        path = Path(value)
        return path if value and path.is_absolute() else None

    @property
    def caches(self) -> Path:
        """The user's cache folder, as llama.cpp computes it."""
        if self.platform == "darwin":  # never run
            return self.home / "Library" / "Caches"
        if self.platform == "win32":  # never run
            return self.folder("LOCALAPPDATA") or self.home / "AppData" / "Local"
        return self.folder("XDG_CACHE_HOME") or self.home / ".cache"


class OllamaLayer(msgspec.Struct, frozen=True, rename="camel"):
    """One file of a model."""

    media_type: str
    digest: str


class OllamaManifest(msgspec.Struct, frozen=True):
    """What Ollama writes about a model; more is in it."""

    layers: tuple[OllamaLayer, ...] = ()


_decoder = msgspec.json.Decoder(OllamaManifest)


def models(around: Surroundings) -> tuple[InstalledModel, ...]:
    """Every GGUF model of the four programs; a file that two of them list comes once."""
    found: dict[str, InstalledModel] = {}
    for each in (*ollama(around), *lm_studio(around), *hugging_face(around), *llama_cpp(around)):
        found.setdefault(os.path.realpath(each.path), each)
    return tuple(found.values())


def places(around: Surroundings) -> Iterator[tuple[str, Path]]:
    """Each program's name and a folder that is looked through for its models; it need not exist."""
    for root in _ollama_folders(around):
        yield "Ollama", root
    for root in _lm_studio_folders(around):
        yield "LM Studio", root
    yield "llama.cpp", _llama_cpp_folder(around)
    yield "Hugging Face", _hugging_face_folder(around)


def holding(around: Surroundings, files: tuple[RemoteFile, ...]) -> Iterator[InstalledModel]:
    """Those that may be what is to be pulled, by their digest or else by name and size. Only a digest is proof."""
    first = files[0].filename.rpartition("/")[2]
    total = sum(file.size for file in files)
    for each in models(around):
        if each.size_bytes != total or each.parts != len(files):
            continue
        name = Path(each.path).name
        if each.digests:
            if each.digests[0] == files[0].sha256:
                yield each
        elif name == first or name.endswith(f"_{first}"):  # llama.cpp puts owner and repository before it
            yield each


def ollama(around: Surroundings) -> Iterator[InstalledModel]:
    """Files named by their digest, and for each model a manifest that names them."""
    for root in _ollama_folders(around):
        manifests = root / "manifests"
        for entry in _walk(manifests, MAX_DEPTH, [MAX_SCANNED]):
            found = _ollama_model(root, Path(entry.path))
            if found is not None:
                yield found


def _ollama_folders(around: Surroundings) -> Iterator[Path]:
    chosen = around.folder("OLLAMA_MODELS")
    yield from (root for root in (chosen, around.home / ".ollama" / "models", OLLAMA_SERVICE) if root is not None)


def _ollama_model(root: Path, manifest: Path) -> InstalledModel | None:
    try:
        with open_regular(manifest, printable(manifest)) as file:
            layers = _decoder.decode(file.read(MAX_MANIFEST_BYTES) or b"").layers
    except (ModelError, OSError, ValueError, RecursionError):
        return None
    digests = [layer.digest.removeprefix("sha256:") for layer in layers if layer.media_type == OLLAMA_MODEL_LAYER]
    where = manifest.relative_to(root / "manifests").parts
    if len(digests) != 1 or not is_digest(digests[0]) or len(where) < 3:
        return None
    space, name, tag = where[-3:]
    shown = f"{name}:{tag}" if space == "library" else f"{space}/{name}:{tag}"
    for path in (root / "blobs" / f"sha256-{digests[0]}", root / "blobs" / f"sha256:{digests[0]}"):
        described = _describe("ollama", shown, (path,), (digests[0],))
        if described is not None:
            return described
    return None


def lm_studio(around: Surroundings) -> Iterator[InstalledModel]:
    """``publisher/model/file.gguf`` below its home, which a pointer file names."""
    for root in _lm_studio_folders(around):
        yield from _files("lmStudio", root, depth=3)


def _lm_studio_folders(around: Surroundings) -> Iterator[Path]:
    homes = [around.home / ".lmstudio", around.home / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError, ValueError):
        pointed = Path((around.home / ".lmstudio-home-pointer").read_text("utf-8")[:4_096].strip())
        if pointed.is_absolute():
            homes.insert(0, pointed)
    yield from (home / "models" for home in dict.fromkeys(homes))


def llama_cpp(around: Surroundings) -> Iterator[InstalledModel]:
    """Its own cache, flat; newer ones use that of the Hugging Face libraries."""
    yield from _files("llamaCpp", _llama_cpp_folder(around), depth=0)


def _llama_cpp_folder(around: Surroundings) -> Path:
    return around.folder("LLAMA_CACHE") or around.caches / "llama.cpp"


def hugging_face(around: Surroundings) -> Iterator[InstalledModel]:
    """``models--owner--repository/snapshots/commit/file``, a link to a blob that is named by its digest."""
    try:
        folders = sorted(_hugging_face_folder(around).iterdir())
    except OSError:
        return
    for repository in folders:
        if repository.name.startswith("models--"):
            yield from _files("huggingFace", repository / "snapshots", depth=MAX_DEPTH - 1)


def _hugging_face_folder(around: Surroundings) -> Path:
    home = around.folder("HF_HOME") or (around.folder("XDG_CACHE_HOME") or around.home / ".cache") / "huggingface"
    return around.folder("HF_HUB_CACHE") or around.folder("HUGGINGFACE_HUB_CACHE") or home / "hub"


def _files(origin: Origin, root: Path, *, depth: int) -> Iterator[InstalledModel]:
    """The models below a folder, of split ones the first part with the others beside it."""
    for entry in _walk(root, depth, [MAX_SCANNED]):
        name = entry.name.lower()
        if not name.endswith(SUFFIX) or name.startswith("mmproj"):
            continue
        try:
            names = parts_of(entry.name)
        except PullRefused:
            continue
        if names[0] != entry.name:
            continue
        path = Path(entry.path)
        paths = tuple(path.with_name(part) for part in names)
        # The cache of the Hugging Face libraries names content by its digest, but for small files.
        digests = [Path(os.path.realpath(part)).name if part.is_symlink() else "" for part in paths]
        known = tuple(digests) if origin == "huggingFace" and all(map(is_digest, digests)) else ()
        described = _describe(origin, path.name, paths, known)
        if described is not None:
            yield described


def _describe(origin: Origin, name: str, paths: tuple[Path, ...], digests: tuple[str, ...]) -> InstalledModel | None:
    try:
        str(paths[0]).encode()  # bytes that are no UTF-8 cannot be told to anybody, nor be asked for
        sizes = [path.stat().st_size for path in paths if path.is_file() and os.access(path, os.R_OK)]
    except (OSError, ValueError):
        return None
    if len(sizes) != len(paths) or not all(sizes):
        return None
    return InstalledModel(
        name=printable(name),
        path=str(paths[0]),
        origin=origin,
        reference="",
        size_bytes=sum(sizes),
        parts=len(paths),
        digests=digests,
    )


def _walk(folder: Path | str, depth: int, left: list[int]) -> Iterator[os.DirEntry[str]]:
    """Files below a folder. Links to folders are not followed: they may lead round in a circle."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (OSError, ValueError):
        return
    for entry in found:
        left[0] -= 1
        if left[0] < 0:
            return
        with contextlib.suppress(OSError):
            if not entry.is_dir(follow_symlinks=False):
                yield entry
            elif depth > 0:
                yield from _walk(entry.path, depth - 1, left)
