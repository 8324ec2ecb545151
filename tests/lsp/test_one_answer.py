"""Every request is answered exactly once, whatever is asked, cancelled and repeated."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support.lsp_client import LspClient, frame, inline_params

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]

URI = "file:///a.py"
SLICE = 200
"""Operations between two looks at what came back, so that the pipes never fill on both sides."""


def operation(chance: random.Random, live: list[int], next_id: int) -> tuple[bytes, int | None]:
    """One random message, and the id that must be answered for it."""
    call: dict[str, Any] = {"jsonrpc": "2.0"}
    kind = chance.randrange(10)
    if kind == 0 and live:
        return frame(call | {"method": "$/cancelRequest", "params": {"id": chance.choice(live[-20:])}}), None
    if kind == 1:  # a cancel before its request
        return frame(call | {"method": "$/cancelRequest", "params": {"id": next_id + chance.randrange(3)}}), None
    if kind == 2:
        text = {"textDocument": {"uri": URI, "version": next_id}, "contentChanges": [{"text": f"tokens={next_id % 3}"}]}
        return frame(call | {"method": "textDocument/didChange", "params": text}), None
    number = chance.choice(live[-5:]) if kind == 3 and live else next_id
    content = chance.choice(("tokens=2", "tokens=3 pause_ms=1", "tokens=2 pause_ms=5", "fail=ServerBusy"))
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
    method, params = chance.choice(
        (
            ("botframework/chat", chat),
            ("botframework/chat", chat | {"partialResultToken": number}),
            ("botframework/chat", {"messages": []}),
            ("botframework/complete", {"prefix": "tokens=1"}),
            ("botframework/status", None),
            ("botframework/sessions/list", {}),
            ("no/such", {}),
            ("textDocument/inlineCompletion", inline_params(URI, 0, 8)),
            ("textDocument/inlineCompletion", inline_params(URI, 0, 8)),
            ("workspace/executeCommand", {"command": "botframework.accepted", "arguments": ["1"]}),
        )
    )
    return frame(call | {"id": number, "method": method, "params": params}), number


async def count_answers(fake: Fake, operations: int, seed: int) -> None:
    """Fire random operations, then compare answers with requests, id by id."""
    chance = random.Random(seed)
    asked: Counter[int] = Counter()
    live: list[int] = []
    async with fake() as client:
        await client.initialize()
        await client.notification("$/botframework/modelReady")
        await client.open(URI, "tokens=2")
        for start in range(0, operations, SLICE):
            data = b""
            for next_id in range(1_000 + start, 1_000 + min(start + SLICE, operations)):
                message, number = operation(chance, live, next_id)
                data += message
                if number is not None:
                    asked[number] += 1
                    live.append(number)
            await client.raw(data)
            await client.request("botframework/status")
            client.messages.clear()
        total = sum(asked.values())
        await client.until(lambda: sum(len(client.answers[number]) for number in asked) >= total, timeout_s=30)
        assert await client.leave() == 0

        assert {number: len(client.answers[number]) for number in asked} == dict(asked)
        assert None not in client.answers


async def test_answers_equal_requests(fake: Fake) -> None:
    """Check 6, the short form: 5,000 random requests, cancels, edits and duplicates."""
    await count_answers(fake, 5_000, seed=6)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_answers_equal_requests_at_length(fake: Fake) -> None:
    """Check 6: 100,000 operations."""
    await count_answers(fake, 100_000, seed=66)


async def test_a_flood_is_answered(fake: Fake) -> None:
    """10,000 requests at once: every one is answered, most with ServerBusy, and memory stays bounded."""
    chat = {"messages": [{"role": "user", "content": "tokens=5 pause_ms=100"}]}
    async with fake() as client:
        await client.initialize()
        await client.notification("$/botframework/modelReady")
        for start in range(0, 10_000, 1_000):
            await client.raw(
                b"".join(
                    frame({"jsonrpc": "2.0", "id": 10_000 + n, "method": "botframework/chat", "params": chat})
                    for n in range(start, start + 1_000)
                )
            )
        await client.until(lambda: len(client.answers) >= 10_001, timeout_s=60)
        kinds = Counter(
            answers[0].get("error", {}).get("data", {}).get("kind")
            for number, answers in client.answers.items()
            if number >= 10_000
        )

        assert all(len(answers) == 1 for answers in client.answers.values())
        assert set(kinds) <= {None, "ServerBusy"}
        assert kinds["ServerBusy"] >= 1
        assert await client.leave() == 0
