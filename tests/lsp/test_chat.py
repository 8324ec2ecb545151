"""``botframework/chat``: answers, streams, and what the worker is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from botframework import config
from botframework.lsp.chat import chat_request
from botframework.lsp.messages import ChatParams, read_params
from support.lsp_client import LspClient, LspError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]


def asked(raw: dict[str, Any], **settings: Any) -> Any:
    """The worker's request for these parameters."""
    params: ChatParams = read_params({"messages": [{"role": "user", "content": "hi"}]} | raw, ChatParams)
    return chat_request(params, config.Chat(**settings))


def chat(text: str, **more: Any) -> dict[str, Any]:
    """Parameters with one user message."""
    return {"messages": [{"role": "user", "content": text}], **more}


async def ready(client: LspClient) -> None:
    """Initialize and wait for the made-up model."""
    await client.initialize()
    await client.notification("$/botframework/modelReady")


def test_the_settings_stand_in_for_what_is_left_out() -> None:
    """Defaults come from the settings, the client's own values win."""
    request = asked({}, max_tokens=7, temperature=0.1, deadline_ms=5_000, trim=False)
    assert (request.max_tokens, request.sampling.temperature, request.deadline_ms) == (7, 0.1, 5_000)
    assert (request.trim, request.stream, request.session, request.priority) == (False, False, "", "chat")

    request = asked({"maxTokens": 9, "sampling": {"seed": 4}, "trim": True, "partialResultToken": 0}, trim=False)
    assert (request.max_tokens, request.sampling.seed, request.sampling.temperature) == (9, 4, 0.0)
    assert (request.trim, request.stream) == (True, True)


def test_the_system_prompt_of_the_settings() -> None:
    """It is put before a conversation that has none of its own."""
    assert [m.content for m in asked({}, system_prompt="be brief").messages] == ["be brief", "hi"]
    own = {"messages": [{"role": "system", "content": "mine"}, {"role": "user", "content": "hi"}]}
    assert [m.content for m in asked(own, system_prompt="be brief").messages] == ["mine", "hi"]


def test_lone_surrogates_are_replaced() -> None:
    """In messages, stop strings and session names."""
    request = asked(chat("a\ud800", stop=["\udc00"], session="s\ud83d"))
    assert (request.messages[0].content, request.stop, request.session) == ("a\ufffd", ("\ufffd",), "s\ufffd")


async def test_an_answer_at_once(fake: Fake) -> None:
    """Without a token to stream by, the whole text comes with the result."""
    async with fake() as client:
        await ready(client)
        assert await client.request("botframework/chat", chat("tokens=3")) == {
            "text": "0 1 2 ",
            "finishReason": "stop",
            "usage": {"promptTokens": 7, "cachedTokens": 3, "evaluatedTokens": 4, "completionTokens": 3},
            "timings": {"queueMs": 0.0, "firstTokenMs": 1.0, "promptMs": 1.0, "decodeMs": 2.0},
            "droppedMessages": 0,
        }
        assert not client.progress


async def test_a_streamed_answer(fake: Fake) -> None:
    """Tokens come as progress before the result, whose text is empty, with work-done progress around them."""
    async with fake() as client:
        await ready(client)
        params = chat("tokens=50 pause_ms=2", partialResultToken="p", workDoneToken=3)
        result = await client.request("botframework/chat", params)

        assert result["text"] == ""
        assert "".join(value["text"] for value in client.progress["p"]) == "".join(f"{n} " for n in range(50))
        assert client.progress["p"][0]["index"] == 0
        assert {value["kind"] for value in client.progress["p"]} == {"token"}
        assert [value["kind"] for value in client.progress[3]] == ["begin", "end"]
        kinds = [m.get("params", {}).get("value", {}).get("kind", "answer") for m in client.messages[-3:]]
        assert kinds[-1] == "answer"


async def test_two_streams_at_once(fake: Fake) -> None:
    """Streams do not mix."""
    async with fake() as client:
        await ready(client)
        numbers = [
            await client.post("botframework/chat", chat("tokens=100 pause_ms=1", partialResultToken=token))
            for token in ("1", 1, "x")
        ]
        for number in numbers:
            await client.result(number)
        expected = "".join(f"{n} " for n in range(100))
        assert ["".join(v["text"] for v in client.progress[token]) for token in ("1", 1, "x")] == [expected] * 3


async def test_errors_end_the_work_done_progress(fake: Fake) -> None:
    """A request that is cancelled or refused leaves no progress bar behind."""
    async with fake() as client:
        await ready(client)
        number = await client.post("botframework/chat", chat("tokens=1000 pause_ms=20", workDoneToken="w"))
        await client.until(lambda: bool(client.progress["w"]))
        await client.notify("$/cancelRequest", {"id": number})
        with pytest.raises(LspError, match="-32800"):
            await client.result(number)
        assert [value["kind"] for value in client.progress["w"]] == ["begin", "end"]


async def test_the_work_done_progress_can_be_cancelled(fake: Fake) -> None:
    """The button beside a progress cancels its request as $/cancelRequest does, and no other."""
    async with fake() as client:
        await ready(client)
        params = chat("tokens=1000 pause_ms=20", partialResultToken="p")
        numbers = [await client.post("botframework/chat", params | {"workDoneToken": token}) for token in ("w", 7)]
        await client.until(lambda: bool(client.progress["w"] and client.progress[7]))
        assert client.progress["w"][0]["cancellable"] is True
        for token in ("unknown", 7):
            await client.notify("window/workDoneProgress/cancel", {"token": token})
        with pytest.raises(LspError, match="-32800"):
            await client.result(numbers[1])
        assert [value["kind"] for value in client.progress[7]] == ["begin", "end"]
        assert client.answers[numbers[0]] == []
        await client.notify("window/workDoneProgress/cancel", {"token": 7})
        await client.notify("window/workDoneProgress/cancel", {"token": "w"})
        with pytest.raises(LspError, match="-32800"):
            await client.result(numbers[0])


async def test_while_the_model_loads(fake: Fake) -> None:
    """A clear, retryable error with its own code."""
    async with fake(load_ms=60_000) as client:
        await client.initialize()
        with pytest.raises(LspError) as error:
            await client.request("botframework/chat", chat("hi"))
        assert error.value.code == -33105
        assert error.value.data == {"kind": "ModelLoading", "retryable": True, "fraction": 0.5}
