"""A person at an editor for as long as a test likes: types in eight documents, chats, changes their mind. Seeded."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botframework
from support.lsp_client import inline_params

if TYPE_CHECKING:
    import random

    from support.lsp_client import LspClient

N_DOCUMENTS = 8
LARGEST_GROWTH = 4_000
"""Characters; a document that grew by more is closed and opened again as it was: real files do not grow for ever."""
KEY_S = 0.08
"""Mean time between two keys."""
THINKING_S = (0.5, 4.0)
"""A pause between two words: windows are laid anew in it, in the longer ones snapshots are written."""
ANSWER_S = 60.0
MAX_TURNS = 6
"""Of a conversation; then a new one begins."""
CANCELLED = -32_800


def sources(count: int = N_DOCUMENTS) -> list[str]:
    """Real files of several thousand characters, ASCII so that a character is a code unit."""
    package = Path(botframework.__file__).parent
    texts = [path.read_text() for path in sorted(package.rglob("*.py"))]
    return [text for text in texts if text.isascii() and 4_000 < len(text) < 16_000][:count]


class Page:
    """One document in the daemon, with a cursor."""

    def __init__(self, client: LspClient, number: int, text: str) -> None:
        self.client = client
        self.uri = f"file:///page{number}.py"
        self.original = self.text = text
        self.cursor = len(text) // 2
        self._version = 1

    async def open(self) -> None:
        """Show it."""
        self.text, self.cursor, self._version = self.original, len(self.original) // 2, 1
        await self.client.open(self.uri, self.text)

    async def close(self) -> None:
        """Put it away."""
        await self.client.notify("textDocument/didClose", {"textDocument": {"uri": self.uri}})

    async def replace(self, start: int, end: int, text: str, *, behind: str = "") -> None:
        """Put a text in the place of another; the cursor goes behind it, and ``behind`` behind the cursor."""
        area = {"start": self.position(start), "end": self.position(end)}
        self._version += 1
        identifier = {"uri": self.uri, "version": self._version}
        changes = [{"range": area, "text": text + behind}]
        await self.client.notify("textDocument/didChange", {"textDocument": identifier, "contentChanges": changes})
        self.text = self.text[:start] + text + behind + self.text[end:]
        self.cursor = start + len(text)

    def position(self, offset: int) -> dict[str, int]:
        """Line and character of an offset."""
        return {
            "line": self.text.count("\n", 0, offset),
            "character": offset - self.text.rfind("\n", 0, offset) - 1,
        }

    def offset(self, position: dict[str, int]) -> int:
        """And back."""
        start = 0
        for _ in range(position["line"]):
            start = self.text.index("\n", start) + 1
        return start + position["character"]


class MixedLoad:
    """Everything that a person does with the daemon; `work` does it for a while and leaves nothing unanswered."""

    def __init__(self, client: LspClient, chance: random.Random) -> None:
        self.client = client
        self.chance = chance
        texts = sources()
        self.pages = [Page(client, number, text) for number, text in enumerate(texts)]
        self.page = self.pages[0]
        self._typed_from = "".join(texts)
        self._typing_at = 0
        self._posted: list[int | str] = []
        self.done = dict.fromkeys(("keys", "requests", "shown", "accepted", "chats", "cancels", "reopened"), 0)

    async def open(self) -> None:
        """Show all documents."""
        for page in self.pages:
            await page.open()

    async def work(self, seconds: float) -> None:
        """Do it for so long, then wait for what was asked for; each request must have exactly one answer."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._type(until))
            tasks.create_task(self._chat(until))
        for number in self._posted:
            answer = await self.client.answer(number, timeout_s=ANSWER_S)
            assert "result" in answer or answer["error"]["code"] == CANCELLED, answer
        await self.client.request("botframework/sessions/list", timeout_s=ANSWER_S)  # Behind everything else.
        assert all(len(self.client.answers[number]) == 1 for number in self._posted)
        self.done["requests"] += len(self._posted)
        self._posted.clear()
        # A soak must not measure its own memory, and looks only at what comes next.
        self.client.messages.clear()
        self.client.answers.clear()
        self.client.progress.clear()

    async def _type(self, until: float) -> None:
        chance, asked = self.chance, None
        while time.monotonic() < until:
            if asked is not None and chance.random() < 0.5:
                await self._cancel(asked)
            await self._edit()
            asked = None
            if chance.random() < 0.9:
                place = self.page.position(self.page.cursor)
                params = inline_params(self.page.uri, place["line"], place["character"])
                asked = await self._post("textDocument/inlineCompletion", params)
                if chance.random() < 0.15:
                    await self._look_at(asked)
                    asked = None
            if chance.random() < 0.02:
                await self._post("botframework/inspect", {"textDocument": {"uri": self.page.uri}})
            await asyncio.sleep(
                chance.uniform(*THINKING_S) if chance.random() < 0.03 else chance.expovariate(1 / KEY_S)
            )

    async def _edit(self) -> None:
        chance, page = self.chance, self.page
        self.done["keys"] += 1
        kind = chance.choices(["type", "bracket", "delete", "jump", "paste", "switch"], [80, 4, 8, 2, 1, 3])[0]
        if kind == "delete":
            await page.replace(max(0, page.cursor - chance.randint(1, 4)), page.cursor, "")
        elif kind == "jump":
            page.cursor = page.text.find("\n", chance.randrange(len(page.text)))
            page.cursor = len(page.text) if page.cursor < 0 else page.cursor
        elif kind == "paste":
            start = chance.randrange(len(self._typed_from))
            await page.replace(page.cursor, page.cursor, self._typed_from[start : start + 300])
        elif kind == "switch":
            await self._switch()
        elif kind == "bracket":
            await page.replace(page.cursor, page.cursor, "(", behind=")")
        else:
            at, size = self._typing_at, chance.randint(1, 4)
            self._typing_at = (at + size) % len(self._typed_from)
            await page.replace(page.cursor, page.cursor, self._typed_from[at : at + size])

    async def _switch(self) -> None:
        if len(self.page.text) > len(self.page.original) + LARGEST_GROWTH or self.chance.random() < 0.1:
            await self.page.close()
            await self.page.open()
            self.done["reopened"] += 1
        self.page = self.chance.choice(self.pages)
        self._typing_at = self.chance.randrange(len(self._typed_from))

    async def _look_at(self, asked: int | str) -> None:
        """Wait for a suggestion, and perhaps take it."""
        answer = await self.client.answer(asked, timeout_s=ANSWER_S)
        items = answer["result"]["items"] if answer.get("result") else []
        if not items:
            return
        item = items[0]
        self.done["shown"] += 1
        await self.client.notify("textDocument/didShowCompletion", {"item": item})
        if self.chance.random() < 0.5:
            return
        page, area, text = self.page, item["range"], item["insertText"]
        start, end = page.offset(area["start"]), page.offset(area["end"])
        if self.chance.random() < 0.3:  # One word of it.
            taken = text[: max(1, text.find(" ", 1))]
            await page.replace(start, page.cursor, taken)
            length = len(taken)
            await self.client.notify(
                "textDocument/didPartiallyAcceptCompletion", {"item": item, "acceptedLength": length}
            )
        else:
            await page.replace(start, end, text)
            await self._post("workspace/executeCommand", item["command"])
        self.done["accepted"] += 1

    async def _chat(self, until: float) -> None:
        chance, messages, conversation = self.chance, list[dict[str, str]](), 0
        while time.monotonic() < until:
            start = chance.randrange(len(self._typed_from))
            size = chance.choice((40, 200, 1_500))
            messages.append({"role": "user", "content": self._typed_from[start : start + size]})
            params: dict[str, Any] = {
                "messages": messages,
                "session": f"conversation {conversation % 3}",
                "maxTokens": chance.randint(5, 80),
                "sampling": {"temperature": 0.8, "seed": chance.randrange(2**31)},
            }
            if chance.random() < 0.5:
                params["partialResultToken"] = f"chat {self.done['chats']}"
            number = await self._post("botframework/chat", params)
            self.done["chats"] += 1
            if chance.random() < 0.3:
                await asyncio.sleep(chance.expovariate(1 / 0.2))
                await self._cancel(number)
            answer = await self.client.answer(number, timeout_s=ANSWER_S)
            messages.append({"role": "assistant", "content": answer.get("result", {}).get("text") or "…"})
            if len(messages) >= MAX_TURNS:
                messages, conversation = [], conversation + 1
            await asyncio.sleep(chance.expovariate(1 / 0.5))

    async def _post(self, method: str, params: Any) -> int | str:
        number = await self.client.post(method, params)
        self._posted.append(number)
        return number

    async def _cancel(self, number: int | str) -> None:
        self.done["cancels"] += 1
        await self.client.notify("$/cancelRequest", {"id": number})
