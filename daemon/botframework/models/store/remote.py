"""What a pull fetches: files at their addresses, with what is known of each before its first byte.

Everything here may come from a stranger's server, so the values check themselves when they are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from botframework.errors import PullRefused
from botframework.models.store.names import check_path, is_digest, shown_name

MAX_FILE_BYTES = 1 << 40
"""A TiB: hubs split models into files of some 50 GB, and no machine that runs them has the disk for more."""
MAX_FILES = 512
"""Parts of one model: 512 of 50 GB would be larger than any."""
MAX_SHOWN_CHARS = 300
"""Of an address in a message: what a tooltip can hold."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file at an address.

    Raises
    ------
    PullRefused
        A name, size or digest is none.
    """

    url: str
    size: int
    """Bytes, as announced; another number of them is an error."""
    filename: str
    """The path inside its repository, parts separated by ``/``: ``sub/model-00001-of-00002.gguf``."""
    sha256: str | None = None
    """64 hexadecimal digits as published, or None where nobody publishes one."""
    etag: str | None = None
    """What tells versions of the file apart where there is no digest; only a strong one stands here."""
    host_was_given_by_user: bool = False
    """Whether the user wrote the address' host and port themselves, which then may be private."""

    def __post_init__(self) -> None:
        check_path(self.filename)
        if self.size < 1 or self.size > MAX_FILE_BYTES:
            raise PullRefused(
                f"{shown_name(self.filename)} is announced with {self.size} bytes: expected 1 to {MAX_FILE_BYTES}",
                url=shown_url(self.url),
            )
        if self.sha256 is not None and not is_digest(self.sha256):
            raise PullRefused(
                f"{shown_name(self.filename)} is announced with a SHA-256 that is none", url=shown_url(self.url)
            )


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference stands for at this moment."""

    files: tuple[RemoteFile, ...]
    """In the order of a split model's parts; one for any other."""
    folder: tuple[str, ...]
    """Where it belongs below the folder of models: owner and repository, or the host."""
    origin: str
    """The reference that would fetch the same bytes again: with the commit where there is one."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.files) <= MAX_FILES:
            raise PullRefused(f"the model has {len(self.files)} files: expected 1 to {MAX_FILES}")
        for part in self.folder:
            check_path(part)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def shown_url(url: str) -> str:
    """An address for messages and logs: without user, password, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    host = f"[{host}]" if ":" in host else host
    text = f"{parts.scheme}://{host}{port}{parts.path}"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
