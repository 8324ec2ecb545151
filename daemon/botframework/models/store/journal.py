"""What of an unfinished file is on the disk already, written down so that a killed download goes on where it was.

Beside ``NAME.part`` lies ``NAME.part.journal``: a head that says which file it is, then eight bytes for each block of
the part. They are zero while the block is missing; else a checksum of it with a one above. An entry is written after
its block, in place. After a loss of power both may be there, or one; a block that does not agree with its entry is
fetched again (`download`), so nothing is synchronised for it. A loss of power loses whole pages, so a sample of
the bytes is enough for that; damage of any other kind is the digest's to find.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import zlib
from array import array
from typing import TYPE_CHECKING

import msgspec

from botframework.process.durable import FLAGS, write_all

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.models.store.remote import RemoteFile

BLOCK_BYTES = 1 << 20
"""What a connection that ends in the middle of a block has to fetch again, at most."""
SAMPLE_STEP = 1_021
"""Every page of 4 KiB has four bytes of the sample; a checksum of all bytes costs almost as much as SHA-256 does."""
HEAD_BYTES = 1_024
MAGIC = b"BFPART1\n"
PRESENT = 1 << 32
ENTRY_BYTES = 8
OPEN = os.O_RDWR | os.O_CREAT | FLAGS


def go_on(checksum: int, piece: memoryview, offset: int) -> int:
    """A block's checksum, 0 before its first piece: the CRC-32 of every 1,021st byte.

    Parameters
    ----------
    offset
        Where in its block the piece begins.
    """
    return zlib.crc32(piece[-offset % SAMPLE_STEP :: SAMPLE_STEP].tobytes(), checksum)


class Identity(msgspec.Struct, frozen=True):
    """Which file a part is of. Only a part of the same file is gone on with."""

    size: int
    sha256: str | None
    etag: str | None

    @property
    def can_resume(self) -> bool:
        """Without a digest or a tag nobody knows whether the server still has the same file."""
        return self.sha256 is not None or self.etag is not None


def journal_of(part: Path) -> Path:
    """Where a part's journal is."""
    return part.with_name(f"{part.name}.journal")


def _fresh_journal_of(part: Path) -> Path:
    """Where a journal is until its head is whole."""
    return part.with_name(f"{part.name}.journal.new")


def discard(part: Path) -> None:
    """Remove a part and its journal; nothing happens where there is none."""
    for path in (journal_of(part), _fresh_journal_of(part), part):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - by `os`, where the tests' faults stand


class Journal:
    """The blocks of one part. Its methods may be called by several threads."""

    def __init__(self, part: Path, source: RemoteFile) -> None:
        """Go on with what is there, or begin anew if that is another file's.

        Raises
        ------
        OSError
            The disk refuses.
        """
        self.part = part
        self.size = source.size
        self.n_blocks = -(-source.size // BLOCK_BYTES)
        # With a digest the tag does not matter: mirrors have tags of their own.
        self._identity = Identity(source.size, source.sha256, None if source.sha256 else source.etag)
        self._lock = threading.Lock()
        self._entries = self._found()
        if self._entries is None:
            self._entries = self._begin()
        self._descriptor = os.open(journal_of(part), OPEN)

    def close(self) -> None:
        """Close the file; what is written stays."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def length(self, block: int) -> int:
        """Bytes of a block; the last is shorter."""
        return min(BLOCK_BYTES, self.size - block * BLOCK_BYTES)

    def checksum(self, block: int) -> int | None:
        """The checksum of a block that is there (`go_on`), or None."""
        entry = self._known[block]
        return entry & 0xFFFFFFFF if entry else None

    def mark(self, block: int, checksum: int) -> None:
        """A block is on the disk."""
        self._write(block, PRESENT | checksum)

    def forget(self, block: int) -> None:
        """A block is not what was written."""
        self._write(block, 0)

    def bytes_present(self) -> int:
        """Bytes of all blocks that are there."""
        return sum(self.length(block) for block in range(self.n_blocks) if self._known[block])

    @property
    def _known(self) -> array[int]:
        assert self._entries is not None  # noqa: S101 - for the type; it is set where the journal is made
        return self._entries

    def _write(self, block: int, entry: int) -> None:
        with self._lock:
            os.lseek(self._descriptor, HEAD_BYTES + block * ENTRY_BYTES, os.SEEK_SET)
            write_all(self._descriptor, entry.to_bytes(ENTRY_BYTES, "little"))
            self._known[block] = entry

    def _head(self) -> bytes:
        text = MAGIC + msgspec.json.encode([BLOCK_BYTES, self._identity])
        return text.ljust(HEAD_BYTES, b"\n")

    def _found(self) -> array[int] | None:
        """The entries of a part of the same file, or None."""
        if not self._identity.can_resume:
            return None
        try:
            with journal_of(self.part).open("rb") as file:
                content = file.read(HEAD_BYTES + (self.n_blocks + 1) * ENTRY_BYTES)
            is_whole = self.part.stat().st_size == self.size and not self.part.is_symlink()
        except OSError:
            return None
        entries = array("Q")
        if not is_whole or not content.startswith(self._head()):
            return None
        if len(content) != HEAD_BYTES + self.n_blocks * ENTRY_BYTES:
            return None
        entries.frombytes(content[HEAD_BYTES:])
        if sys.byteorder == "big":
            entries.byteswap()  # never run
        good = all(entry == 0 or entry >> 32 == 1 for entry in entries)
        return entries if good else None

    def _begin(self) -> array[int]:
        """An empty part of the full size, and its journal. The journal comes last: without it the part is nobody's."""
        discard(self.part)
        entries = array("Q", bytes(ENTRY_BYTES * self.n_blocks))
        part = os.open(self.part, OPEN | os.O_EXCL, 0o644)
        try:
            # Fails at once where the file system cannot have files of this size.
            os.ftruncate(part, self.size)
        finally:
            os.close(part)
        fresh = _fresh_journal_of(self.part)
        journal = os.open(fresh, OPEN | os.O_EXCL, 0o600)
        try:
            write_all(journal, self._head() + entries.tobytes())
        finally:
            os.close(journal)
        os.replace(fresh, journal_of(self.part))  # noqa: PTH105 - by `os`, where the tests' faults stand
        return entries
