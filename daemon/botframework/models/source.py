"""Opens a file that may be anything, and hands out its values one by one, each within the file's bounds.

Nothing is mapped: a file that another process truncates would end us with SIGBUS.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botframework.errors import ModelNotFound, ModelRefused
from botframework.models.header import ValueType

if TYPE_CHECKING:
    from typing import NoReturn

MAX_STRING_BYTES = 1 << 20
"""The longest useful string, a chat template, stays below 64 KiB."""
MAX_STRINGS = 4_000_000
"""Items of all string arrays together: four times the largest vocabulary with its merges, walked in a second."""
MAX_HEADER_BYTES = 256 << 20
"""The largest real header (262k tokens with merges) has about 16 MB."""
MAX_KEPT_BYTES = 16 << 20
"""Strings and short arrays that stay in memory; real models have a chat template and little else."""
WINDOW_BYTES = 1 << 20
"""Read at a time: large enough for few system calls, small beside the daemon's memory budget."""
SNIFF_BYTES = 512
"""Enough to tell what a foreign file is."""

LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""`struct`'s letters for the value types of fixed size."""
SCALARS = {kind: struct.Struct("<" + letter) for kind, letter in LETTERS.items()}
_LENGTH = struct.Struct("<Q")

_LOOKS = (
    (b"PK\x03\x04", "a zip archive; PyTorch checkpoints are such, and hold pickled code"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x89HDF", "an HDF5 file, perhaps a Keras model"),
    (b"lmgg", "a GGML file from before GGUF"),
    (b"fmgg", "a GGML file from before GGUF"),
    (b"tjgg", "a GGML file from before GGUF"),
    (b"algg", "a GGML adapter from before GGUF"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"#!", "a script"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a PNG picture"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a Git LFS pointer; the file itself was not fetched"),
    (b"FUGG", "a GGUF with its bytes in the wrong order"),
)
_PICKLE_PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")


def looks_like(head: bytes) -> str:
    """Say what a file that is no GGUF seems to be, by its first bytes alone; no loader ever sees it."""
    for magic, name in _LOOKS:
        if head.startswith(magic):
            return name
    text = head.lstrip().lower()
    guesses = (
        (head[:1] == b"\x80" and head[1:2] in _PICKLE_PROTOCOLS, "a Python pickle, which runs code when it is loaded"),
        (head[8:9] == b"{" and int.from_bytes(head[:8], "little") < MAX_HEADER_BYTES, "a safetensors file"),
        (head[257:262] == b"ustar", "a tar archive"),
        (head[4:8] == b"TFL3", "a TensorFlow Lite model"),
        (text.startswith((b"<!doctype", b"<html", b"<?xml")), "a web page; the download may have failed"),
        (text.startswith((b"{", b"[")), "JSON text"),
        (not head.strip(b"\0"), "zeros; the download may be unfinished"),
    )
    return next((name for matches, name in guesses if matches), "of no kind we know")


def printable(path: str | os.PathLike[str]) -> str:
    """A path may hold lone surrogates (bytes that are no UTF-8), which no JSON message can carry."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def open_regular(path: str | os.PathLike[str], shown: str) -> io.FileIO:
    """Open a regular file for reading, and nothing else."""
    # Without O_NONBLOCK the opening of a FIFO waits for a writer, perhaps for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        # Asked before it is opened, because the opening of some devices does something.
        _require_regular(Path(path).stat(), shown)
        fd = os.open(path, flags)
    except FileNotFoundError as error:
        raise ModelNotFound(f"{shown}: no such file", path=shown) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelNotFound(f"{shown}: cannot be opened: {reason}", path=shown) from error
    try:
        _require_regular(os.fstat(fd), shown)
        return io.FileIO(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def _require_regular(status: os.stat_result, shown: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = kinds.get(stat.S_IFMT(status.st_mode), "no regular file")
    raise ModelRefused(f"{shown}: is {kind}, expected a GGUF file", path=shown, found=kind, expected="a GGUF file")


class Source:
    """Little-endian values from a file, one window at a time, each asked for within the file's bounds."""

    def __init__(self, file: io.FileIO, shown: str, size: int) -> None:
        self.path = shown
        self.size = size
        self._file = file
        self._window = b""
        self._start = 0
        self._at = 0
        self._strings_left = MAX_STRINGS
        self._kept = 0

    @property
    def offset(self) -> int:
        """The place of the next byte in the file."""
        return self._start + self._at

    def refuse(self, what: str, *, found: Any, expected: str, offset: int | None = None) -> NoReturn:
        """Say what stands where, and what should."""
        place = self.offset if offset is None else offset
        raise ModelRefused(
            f"{self.path}: {what} at byte {place}: found {found}, expected {expected}",
            path=self.path,
            offset=place,
            found=str(found),
            expected=expected,
        )

    def _fill(self, n: int, what: str) -> None:
        """Have at least ``n`` bytes in the window from the present place on."""
        place = self.offset
        if n > self.size - place:
            self.refuse(f"the file ends inside {what}", found=f"{self.size - place} bytes", expected=f"{n} bytes")
        if place + n > MAX_HEADER_BYTES:
            self.refuse(f"{what} in the header", found=f"{n} bytes more", expected=f"at most {MAX_HEADER_BYTES} bytes")
        self._file.seek(place)
        parts, got = [], 0
        while got < n:
            chunk = self._file.read(max(WINDOW_BYTES, n) - got)
            if not chunk:
                self.refuse(f"the file ends inside {what}", found=f"{got} bytes", expected=f"{n} bytes")
            parts.append(chunk)
            got += len(chunk)
        self._window, self._start, self._at = b"".join(parts), place, 0

    def take(self, n: int, what: str) -> bytes:
        """The next ``n`` bytes."""
        if self._at + n > len(self._window):
            self._fill(n, what)
        self._at += n
        return self._window[self._at - n : self._at]

    def skip(self, n: int, what: str) -> None:
        """Step over ``n`` bytes without reading them."""
        if n > self.size - self.offset:
            self.refuse(f"the file ends inside {what}", found=f"{self.size - self.offset} bytes", expected=f"{n} bytes")
        self._at += n
        if self._at > len(self._window):
            self._window, self._start, self._at = b"", self.offset, 0

    def reread(self, offset: int, n: int) -> bytes:
        """``n`` bytes from another place that was already passed; the present place stays."""
        self._file.seek(offset)
        return self._file.read(n)

    def number(self, kind: int, what: str) -> Any:
        """One number."""
        scalar = SCALARS[kind]
        return scalar.unpack(self.take(scalar.size, what))[0]

    def string(self, limit: int, what: str) -> bytes:
        """A length and that many bytes."""
        place = self.offset
        n = self.number(ValueType.UINT64, f"the length of {what}")
        self._limit(n, limit, f"the length of {what}", place)
        return self.take(n, what)

    def keep(self, n: int, what: str) -> None:
        """Count ``n`` bytes that stay in memory."""
        self._kept += n
        if self._kept > MAX_KEPT_BYTES:
            self.refuse(what, found=f"{self._kept} bytes of metadata", expected=f"at most {MAX_KEPT_BYTES} bytes")

    def value_type(self, what: str) -> ValueType:
        """The number of a metadata type."""
        place = self.offset
        number = self.number(ValueType.UINT32, what)
        try:
            return ValueType(number)
        except ValueError:
            self.refuse(what, found=number, expected="0 to 12", offset=place)

    def strings(self, count: int, what: str) -> list[bytes]:
        """``count`` strings."""
        self._expect_strings(count, what)
        texts: list[bytes] = []
        window, at, end = self._window, self._at, len(self._window)
        for index in range(count):
            if at + 8 > end:
                window, at, end = self._advance(at, 8, what)
            (n,) = _LENGTH.unpack_from(window, at)
            if at + 8 + n > end:
                self._limit(n, MAX_STRING_BYTES, f"the length of item {index} of {what}")
                window, at, end = self._advance(at, 8 + n, f"item {index} of {what}")
            at += 8 + n
            texts.append(window[at - n : at])
        self._at = at
        return texts

    def skip_strings(self, count: int, what: str) -> None:
        """Step over ``count`` strings. Nothing is compared inside a window: it holds merges by the hundred thousand."""
        self._expect_strings(count, what)
        window, at, length_at = self._window, self._at, _LENGTH.unpack_from
        for _ in range(count):
            try:
                (n,) = length_at(window, at)
            except struct.error:  # the window ends here, or inside the string before
                self._limit(at - len(window), MAX_STRING_BYTES, f"the length of an item of {what}")
                window, at, _ = self._advance(at, 8, what)
                (n,) = length_at(window, at)
            at += 8 + n
        self._limit(at - len(window), MAX_STRING_BYTES, f"the length of an item of {what}")
        self._at = min(at, len(window))
        self.skip(at - self._at, what)

    def _expect_strings(self, count: int, what: str) -> None:
        self._strings_left -= count
        if self._strings_left < 0:
            self.refuse(what, found=f"{count} strings", expected=f"at most {MAX_STRINGS} strings in all arrays")
        if count * 8 > self.size - self.offset:
            self.refuse(f"the file ends inside {what}", found=f"{count} strings", expected="the bytes of their lengths")

    def _limit(self, n: int, limit: int, what: str, place: int | None = None) -> None:
        if n > limit:
            self.refuse(what, found=n, expected=f"at most {limit} bytes", offset=place)

    def _advance(self, at: int, n: int, what: str) -> tuple[bytes, int, int]:
        """A window that begins at ``at`` of the present one and holds ``n`` bytes."""
        if self._start + at > self.size:
            self.refuse(
                f"the file ends inside {what}", found=f"{self.size} bytes", expected=f"{self._start + at} bytes"
            )
        self._at = at
        self._fill(n, what)
        return self._window, 0, len(self._window)
