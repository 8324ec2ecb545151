"""Malformed input against the whole daemon: every case answered as the specification says, and the daemon lives."""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.lsp_client import LspClient, frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
STATUS = {"jsonrpc": "2.0", "id": "s", "method": "botframework/status"}


def body(**fields: Any) -> bytes:
    """A framed message with these fields."""
    return frame({"jsonrpc": "2.0"} | fields)


CORPUS: list[tuple[str, bytes, Any, int | None]] = [
    # name, bytes, id of the answer, its error code (None: a result)
    ("lower-case header", b"content-length: 4\r\n\r\nnull", None, INVALID_REQUEST),
    ("upper-case header", frame(STATUS).replace(b"Content-Length", b"CONTENT-LENGTH"), "s", None),
    ("header without a space", frame(STATUS).replace(b": ", b":", 1), "s", None),
    ("header with LF only", frame(STATUS).replace(b"\r\n", b"\n"), "s", None),
    (
        "headers in another order",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n" + frame(STATUS),
        "s",
        None,
    ),
    ("unknown header", b"X-Trace: 1\r\n" + frame(STATUS), "s", None),
    ("empty lines before the header", b"\r\n\r\n" + frame(STATUS), "s", None),
    ("leading zeros", frame(STATUS).replace(b"Length: ", b"Length: 000"), "s", None),
    ("duplicate length", b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nnull", None, INVALID_REQUEST),
    ("two different lengths", b"Content-Length: 4\r\nContent-Length: 40\r\n\r\nnull", None, INVALID_REQUEST),
    ("no length", b"Content-Type: application/vscode-jsonrpc\r\n\r\n{}", None, INVALID_REQUEST),
    ("negative length", b"Content-Length: -1\r\n\r\n", None, INVALID_REQUEST),
    ("length in words", b"Content-Length: four\r\n\r\nnull", None, INVALID_REQUEST),
    ("empty length", b"Content-Length: \r\n\r\n", None, INVALID_REQUEST),
    ("length zero", b"Content-Length: 0\r\n\r\n", None, PARSE_ERROR),
    ("no header at all", b'{"jsonrpc":"2.0","id":1,"method":"x"}', None, INVALID_REQUEST),
    ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", None, INVALID_REQUEST),
    ("binary noise", bytes(range(128, 256)), None, INVALID_REQUEST),
    ("endless header", b"A" * 9_000, None, INVALID_REQUEST),
    ("foreign charset", b"Content-Length: 4\r\nContent-Type: x; charset=utf-16\r\n\r\nnull", None, INVALID_REQUEST),
    ("length too short", b"Content-Length: 5\r\n\r\n" + json.dumps(STATUS).encode(), None, PARSE_ERROR),
    ("broken JSON", frame(b'{"jsonrpc": "2.0", "id": 1,'), None, PARSE_ERROR),
    ("two values", frame(b"{} {}"), None, PARSE_ERROR),
    ("not UTF-8", frame(b'{"a": "\xff\xfe"}'), None, PARSE_ERROR),
    ("surrogate in UTF-8", frame(b'"\xed\xa0\x80"'), None, PARSE_ERROR),
    ("deep nesting", frame(b"[" * 100_000), None, PARSE_ERROR),
    ("UTF-16 JSON", frame("{}".encode("utf-16")), None, PARSE_ERROR),
    ("a batch", frame([STATUS, STATUS]), None, INVALID_REQUEST),
    ("an empty batch", frame(b"[]"), None, INVALID_REQUEST),
    ("a string", frame(b'"hello"'), None, INVALID_REQUEST),
    ("null", frame(b"null"), None, INVALID_REQUEST),
    ("an empty object", frame(b"{}"), None, INVALID_REQUEST),
    ("no jsonrpc", frame({"id": "s", "method": "botframework/status"}), "s", INVALID_REQUEST),
    ("jsonrpc 1.0", frame({"jsonrpc": "1.0", "id": "s", "method": "botframework/status"}), "s", INVALID_REQUEST),
    ("id null", body(id=None, method="botframework/status"), None, INVALID_REQUEST),
    ("id true", body(id=True, method="botframework/status"), None, INVALID_REQUEST),
    ("id a float", body(id=1.5, method="botframework/status"), None, INVALID_REQUEST),
    ("id an object", body(id={}, method="botframework/status"), None, INVALID_REQUEST),
    ("id beyond 64 bits", body(id=2**70, method="botframework/status"), None, INVALID_REQUEST),
    ("id of 5,000 digits", frame(b'{"jsonrpc":"2.0","method":"x","id":' + b"1" * 5_000 + b"}"), None, PARSE_ERROR),
    ("method a number", body(id="m", method=5), "m", INVALID_REQUEST),
    ("an id and nothing else", body(id="n"), "n", INVALID_REQUEST),
    ("unknown method", body(id="u", method="no/such"), "u", METHOD_NOT_FOUND),
    ("unknown $/ request", body(id="d", method="$/no/such"), "d", METHOD_NOT_FOUND),
    ("method with a lone surrogate", body(id="l", method="\ud800"), "l", METHOD_NOT_FOUND),
    ("params a number", body(id="p", method="botframework/status", params=5), "p", INVALID_PARAMS),
    ("params a list", body(id="q", method="botframework/chat", params=[1]), "q", INVALID_PARAMS),
    ("params missing", body(id="r", method="textDocument/inlineCompletion"), "r", INVALID_PARAMS),
    (
        "params of a wrong type",
        body(id="t", method="textDocument/inlineCompletion", params={"position": 1}),
        "t",
        INVALID_PARAMS,
    ),
    (
        "deep params",
        frame(b'{"jsonrpc":"2.0","id":"v","method":"botframework/chat","params":' + b'{"a":' * 500 + b"1" + b"}" * 501),
        "v",
        INVALID_PARAMS,
    ),
    (
        "a NaN",
        frame(
            b'{"jsonrpc":"2.0","id":"w","method":"botframework/chat","params":{"messages":[{"role":"user","content":""}],"sampling":{"temperature":NaN}}}'
        ),
        "w",
        INVALID_PARAMS,
    ),
]
"""Check 1: each sentence of the framing rules is a case."""

SILENT = [
    ("an unknown notification", body(method="no/such")),
    ("an unknown $/ notification", body(method="$/no/such", params={"x": 1})),
    ("a cancel of nothing", body(method="$/cancelRequest", params={"id": 12345})),
    ("a cancel without an id", body(method="$/cancelRequest")),
    ("a cancel of an odd id", body(method="$/cancelRequest", params={"id": [1]})),
    ("an answer to no question", body(id=999, result=None)),
    ("an error to no question", body(id="x", error={"code": 1, "message": ""})),
    ("an answer with an odd id", body(id=[1], result=None)),
    (
        "didChange of an unknown document",
        body(
            method="textDocument/didChange",
            params={"textDocument": {"uri": "x", "version": 1}, "contentChanges": [{"text": "a"}]},
        ),
    ),
    ("didOpen without params", body(method="textDocument/didOpen")),
    ("didOpen with a wrong type", body(method="textDocument/didOpen", params={"textDocument": 5})),
]


async def test_corpus(fake: Fake) -> None:
    """Check 1: every malformed message gets exactly the prescribed answer, and the daemon serves on."""
    async with fake() as client:
        await client.initialize()
        for name, data, answer_id, code in CORPUS:
            before, count = len(client.answers[answer_id]), len(client.answers["probe"])
            await client.raw(data + body(id="probe", method="no/such"))
            await client.answer("probe", count=count + 1)
            await client.answer(answer_id, count=before + 1)
            answers = client.answers[answer_id][before:]
            # What is left of a message with a wrong length is one more piece of garbage.
            assert answers, name
            assert [answer.get("error", {}).get("code") for answer in answers][:1] == [code], name
            assert len(answers) == (2 if name == "length too short" else 1), name
            # Whoever can be answered under an id of their own is told the kind of error by its name.
            told = set(answers[0].get("error", {}).get("data", ()))
            assert told >= {"kind", "retryable"} if answer_id is not None and code is not None else not told, name

        assert len(CORPUS) + len(SILENT) >= 36
        assert await client.leave() == 0
        assert client.foreign == b""


async def test_what_gets_no_answer(fake: Fake) -> None:
    """Check 1: notifications and answers are never answered, and do no harm."""
    async with fake() as client:
        await client.initialize()
        for name, data in SILENT:
            before = sum(len(answers) for answers in client.answers.values())
            await client.raw(data)
            await client.request("botframework/status")
            assert sum(len(answers) for answers in client.answers.values()) == before + 1, name

        assert await client.leave() == 0


async def test_malformed_messages_make_no_pop_ups(fake: Fake) -> None:
    """No malformed message is shown to the user: there is no window/showMessage."""
    async with fake() as client:
        await client.initialize()
        for _, data, _, _ in CORPUS:
            await client.raw(data)
        await client.request("botframework/status")

        assert not [m for m in client.messages if m.get("method") == "window/showMessage"]


async def test_random_cuts(fake: Fake) -> None:
    """Check 2: 10,000 messages cut at random 1 to 1,024 bytes get 10,000 answers."""
    chance = random.Random(2)
    stream = b"".join(body(id=number, method="no/such") for number in range(100_000, 110_000))
    async with fake() as client:
        await client.initialize()
        while stream:
            size = chance.choice((chance.randint(1, 10), chance.randint(1, 64), 512, 1_024))
            await client.raw(stream[:size])
            stream = stream[size:]
        await client.until(lambda: len(client.answers) >= 10_001, timeout_s=60)

        assert all(len(client.answers[number]) == 1 for number in range(100_000, 110_000))
        assert await client.leave() == 0


@pytest.mark.parametrize("digits", ["2147483648", "1" + "0" * 14, "1" + "0" * 22, "9" * 5_000])
async def test_huge_content_length(fake: Fake, digits: str) -> None:
    """Check 4: an error, then exit 1 within a second, without memory for what was announced."""
    async with fake() as client:
        await client.initialize()
        await client.request("botframework/status")
        before = peak_rss(client)
        sent_at = time.monotonic()
        await client.raw(b"Content-Length: " + digits.encode() + b"\r\n\r\n")
        answer = await client.answer(None)
        after = peak_rss(client) or before
        code = await client.wait_exit()

        assert answer["error"]["code"] == INVALID_REQUEST
        assert code == 1
        assert time.monotonic() - sent_at <= 1.0
        assert after - before <= 1 << 20


def peak_rss(client: LspClient) -> int:
    """The most memory that the daemon ever held; 0 when it is gone."""
    try:
        status = Path(f"/proc/{client.process.pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


async def fuzz(client: LspClient, seconds: float, seed: int) -> None:
    """Random and mutated frames for a while, with a probe now and then that must be answered within a second."""
    chance = random.Random(seed)
    samples = [data for _, data, _, _ in CORPUS if len(data) < 2_000] + [data for _, data in SILENT]
    samples += [
        frame(
            {
                "jsonrpc": "2.0",
                "id": 7,
                "method": "botframework/chat",
                "params": {"messages": [{"role": "user", "content": "tokens=2"}]},
            }
        ),
        body(
            method="textDocument/didOpen",
            params={"textDocument": {"uri": "u", "languageId": "p", "version": 1, "text": "abc\n"}},
        ),
        body(
            id=8,
            method="textDocument/inlineCompletion",
            params={
                "textDocument": {"uri": "u"},
                "position": {"line": 0, "character": 1},
                "context": {"triggerKind": 1},
            },
        ),
    ]
    end, probes, slowest = time.monotonic() + seconds, 0, 0.0
    while time.monotonic() < end:
        for _ in range(50):
            data = bytearray(chance.choice(samples))
            for _ in range(chance.choice((0, 1, 1, 2, 5))):
                at = chance.randrange(len(data))
                match chance.randrange(4):
                    case 0:
                        data[at] = chance.randrange(256)
                    case 1:
                        del data[at : at + chance.randrange(1, 8)]
                    case 2:
                        data[at:at] = chance.randbytes(chance.randrange(1, 8))
                    case _:
                        data[at:at] = chance.choice(samples)[: chance.randrange(1, 64)]
                data = data or bytearray(b"x")
            if b"shutdown" not in data and b"exit" not in data and not is_fatal(bytes(data)):
                await client.raw(bytes(data))
        probes += 1
        sent_at = time.monotonic()
        # Two frames: garbage before may have announced a body, which the first one fills.
        while not client.answers[f"probe{probes}"]:
            await client.raw(body(id=f"probe{probes}", method="no/such") * 2)
            await asyncio.sleep(0.01)
            assert time.monotonic() - sent_at <= 5.0, "no answer to a probe"
        slowest = max(slowest, time.monotonic() - sent_at)
    assert slowest <= 1.0


def is_fatal(data: bytes) -> bool:
    """Whether a mutation made a length that cannot be filled up soon."""
    return any(
        len(digits) > 4
        for digits in [part.strip()[:8] for part in data.lower().split(b"length:")[1:]]
        if digits[:5].isdigit()
    )


async def test_byte_fuzz(fake: Fake) -> None:
    """Check 3, the short form: no death, no hang over a second."""
    async with fake() as client:
        await client.initialize()
        await fuzz(client, 4.0, seed=3)
        assert await client.leave() == 0


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_byte_fuzz_at_length(fake: Fake) -> None:
    """Check 3: 60 seconds; memory grows by at most 16 MB."""
    async with fake() as client:
        await client.initialize()
        await fuzz(client, 5.0, seed=4)
        before = peak_rss(client)
        await fuzz(client, 60.0, seed=5)

        assert peak_rss(client) - before <= 16 << 20
        assert await client.leave() == 0
