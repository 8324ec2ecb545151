"""Where one message ends and the next begins: the LSP's base protocol, read from bytes that may be anything.

Pure: bytes in, bodies and faults out. Every fault is followed by a search for the next header, so one broken message
costs one error and not the connection. Only a length that nobody can mean ends the reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from botframework.errors import InvalidRequest

MAX_HEADER = 8 * 1024
"""Bytes of one header block. Real ones have about 60; more is garbage that happens to hold no line end."""
MAX_BODY = 64 * 1024 * 1024
"""Bytes of one message: a 50 MB document opens (0.4 s), and memory stays bounded."""
ABSURD_BODY = 16 * MAX_BODY
"""A length beyond this cannot be skipped in reasonable time and is an attack or memory garbage: say so and end."""

PARSE_ERROR = -32700

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")
_RESTART = re.compile(rb"content-(?:length|type)[ \t]*:", re.IGNORECASE)
_RESTART_TAIL = 64
"""Bytes kept while searching: a header name and its padding may be cut by the end of a read."""
_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)
_ABSURD_DIGITS = len(str(ABSURD_BODY))


@dataclass(frozen=True, slots=True)
class Body:
    """One message, not parsed yet."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Something unreadable; it is answered with an error whose id is null."""

    code: int
    message: str
    fatal: bool = False
    """Nothing after it can be read."""


Piece = Body | Fault


class FrameParser:
    """Cuts the client's bytes into message bodies.

    Tolerated: any case of header names, no space after the colon, LF for CRLF, any order, unknown headers, empty lines
    before a header. Refused: everything else, with one `Fault` for each run of garbage.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length = -1
        """Bytes of the body being read; -1 while reading a header."""
        self._skip = 0
        """Bytes of a refused body still to be thrown away."""
        self._searching = False
        """Whether a header is searched for after garbage."""
        self._dead = False

    def feed(self, data: bytes | memoryview) -> list[Piece]:
        """Take bytes as they come and give back what is whole."""
        pieces: list[Piece] = []
        if self._dead:
            return pieces
        self._buffer += data
        while not self._dead and self._step(pieces):
            pass
        return pieces

    def _step(self, pieces: list[Piece]) -> bool:
        """Make one step; False when more bytes are needed."""
        if self._skip:
            gone = min(self._skip, len(self._buffer))
            del self._buffer[:gone]
            self._skip -= gone
            return not self._skip
        if self._searching:
            return self._search()
        if self._length >= 0:
            return self._take_body(pieces)
        return self._take_header(pieces)

    def _search(self) -> bool:
        found = _RESTART.search(self._buffer)
        if found is None:
            del self._buffer[: max(0, len(self._buffer) - _RESTART_TAIL)]
            return False
        del self._buffer[: found.start()]
        self._searching = False
        return True

    def _take_body(self, pieces: list[Piece]) -> bool:
        if len(self._buffer) < self._length:
            return False
        with memoryview(self._buffer) as view:
            pieces.append(Body(bytes(view[: self._length])))
        del self._buffer[: self._length]
        self._length = -1
        return True

    def _take_header(self, pieces: list[Piece]) -> bool:
        buffer = self._buffer
        blank = 0
        while blank < len(buffer) and buffer[blank] in b"\r\n":
            blank += 1
        del buffer[:blank]  # Empty lines before a header; some clients end their bodies with one.
        lines: list[bytes] = []
        at = 0
        while True:
            end = buffer.find(b"\n", at, MAX_HEADER)
            line = bytes(buffer[at : end if end >= 0 else MAX_HEADER])
            name = _TOKEN.match(line)
            if name is not None and name.end() < len(line) and line[name.end()] not in b": \t\r":
                # Seen at once, without waiting for a line end that may never come.
                return self._refuse(pieces, "the bytes are not an LSP header", after=1)
            if end < 0:
                if len(buffer) >= MAX_HEADER:
                    return self._refuse(pieces, f"a header is longer than {MAX_HEADER} bytes", after=1)
                return False
            at = end + 1
            line = line.removesuffix(b"\r")
            if not line:
                break
            lines.append(line)
        self._read_header(lines, at, pieces)
        return True

    def _read_header(self, lines: list[bytes], size: int, pieces: list[Piece]) -> None:
        """Judge a whole header block of ``size`` bytes."""
        lengths: list[str] = []
        charset = "utf-8"
        for line in lines:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not name.strip():
                self._refuse(pieces, "a header line has no name or no colon", after=1)
                return
            if name.strip().lower() == "content-length":
                lengths.append(value.strip())
            elif name.strip().lower() == "content-type" and (found := _CHARSET.search(value)):
                charset = found[1].lower()
        if len(lengths) != 1:
            much = "no" if not lengths else "more than one"
            self._refuse(pieces, f"a header has {much} Content-Length", after=size)
            return
        digits = lengths[0]
        if not (digits.isascii() and digits.isdigit()):
            self._refuse(pieces, "Content-Length is not a number", after=size)
            return
        digits = digits.lstrip("0") or "0"
        if len(digits) > _ABSURD_DIGITS or int(digits) > ABSURD_BODY:
            self._dead = True
            self._buffer.clear()
            pieces.append(Fault(InvalidRequest.code, f"Content-Length exceeds {MAX_BODY} bytes beyond recovery", True))
            return
        length = int(digits)
        del self._buffer[:size]
        if length > MAX_BODY:
            self._skip = length
            pieces.append(
                Fault(InvalidRequest.code, f"a message of {length} bytes is skipped, the limit is {MAX_BODY} bytes")
            )
        elif charset not in {"utf-8", "utf8"}:
            self._skip = length
            pieces.append(Fault(InvalidRequest.code, f"charset {charset[:32]!r} is not supported, only utf-8 is"))
        else:
            self._length = length

    def _refuse(self, pieces: list[Piece], message: str, after: int) -> bool:
        """Report garbage and search for a header behind the first ``after`` bytes."""
        pieces.append(Fault(InvalidRequest.code, message))
        del self._buffer[:after]
        self._searching = True
        return True
