"""From spawn to exit: which message may come when, and how the process ends."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.lsp_client import LspClient, LspError, frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]
    Journal = Callable[[], list[dict[str, Any]]]

NOT_INITIALIZED, INVALID_REQUEST, CANCELLED, SERVER_CANCELLED = -32002, -32600, -32800, -32802
SLOW_CHAT = {"messages": [{"role": "user", "content": "tokens=100000 pause_ms=20"}], "partialResultToken": "slow"}
QUICK_CHAT = {"messages": [{"role": "user", "content": "tokens=1"}]}


async def code_of(client: LspClient, method: str, params: Any = None) -> int:
    """The error code of a request."""
    with pytest.raises(LspError) as error:
        await client.request(method, params)
    return error.value.code


async def ready(client: LspClient, capabilities: dict[str, Any] | None = None) -> None:
    """Initialize and wait for the made-up model."""
    await client.initialize(capabilities)
    await client.notification("$/botframework/modelReady")


async def test_requests_before_initialize(fake: Fake) -> None:
    """Check 5: before initialize every other request is -32002, and notifications are dropped."""
    async with fake() as client:
        await client.open("file:///a", "x")
        assert await code_of(client, "botframework/status") == NOT_INITIALIZED
        assert await code_of(client, "shutdown") == NOT_INITIALIZED
        assert await code_of(client, "no/such") == NOT_INITIALIZED
        await client.initialize()
        assert await client.leave() == 0


async def test_initialize_twice(fake: Fake) -> None:
    """Check 5: a second initialize is -32600 and changes nothing."""
    async with fake() as client:
        await client.initialize()
        assert await code_of(client, "initialize", {"processId": None, "rootUri": None, "capabilities": {}}) == -32600
        assert (await client.request("botframework/status"))["modelName"] == "fake"
        assert await client.leave() == 0


async def test_initialize_with_wrong_params_can_be_repeated(fake: Fake) -> None:
    """An initialize that could not be read was none."""
    async with fake() as client:
        assert await code_of(client, "initialize", {"capabilities": 5}) == -32602
        assert await code_of(client, "botframework/status") == NOT_INITIALIZED
        await client.initialize()
        assert await client.leave() == 0


async def test_requests_after_shutdown(fake: Fake) -> None:
    """Check 5: after shutdown every request is -32600, a second shutdown and an initialize too; exit is 0."""
    async with fake() as client:
        await client.initialize()
        await client.request("shutdown")
        for method in ("botframework/status", "shutdown", "initialize", "no/such"):
            assert await code_of(client, method, {}) == INVALID_REQUEST
        await client.notify("exit")
        assert await client.wait_exit() == 0


@pytest.mark.parametrize("initialize", [True, False])
async def test_exit_without_shutdown(fake: Fake, *, initialize: bool) -> None:
    """Check 5: exit without shutdown is exit code 1, before and after initialize."""
    async with fake() as client:
        if initialize:
            await client.initialize()
        await client.notify("exit")
        assert await client.wait_exit() == 1


async def test_the_whole_session_in_one_write(fake: Fake) -> None:
    """A client may write everything at once; each request is answered before the process leaves."""
    params: dict[str, Any] = {"processId": None, "rootUri": None, "capabilities": {}}
    async with fake() as client:
        await client.raw(
            frame({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
            + frame({"jsonrpc": "2.0", "method": "initialized", "params": {}})
            + frame({"jsonrpc": "2.0", "id": 2, "method": "botframework/status"})
            + frame({"jsonrpc": "2.0", "id": 3, "method": "shutdown"})
            + frame({"jsonrpc": "2.0", "method": "exit"})
        )
        assert await client.wait_exit() == 0
        await client.until(lambda: len(client.answers) == 3)
        assert [len(client.answers[number]) for number in (1, 2, 3)] == [1, 1, 1]


async def test_nothing_is_sent_before_initialize_is_answered(fake: Fake) -> None:
    """The first message of the daemon is the answer to initialize."""
    async with fake() as client:
        await ready(client)
        assert client.messages[0]["id"] == 1
        assert await client.leave() == 0


async def test_duplicate_ids(fake: Fake) -> None:
    """A second request under an id that is in flight is -32600; the first goes on, and the id is free after it."""
    async with fake() as client:
        await ready(client)
        await client.post("botframework/chat", SLOW_CHAT, request_id="same")
        await client.post("botframework/chat", QUICK_CHAT, request_id="same")
        assert (await client.answer("same"))["error"]["code"] == INVALID_REQUEST
        await client.notify("$/cancelRequest", {"id": "same"})
        assert (await client.answer("same", count=2))["error"]["code"] == CANCELLED
        await client.post("botframework/chat", QUICK_CHAT, request_id="same")
        assert "result" in await client.answer("same", count=3)
        assert await client.leave() == 0


async def test_ids_of_different_types_are_different(fake: Fake) -> None:
    """1 and "1" are two ids."""
    async with fake() as client:
        await ready(client)
        await client.post("botframework/chat", SLOW_CHAT, request_id=77)
        await client.post("botframework/chat", QUICK_CHAT, request_id="77")
        assert "result" in await client.answer("77")
        assert client.answers[77] == []
        await client.notify("$/cancelRequest", {"id": "77"})
        await client.request("botframework/status")
        assert client.answers[77] == []
        assert await client.leave() == 0


async def test_cancel(fake: Fake, journal: Journal) -> None:
    """A cancelled request is answered -32800, once, and its generation is stopped."""
    async with fake() as client:
        await ready(client)
        number = await client.post("botframework/chat", SLOW_CHAT)
        await client.until(lambda: bool(client.progress["slow"]))
        await client.notify("$/cancelRequest", {"id": number})
        assert (await client.answer(number))["error"]["code"] == CANCELLED
        assert [entry["event"] for entry in journal()][-1] == "cancel"
        assert await client.leave() == 0
        assert len(client.answers[number]) == 1


async def test_cancel_that_comes_before_its_request(fake: Fake, journal: Journal) -> None:
    """Clients may reorder their queues: the request that follows its own cancel is answered -32800 and not begun."""
    async with fake() as client:
        await ready(client)
        await client.notify("$/cancelRequest", {"id": "early"})
        await client.post("botframework/chat", QUICK_CHAT, request_id="early")
        assert (await client.answer("early"))["error"]["code"] == CANCELLED
        assert "request" not in [entry["event"] for entry in journal()]
        assert await client.leave() == 0


async def test_a_cancel_in_the_same_write_leaves_nothing_behind(fake: Fake, journal: Journal) -> None:
    """A request that is cancelled before it could begin does not begin, and none goes on unheard."""
    async with fake() as client:
        await ready(client)
        data = b""
        for number in range(100, 120):
            data += frame({"jsonrpc": "2.0", "id": number, "method": "botframework/chat", "params": SLOW_CHAT})
            data += frame({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}})
        await client.raw(data)
        assert {(await client.answer(number))["error"]["code"] for number in range(100, 120)} == {CANCELLED}
        events = [entry["event"] for entry in journal()]
        assert events.count("request") == events.count("cancel")
        assert await client.leave() == 0


async def test_early_cancels_are_forgotten(fake: Fake) -> None:
    """After a second an early cancel means nothing any more."""
    async with fake() as client:
        await ready(client)
        sent_at = time.monotonic()
        await client.notify("$/cancelRequest", {"id": "late"})
        # The heartbeat is the clock: nothing else happens in this second.
        beats = len(client.messages)
        await client.until(lambda: len(client.messages) > beats and time.monotonic() - sent_at > 1.1)
        await client.post("botframework/chat", QUICK_CHAT, request_id="late")
        assert "result" in await client.answer("late")
        assert await client.leave() == 0


async def test_shutdown_answers_what_is_under_way(fake: Fake) -> None:
    """Requests that a shutdown interrupts are answered before it, and not with the client's own code."""
    async with fake() as client:
        await ready(client)
        await client.open("file:///a", "tokens=1000 pause_ms=50")
        numbers = [await client.post("botframework/chat", SLOW_CHAT) for _ in range(3)]
        inline = await client.inline("file:///a", 0, 99)
        await client.until(lambda: bool(client.progress["slow"]))
        assert await client.leave() == 0

        order = [message["id"] for message in client.messages if "id" in message and "method" not in message]
        assert sorted(map(str, order[-5:-1])) == sorted(map(str, [*numbers, inline]))
        assert {client.answers[number][0]["error"]["code"] for number in numbers} == {SERVER_CANCELLED}


