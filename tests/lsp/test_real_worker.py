"""The LSP door on a real worker: what only real computing can show."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.gguf_factory import tiny_llama
from support.lsp_client import (
    DAEMON,
    LspClient,
    LspError,
    daemon_environment,
    frame,
    inline_params,
    running_daemon,
)
from support.real_daemon import Models, ready_daemon, status

if TYPE_CHECKING:
    from pathlib import Path

LONG_CHAT = {
    "messages": [{"role": "user", "content": "hello"}],
    "maxTokens": 4_000,
    "sampling": {"temperature": 1.0, "seed": 1},
    "partialResultToken": "chat",
}
URI = "file:///real.py"
CODE = '''"""Points and what can be done with them."""


class Point:
    """A point in the plane."""

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)

    def __sub__(self, other):
        return Point(self.x - other.x, self.y - other.y)

    def __mul__(self, factor):
        '''


class Writer:
    """One document in a real daemon, and a cursor at its end."""

    def __init__(self, client: LspClient, uri: str = URI) -> None:
        self.client = client
        self.uri = uri
        self.text = ""
        self.version = 1

    async def open(self, text: str) -> None:
        """Show it."""
        self.text = text
        await self.client.open(self.uri, text)

    def position(self) -> tuple[int, int]:
        """The end of the text, which is ASCII."""
        return self.text.count("\n"), len(self.text.rpartition("\n")[2])

    async def type(self, text: str, *, over: int = 0) -> None:
        """Write at the end, or delete there first."""
        end = self.position()
        self.text = self.text[: max(0, len(self.text) - over)]
        start = self.position()
        self.version += 1
        area = {name: {"line": at[0], "character": at[1]} for name, at in (("start", start), ("end", end))}
        change = {"range": area, "text": text}
        identifier = {"uri": self.uri, "version": self.version}
        await self.client.notify("textDocument/didChange", {"textDocument": identifier, "contentChanges": [change]})
        self.text += text

    async def ask(self, kind: int = 2) -> int | str:
        """Ask at the end; the request's id."""
        params = inline_params(self.uri, *self.position()) | {"context": {"triggerKind": kind}}
        return await self.client.post("textDocument/inlineCompletion", params)

    async def ghost(self) -> str | None:
        """Ask and wait for the suggestion."""
        items = (await self.client.result(await self.ask(), timeout_s=60))["items"]
        return items[0]["insertText"] if items else None

    async def inspected(self) -> Any:
        """How it was asked."""
        return await self.client.request("botframework/inspect", {"textDocument": {"uri": self.uri}})


async def test_typing_costs_what_is_new(tmp_path: Path) -> None:
    """A key is read before anybody asks; its request reads no more, and one that was foreseen asks no model at all."""
    async with ready_daemon(tmp_path, None, "--set", "completion.prefetch=false") as client:
        writer = Writer(client)
        await writer.open(CODE)
        assert await writer.ghost()
        before = await status(client)
        await writer.type("z")
        await _read_more_than(client, before["promptTokensRead"])
        read = (await status(client))["promptTokensRead"]
        await writer.ghost()

        assert (await status(client))["promptTokensRead"] == read
        assert (await writer.inspected())["middle"].endswith("z")
        shown = await writer.ghost() or ""
        generated = (await status(client))["tokensGenerated"]
        assert len(shown) > 3
        await writer.type(shown[0])
        assert await writer.ghost() == shown[1:]
        assert (await writer.inspected())["source"] == "cached"
        assert (await status(client))["tokensGenerated"] == generated


