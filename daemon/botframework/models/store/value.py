"""What the store tells of itself: values that travel, so nothing heavy is imported here."""

from __future__ import annotations

from typing import Literal

import msgspec

Origin = Literal["pulled", "ollama", "lmStudio", "huggingFace", "llamaCpp"]
"""Who keeps a file: this store, or another program in whose folder it is used in place."""


class InstalledModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model that is whole and can be loaded from where it lies."""

    name: str
    """In the store ``owner/repository/file.gguf``; of another program what that one calls it."""
    path: str
    """Of the file, or of the first part."""
    origin: Origin
    reference: str
    """What it was pulled by; empty for a file of another program."""
    size_bytes: int
    """Of all parts."""
    parts: int = 1
    digests: tuple[str, ...] = ()
    """SHA-256 of each part in hexadecimal; empty where nobody has computed it."""
    pulled_at: float | None = None
    """Seconds since the epoch."""
    used_at: float | None = None
    """When it was last pulled or loaded, in seconds since the epoch."""


class DownloadProgress(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a download is, whichever process carries it out."""

    name: str
    done_bytes: int
    total_bytes: int
    started: float
    """Seconds since the epoch."""
    pid: int
    """Of the process that carries it out."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the store takes of the disk."""

    models_bytes: int
    """Content that two models share is counted once."""
    unfinished_bytes: int
    """Of downloads that are under way or were broken off."""
    free_bytes: int
    """On the disk that the folder is on."""
