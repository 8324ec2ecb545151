"""llama-cpp-python's source distribution: it holds llama.cpp as our library is built from it, and a real tokenizer."""

from __future__ import annotations

import hashlib
import tarfile
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SDIST_VERSION = "0.3.36"
SDIST_URL = (
    "https://files.pythonhosted.org/packages/ec/e9/"
    "e7de2b0463ea3ffbf0ede6cb21b58c1258a8f6521aae45ca773a59fe7cf3/llama_cpp_python-0.3.36.tar.gz"
)
SDIST_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
DOWNLOAD_TIMEOUT_S = 60
"""Without a byte."""
LLAMA_CPP = "/vendor/llama.cpp/"


class OfflineError(RuntimeError):
    """The source distribution is not cached and cannot be fetched; a benchmark does without what it needed."""


def fetch_sdist(cache: Path) -> Path:
    """The archive (77 MB), fetched once and checked.

    Raises
    ------
    OfflineError
        PyPI cannot be reached, or gave something else.
    """
    target = cache / SDIST_URL.rpartition("/")[2]
    if target.is_file():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(SDIST_URL, timeout=DOWNLOAD_TIMEOUT_S) as answer, partial.open("wb") as file:
            while chunk := answer.read(1 << 20):
                digest.update(chunk)
                file.write(chunk)
    except (OSError, urllib.error.URLError) as error:
        partial.unlink(missing_ok=True)
        raise OfflineError(f"cannot fetch {SDIST_URL}: {error}") from error
    if digest.hexdigest() != SDIST_SHA256:
        partial.unlink()
        raise OfflineError(f"{SDIST_URL} has SHA-256 {digest.hexdigest()}, expected {SDIST_SHA256}")
    return partial.replace(target)


def extract(archive: Path, name: str, target: Path) -> Path:
    """Write one file of llama.cpp's tree.

    Raises
    ------
    OfflineError
        The archive has no such file.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isfile() and member.name.endswith(LLAMA_CPP + name) else None
            if source is not None:
                partial = target.with_suffix(".partial")
                partial.write_bytes(source.read())
                return partial.replace(target)
    raise OfflineError(f"{archive.name} has no {name}")


def extract_llama_cpp(archive: Path, folder: Path) -> Path:
    """Unpack llama.cpp's tree into ``folder``."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, found, path = member.name.partition(LLAMA_CPP)
            if found and path and not path.startswith(".git"):
                tar.extract(member.replace(name=path), folder, filter="data")
    return folder
