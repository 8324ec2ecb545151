"""What the editor hears without asking."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from botframework.lsp.pulse import Tally, server_status
from botframework.manager.status import Problem, Snapshot, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import pytest

    from support.lsp_client import LspClient

    Fake = Callable[..., AbstractAsyncContextManager[LspClient]]

HEARTBEAT, READY, STATUS = "$/botframework/heartbeat", "$/botframework/modelReady", "experimental/serverStatus"
PROGRESS_CAPABILITY = {"window": {"workDoneProgress": True}}


def heard(client: LspClient, method: str) -> list[Any]:
    """The parameters of every notification of that method."""
    return [message["params"] for message in client.messages if message.get("method") == method]


async def beats(client: LspClient, more: int) -> None:
    """Wait for that many heartbeats from now on."""
    count = len(heard(client, HEARTBEAT))
    await client.until(lambda: len(heard(client, HEARTBEAT)) >= count + more)


async def test_heartbeats_tell_every_change(fake: Fake) -> None:
    """Loading and ready are told at once, although the heart beats every minute."""
    async with fake("--set", "heartbeatS=60", load_ms=400) as client:
        await client.initialize()
        await client.notification(HEARTBEAT, lambda params: params["state"] == "ready")
        assert [params["state"] for params in heard(client, HEARTBEAT)][-2:] == ["loading", "ready"]
        assert len(heard(client, READY)) == 1
        msgspec.convert(heard(client, HEARTBEAT)[-1], Snapshot)


async def test_heartbeats_come_without_any_change(fake: Fake) -> None:
    """Every heartbeat_s seconds, whatever happens."""
    async with fake("--set", "heartbeatS=0.2") as client:
        await client.initialize()
        await client.notification(READY)
        count, since = len(heard(client, HEARTBEAT)), time.monotonic()
        await client.until(lambda: len(heard(client, HEARTBEAT)) >= count + 5)
        assert time.monotonic() - since >= 0.5


async def test_heartbeats_tell_when_an_answer_begins_and_ends(fake: Fake) -> None:
    """A status bar can show that the model is at work, and how fast it was, without waiting for the next beat."""
    async with fake("--set", "heartbeatS=60") as client:
        await client.initialize()
        await client.notification(READY)
        await client.notification(HEARTBEAT, lambda beat: beat["state"] == "ready")
        before = len(heard(client, HEARTBEAT))
        message = {"role": "user", "content": "tokens=20 pause_ms=20"}
        number = await client.post("botframework/chat", {"messages": [message]})
        await client.until(lambda: len(heard(client, HEARTBEAT)) == before + 1)
        assert client.answers[number] == []
        # The last one may come before the answer or after it.
        await client.until(lambda: len(heard(client, HEARTBEAT)) == before + 2 and bool(client.answers[number]))


async def test_server_status_only_for_those_who_asked(fake: Fake) -> None:
    """Clients that did not declare it never see it; the others see each change once."""
    for capability in (True, False):
        async with fake("--set", "heartbeatS=0.1", load_ms=300) as client:
            await client.initialize({"experimental": {"serverStatusNotification": True}} if capability else {})
            await client.notification(READY)
            await beats(client, 3)
            told = [(params["health"], params["quiescent"]) for params in heard(client, STATUS)]
            assert told[-1:] == ([("ok", True)] if capability else [])
            assert len(told) == len(set(map(str, heard(client, STATUS))))


async def test_loading_is_shown_as_work_done_progress(fake: Fake) -> None:
    """begin, reports, end: for clients that support it, after they were asked for the token."""
    async with fake(load_ms=500) as client:
        await client.initialize(PROGRESS_CAPABILITY)
        await client.notification(READY)
        ((token, values),) = client.progress.items()

        assert [
            m["params"]["token"] for m in client.messages if m.get("method") == "window/workDoneProgress/create"
        ] == [token]
        assert [value["kind"] for value in values][:1] + [value["kind"] for value in values][-1:] == ["begin", "end"]
        assert "%" not in values[0]["title"]
        percentages = [value["percentage"] for value in values[:-1]]
        assert percentages == sorted(percentages)


async def test_no_progress_for_those_who_cannot(fake: Fake) -> None:
    """A client without the capability is not asked."""
    async with fake(load_ms=200) as client:
        await client.initialize()
        await client.notification(READY)
        assert not client.progress
        assert not [m for m in client.messages if "id" in m and "method" in m]


async def test_a_client_that_never_answers(fake: Fake) -> None:
    """Requests to the client that stay unanswered hang nothing."""
    async with fake(load_ms=500) as client:
        client.silent = True
        await client.initialize(PROGRESS_CAPABILITY | {"workspace": {"configuration": True}})
        await client.notification(READY)
        await client.open("file:///a", "text=x")
        assert (await client.result(await client.inline("file:///a", 0, 9)))["items"]
        assert not client.progress
        assert await client.leave() == 0


def test_the_words_for_each_state() -> None:
    """Health and quiescence follow the state; the reason of an error is told."""
    problem = Problem(kind="ModelCorrupt", message="bad file")
    states: tuple[State, ...] = ("ready", "loading", "restarting", "error")
    told = {state: server_status(Snapshot(state=state, model_name="m", error=problem)) for state in states}
    assert {state: (status.health, status.quiescent) for state, status in told.items()} == {
        "ready": ("ok", True),
        "loading": ("ok", False),
        "restarting": ("warning", False),
        "error": ("error", True),
    }
    assert told["error"].message == "bad file"


def test_the_tally_begins_anew_at_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown and accepted are today's."""
    day = time.struct_time((2026, 1, 1, 0, 0, 0, 0, 1, 0))
    monkeypatch.setattr(time, "localtime", lambda: day)
    tally = Tally()
    tally.count_shown()
    tally.count_accepted()
    assert tally.fill(Snapshot(state="ready")).suggestions_accepted_today == 1

    day = time.struct_time((2026, 1, 2, 0, 0, 0, 0, 2, 0))
    filled = tally.fill(Snapshot(state="ready"))
    assert (filled.suggestions_shown_today, filled.suggestions_accepted_today) == (0, 0)
