"""Where messages begin and end, without a process: bytes in, bodies and faults out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botframework.lsp.framing import ABSURD_BODY, MAX_BODY, MAX_HEADER, Body, Fault, FrameParser
from support.lsp_client import frame

if TYPE_CHECKING:
    import random

GOOD = frame(b'{"good": 1}')


def read(data: bytes) -> list[bytes | int]:
    """Bodies, and the codes of faults, in the order in which they come."""
    return [piece.data if isinstance(piece, Body) else piece.code for piece in FrameParser().feed(data)]


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 11\r\n\r\n",
        b"content-length: 11\r\n\r\n",
        b"CONTENT-LENGTH: 11\r\n\r\n",
        b"Content-Length:11\r\n\r\n",
        b"Content-Length :  11  \r\n\r\n",
        b"Content-Length:\t11\r\n\r\n",
        b"Content-Length: 11\n\n",
        b"Content-Length: 11\r\n\n",
        b"Content-Length: 0011\r\n\r\n",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: 11\r\n\r\n",
        b"Content-Length: 11\r\nContent-Type: application/vscode-jsonrpc; charset=utf8\r\n\r\n",
        b"X-Unknown: 1\r\nContent-Length: 11\r\n\r\n",
        b"\r\n\r\nContent-Length: 11\r\n\r\n",
        b"\n\n\nContent-Length: 11\n\n",
    ],
)
def test_headers_that_are_tolerated(header: bytes) -> None:
    """Case, spaces, line ends, order and unknown headers do not matter."""
    assert read(header + b'{"good": 1}' + GOOD) == [b'{"good": 1}', b'{"good": 1}']


@pytest.mark.parametrize(
    "bad",
    [
        b'Content-Length: 11\r\nContent-Length: 11\r\n\r\n{"good": 1}',
        b'Content-Length: 11\r\nContent-Length: 4\r\n\r\n{"good": 1}',
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: +5\r\n\r\n",
        b"Content-Length: 5.0\r\n\r\n",
        b"Content-Length: 0x10\r\n\r\n",
        b"Content-Length: \xb2\r\n\r\n",
        b"Content-Length: abc\r\n\r\n",
        b"Content-Length:\r\n\r\n",
        b"Content-Length\r\n\r\n",
        b": 11\r\n\r\n",
        b"Content-Type: application/vscode-jsonrpc\r\n\r\n{}",
        b"Content-Length: 11\r\n folded\r\n\r\n",
        b"garbage\r\n\r\n",
        b"{}",
        b"\x00\xff\xfe\x80" * 100,
        b"\xef\xbb\xbf",
        b"x" * (MAX_HEADER + 100),
        b"X-Long: " + b"y" * MAX_HEADER + b"\r\n\r\n",
    ],
)
def test_garbage_costs_one_fault_and_not_the_stream(bad: bytes) -> None:
    """Whatever stands where a header should be is one -32600, and the next whole message is read."""
    assert read(bad + GOOD) == [-32600, b'{"good": 1}']


def test_a_body_longer_than_the_limit_is_skipped() -> None:
    """A message over 64 MiB is refused at its header, thrown away as it comes, and the next one is read."""
    parser = FrameParser()
    pieces = parser.feed(b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))
    for _ in range(MAX_BODY // (1 << 20)):
        pieces += parser.feed(b"x" * (1 << 20))
        assert len(parser._buffer) == 0
    pieces += parser.feed(b"x" + GOOD)

    assert [type(piece).__name__ for piece in pieces] == ["Fault", "Body"]


def test_a_charset_that_is_not_utf8_is_refused() -> None:
    """The LSP knows only UTF-8; the message in another charset is skipped."""
    assert read(b"Content-Length: 4\r\nContent-Type: x; charset=latin-1\r\n\r\n{}{}" + GOOD) == [-32600, b'{"good": 1}']


@pytest.mark.parametrize("digits", [b"2147483648", b"1" + b"0" * 14, b"1" + b"0" * 22, b"9" * 5_000])
def test_an_absurd_length_is_fatal(digits: bytes) -> None:
    """A length that nobody can mean ends the reading; nothing of that size is allocated."""
    parser = FrameParser()
    pieces = parser.feed(b"Content-Length: " + digits + b"\r\n\r\nrest")

    assert [(type(piece), getattr(piece, "fatal", None)) for piece in pieces] == [(Fault, True)]
    assert parser.feed(GOOD) == []
    assert int(digits[:30]) > ABSURD_BODY


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20), st.randoms(use_true_random=False))
def test_cuts_do_not_matter(bodies: list[bytes], chance: random.Random) -> None:
    """The same bytes give the same bodies, however they are cut."""
    data = b"".join(frame(body) for body in bodies)
    parser, found = FrameParser(), list[bytes | int]()
    while data:
        size = chance.choice((1, 2, 3, 10, 64, 512, 1_024))
        found += [piece.data if isinstance(piece, Body) else piece.code for piece in parser.feed(data[:size])]
        data = data[size:]

    assert found == bodies


@settings(deadline=None)
@given(st.binary(max_size=500), st.integers(1, 64))
def test_any_bytes_are_survived(data: bytes, size: int) -> None:
    """Random bytes never raise, and memory holds no more than a header of them."""
    parser = FrameParser()
    for at in range(0, len(data), size):
        parser.feed(data[at : at + size])

    assert len(parser._buffer) <= MAX_HEADER
