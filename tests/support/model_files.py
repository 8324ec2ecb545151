"""Model files for the tests of the store: small, whole, and different for different seeds; also split ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from support.gguf_factory import GgufFile, ValueType, tiny_llama, tiny_llama_file

if TYPE_CHECKING:
    from pathlib import Path


def one_file(path: Path, *, seed: int = 1) -> Path:
    """A model in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return tiny_llama(path, d=32, n_layers=1, ffn=64, seed=seed)


def of_architecture(path: Path, name: str) -> Path:
    """A model that is whole, and says that it is of some architecture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = tiny_llama_file(d=32, n_layers=1, ffn=64)
    made.metadata = [
        (name + str(key)[5:] if str(key).startswith("llama.") else key, kind, value)
        for key, kind, value in made.metadata
    ]
    made.put("general.architecture", ValueType.STRING, name)
    return made.write(path)


def split_files(folder: Path, stem: str = "model", *, seed: int = 1) -> tuple[Path, Path]:
    """A model in two files, as llama.cpp splits them: the first has the metadata, both have tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = tiny_llama_file(d=32, n_layers=1, ffn=64, seed=seed)
    second = GgufFile(tensors=whole.tensors[5:])
    whole.tensors = whole.tensors[:5]
    for number, part in enumerate((whole, second)):
        part.put("split.no", ValueType.UINT16, number)
        part.put("split.count", ValueType.UINT16, 2)
        part.put("split.tensors.count", ValueType.INT32, len(whole.tensors) + len(second.tensors))
    paths = (folder / f"{stem}-00001-of-00002.gguf", folder / f"{stem}-00002-of-00002.gguf")
    return whole.write(paths[0]), second.write(paths[1])


def large_file(path: Path, *, seed: int = 1) -> Path:
    """A model of some 30 MiB, for what has to take a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return tiny_llama(path, d=512, n_layers=3, ffn=1_024, seed=seed)


def sha256(path: Path) -> str:
    """A file's digest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