async def _read_more_than(client: LspClient, tokens: int) -> None:
    deadline = time.monotonic() + 20
    while (await status(client))["promptTokensRead"] <= tokens:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_the_next_suggestion_is_computed_while_one_is_read(tmp_path: Path) -> None:
    """After a suggestion was shown and accepted the next one needs no model call."""
    async with ready_daemon(tmp_path) as client:
        writer = Writer(client)
        await writer.open(CODE)
        shown = await writer.ghost()
        assert shown
        background = (await status(client))["tokensGenerated"]
        deadline = time.monotonic() + 20
        # To its end: a generation that has not said a word yet is not joined but asked again.
        while (now := await status(client))["tokensGenerated"] == background or now["running"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await writer.type(shown)
        await writer.ghost()

        assert (await writer.inspected())["source"] == "prefetched"
        now = await status(client)
        assert (now["suggestionsAcceptedToday"], now["suggestionsShownToday"] >= 1) == (1, True)


async def test_closing_everything_at_once_frees_every_session(tmp_path: Path) -> None:
    """An editor that closes a hundred tabs says so in one breath; one that is opened again keeps its session."""
    model = tiny_llama(tmp_path / "tiny.gguf", n_ctx_train=8_192)
    options = ("--set", "sessions.snapshots=false", "--set", "completion.prefetch=false")
    async with ready_daemon(tmp_path, model, *options) as client:
        writers = [Writer(client, f"file:///{number}.py") for number in range(100)]
        for writer in writers:
            await writer.open(CODE)
            await writer.ghost()
        before = (await client.request("botframework/sessions/list"))["sessions"]
        await client.raw(
            b"".join(
                frame({"jsonrpc": "2.0", "method": "textDocument/didClose", "params": document})
                for document in ({"textDocument": {"uri": writer.uri}} for writer in writers)
            )
        )
        await writers[-1].open(CODE)
        deadline = time.monotonic() + 20
        while len(left := (await client.request("botframework/sessions/list"))["sessions"]) > 1:
            assert time.monotonic() < deadline, len(left)
            await asyncio.sleep(0.02)

        assert len(before) == 100
        assert [session["session"] for session in left] == [writers[-1].uri]


async def test_a_burst_of_keys_is_answered(tmp_path: Path) -> None:
    """A macro writes a hundred characters faster than anything can be read ahead; its last request is answered."""
    options = ("--set", "completion.prefetch=false", "--set", "completion.maxTokens=8")
    async with ready_daemon(tmp_path, Models(tmp_path).slow, *options) as client:
        writer = Writer(client)
        await writer.open(CODE)
        await writer.ghost()
        for _ in range(4):
            burst = Recorder()
            typist = Writer(burst, writer.uri)  # type: ignore[arg-type]
            typist.text, typist.version = writer.text, writer.version
            for key in "Point(self.x * factor, y)\n" * 4:
                await typist.type(key)
            await client.raw(burst.sent)
            writer.text, writer.version = typist.text, typist.version
            await writer.ghost()
            told = await writer.inspected()
            assert (told["detail"], told["source"]) == ("", "model")


class Recorder:
    """A client that keeps what it would send."""

    def __init__(self) -> None:
        self.sent = b""

    async def notify(self, method: str, params: Any) -> None:
        """Keep a notification."""
        self.sent += frame({"jsonrpc": "2.0", "method": method, "params": params})


class Storm:
    """Everything that clients do, in any order, in six documents of one daemon."""

    def __init__(self, client: LspClient, seed: int) -> None:
        self.client = client
        self.chance = random.Random(seed)
        self.writers = [Writer(client, f"file:///{number}.py") for number in range(6)]
        self.opened: set[str] = set()
        self.asked: list[int | str] = []
        self.cancelled: set[int | str] = set()
        self.writer = self.writers[0]

    async def step(self) -> None:
        """One thing."""
        if self.writer.uri not in self.opened or self.chance.random() < 0.05:
            await self.switch()
        todo = (self.key, self.paste, self.delete, self.ask, self.cancel, self.close)
        await self.chance.choices(todo, weights=(45, 5, 10, 30, 7, 3))[0]()
        if self.chance.random() < 0.1:
            await asyncio.sleep(self.chance.random() * 0.05)
        if len(self.asked) % 50 == 49:
            await self.client.answer(self.asked[-1], timeout_s=60)

    async def switch(self) -> None:
        """Go to another document."""
        self.writer = self.chance.choice(self.writers)
        if self.writer.uri not in self.opened:
            self.opened.add(self.writer.uri)
            await self.writer.open("def f(x):\n    return x\n" * self.chance.randrange(1, 40))

    async def key(self) -> None:
        """Type."""
        await self.writer.type(self.chance.choice(["a", "(", "\n", "    ", "self.x", "foo = bar(", "\n\nx", "ret"]))

    async def paste(self) -> None:
        """Insert a page."""
        await self.writer.type("pasted = lines()\n" * 60)

    async def delete(self) -> None:
        """Delete a little or much."""
        await self.writer.type("", over=self.chance.choice([1, 1, 4, 200]))

    async def ask(self) -> None:
        """Ask for ghost text."""
        self.asked.append(await self.writer.ask(self.chance.choice([1, 2, 2, 2])))

    async def cancel(self) -> None:
        """Take the last question back, perhaps after its answer."""
        for number in self.asked[-1:]:
            await self.client.notify("$/cancelRequest", {"id": number})
            self.cancelled.add(number)

    async def close(self) -> None:
        """Close the document, whatever is under way."""
        await self.client.notify("textDocument/didClose", {"textDocument": {"uri": self.writer.uri}})
        self.opened.discard(self.writer.uri)

    async def end(self) -> None:
        """Close everything and wait for every answer and for silence."""
        for number in self.asked:
            answer = await self.client.answer(number, timeout_s=60)
            assert "result" in answer or (answer["error"]["code"] == -32800 and number in self.cancelled)
        for uri in self.opened:
            await self.client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
        deadline = time.monotonic() + 30
        while (now := await status(self.client))["kvTokens"] or now["queued"] or now["running"]:
            assert time.monotonic() < deadline, now
            await asyncio.sleep(0.02)


async def storm(tmp_path: Path, operations: int) -> None:
    """Every request is answered once, nothing is an error, and nothing is left over."""
    model = tiny_llama(tmp_path / "tiny.gguf", n_ctx_train=8_192)
    async with ready_daemon(tmp_path, model, "--set", "completion.maxTokens=12") as client:
        made = Storm(client, seed=20)
        for _ in range(operations):
            await made.step()
        await made.end()
        left = (await client.request("botframework/sessions/list"))["sessions"]

        assert len(made.asked) > operations // 5
        assert all(len(client.answers[number]) == 1 for number in made.asked)
        assert [session for session in left if session["where"] != "disk"] == []
        assert (await status(client))["state"] == "ready"
        assert b"Traceback" not in client.stderr
        assert await client.leave() == 0


async def test_a_storm_of_everything(tmp_path: Path) -> None:
    """Typing, pasting, asking, cancelling, closing among six documents: right answers, and no cell is left taken."""
    await storm(tmp_path, operations=600)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
async def test_a_storm_of_everything_at_length(tmp_path: Path) -> None:
    """The same with 10,000 operations."""
    await storm(tmp_path, operations=10_000)


async def cancel_latency(runtime_dir: Path, tmp_path: Path, runs: int) -> list[float]:
    """Cancel a chat in the middle of its answer, again and again; the seconds until the answer to the id."""
    model = tiny_llama(tmp_path / "tiny.gguf", n_ctx_train=8_192)
    delays = []
    async with running_daemon((*DAEMON, "--model", str(model)), env=daemon_environment(runtime_dir)) as client:
        await client.initialize()
        await client.notification("$/botframework/modelReady", timeout_s=60)
        for _ in range(runs):
            client.progress.clear()
            number = await client.post("botframework/chat", LONG_CHAT)
            await client.until(lambda: len(client.progress["chat"]) >= 2)
            sent_at = time.monotonic()
            await client.notify("$/cancelRequest", {"id": number})
            with pytest.raises(LspError, match="-32800"):
                await client.result(number)
            delays.append(time.monotonic() - sent_at)
        assert await client.leave() == 0
    return sorted(delays)


async def test_cancel_latency(runtime_dir: Path, tmp_path: Path) -> None:
    """Check 7, the short form: half of the cancels in the middle of an answer take effect within 50 ms.

    The 99th percentile is the promise on a quiet machine; other tests run beside this one.
    """
    delays = await cancel_latency(runtime_dir, tmp_path, runs=25)
    assert delays[len(delays) // 2] <= 0.05


@pytest.mark.soak
async def test_cancel_latency_at_length(runtime_dir: Path, tmp_path: Path) -> None:
    """Check 7: 200 runs, 99 % of them within 50 ms and a decode step."""
    delays = await cancel_latency(runtime_dir, tmp_path, runs=200)
    assert delays[round(len(delays) * 0.99) - 1] <= 0.06