async def test_end_of_file_ends_the_process(fake: Fake) -> None:
    """Stdin's end is the client's end: gone within 200 ms, exit code 1 without a shutdown."""
    async with fake() as client:
        await ready(client)
        await client.post("botframework/chat", SLOW_CHAT)
        closed_at = time.monotonic()
        client.close_stdin()
        assert await client.wait_exit() == 1
        assert time.monotonic() - closed_at <= 0.2


async def test_end_of_file_while_the_loop_is_stuck(fake: Fake, journal: Journal) -> None:
    """The reading thread ends the process when the event loop cannot."""
    async with fake() as client:
        await ready(client)
        await client.post("botframework/chat", {"messages": [{"role": "user", "content": "stick=30"}]})
        await client.until_journal(lambda: any(entry["event"] == "request" for entry in journal()))
        closed_at = time.monotonic()
        client.close_stdin()
        assert await client.wait_exit() == 1
        assert time.monotonic() - closed_at <= 0.3


async def test_end_of_file_after_shutdown_is_a_good_end(fake: Fake) -> None:
    """A client that closes the pipe instead of saying exit still gets 0 after shutdown."""
    async with fake() as client:
        await ready(client)
        await client.request("shutdown")
        client.close_stdin()
        assert await client.wait_exit() == 0


async def test_last_resort(fake: Fake) -> None:
    """Check 18: a stop that never returns is ended 3 s after shutdown."""
    async with fake(stick_in_shutdown=True) as client:
        await ready(client)
        sent_at = time.monotonic()
        await client.post("shutdown")
        await client.notify("exit")
        assert await client.wait_exit() != 0
        assert time.monotonic() - sent_at <= 3.5


async def test_last_resort_with_a_handler_that_never_returns(fake: Fake, journal: Journal) -> None:
    """Check 18: a loop that is stuck before it could see the shutdown is ended 3 s after it all the same."""
    async with fake() as client:
        await ready(client)
        await client.post("botframework/chat", {"messages": [{"role": "user", "content": "stick=60"}]})
        await client.until_journal(lambda: any(entry["event"] == "request" for entry in journal()))
        sent_at = time.monotonic()
        await client.post("shutdown")
        assert await client.wait_exit() != 0
        assert time.monotonic() - sent_at <= 3.5


async def test_a_refused_shutdown_does_not_end_the_process(fake: Fake) -> None:
    """Shutdown before initialize is an error, and arms nothing."""
    async with fake() as client:
        sent_at = time.monotonic()
        assert await code_of(client, "shutdown") == NOT_INITIALIZED
        await ready(client)
        beats = len(client.messages)
        await client.until(lambda: len(client.messages) > beats + 1 and time.monotonic() - sent_at > 3.6)
        assert await client.leave() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_end_in_good_order(fake: Fake, journal: Journal, number: signal.Signals) -> None:
    """A signal stops the router and ends the process within 1.8 s."""
    async with fake(stop_s=0.3) as client:
        await ready(client)
        sent_at = time.monotonic()
        os.kill(client.process.pid, number)
        assert await client.wait_exit() == 1
        assert time.monotonic() - sent_at <= 1.8
        assert journal()[-1]["event"] == "stop"


async def test_a_signal_ends_a_stuck_process(fake: Fake) -> None:
    """A router that does not stop cannot hold the process longer than 1.8 s after a signal."""
    async with fake(stick_in_shutdown=True) as client:
        await ready(client)
        sent_at = time.monotonic()
        os.kill(client.process.pid, signal.SIGTERM)
        assert await client.wait_exit() != 0
        assert time.monotonic() - sent_at <= 2.2


async def test_the_router_is_stopped_once_asked(fake: Fake, journal: Journal) -> None:
    """Shutdown lets go of the worker at once, before exit comes."""
    async with fake() as client:
        await ready(client)
        await client.request("shutdown")
        await client.until_journal(lambda: any(entry["event"] == "stop" for entry in journal()))
        await client.notify("exit")
        assert await client.wait_exit() == 0
        assert json.dumps(journal()).count('"stop"') >= 1
