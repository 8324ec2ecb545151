"""A graphics card that comes and goes while the real daemon runs, on a machine that is not there."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support import pluggable
from support.fake_machine import GIB
from support.lsp_client import daemon_environment, running_daemon
from support.model_files import split_files
from support.pluggable import PluggableMachine
from support.real_daemon import PATIENCE_S, be_ready, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.lsp_client import LspClient
    from support.real_daemon import Models

HEARTBEAT = "$/botframework/heartbeat"
CARD = "Test Card 200"
VRAM = 200 * GIB
LARGE = 100 * GIB
"""A model for the card and for no other memory of the machine."""


@pytest.fixture
def machine(home: Path) -> PluggableMachine:
    """It has no card yet, and a model that would need one."""
    _, second = split_files(home / "botframework" / "models", "large")
    with second.open("r+b") as file:
        file.truncate(LARGE)
    return PluggableMachine(home / "machine")


@contextlib.asynccontextmanager
async def window(home: Path, machine: PluggableMachine, model: Path) -> AsyncIterator[LspClient]:
    """A daemon on that machine, with its model loaded."""
    command = (sys.executable, pluggable.__file__, str(machine.folder), "--stdio", "--model", str(model))
    env = daemon_environment(home, HOME=str(home))
    async with running_daemon((*command, "--set", "heartbeatS=0.2"), env=env, cwd=home) as client:
        await be_ready(client)
        yield client


async def fits(client: LspClient) -> bool | None:
    """Whether the large model does, as the list says."""
    listed = await client.request("botframework/models/list", timeout_s=PATIENCE_S)
    (entry,) = [entry for entry in listed["models"] if "large" in entry["path"]]
    found: bool | None = entry["fits"]
    return found


async def told(client: LspClient, words: str) -> Any:
    """Wait for a heartbeat whose notice says so."""
    return await client.notification(HEARTBEAT, lambda beat: words in beat["notice"], timeout_s=PATIENCE_S)


async def advice(client: LspClient) -> tuple[list[dict[str, Any]], str]:
    """The cards that the recommendations were made for, and where the first of them would go."""
    answer = await client.request("botframework/models/recommend", {"roles": ["chat"]}, timeout_s=PATIENCE_S)
    return answer["hardware"]["gpus"], answer["recommendations"][0]["placement"]


async def test_a_card_that_comes_and_goes_while_windows_are_open(
    home: Path, machine: PluggableMachine, models: Models
) -> None:
    """Each window hears of it, and its lists and recommendations are those of the machine as it is."""
    async with window(home, machine, models.tiny) as one, window(home, machine, models.tiny) as other:
        assert [await fits(one), await fits(other)] == [False, False]
        assert await advice(one) == ([], "cpu")
        assert ((await status(one))["notice"], (await status(one))["devices"]) == ("", [])

        machine.plug(CARD, VRAM)
        for client in (one, other):
            beat = await told(client, f"new GPU: {CARD}")
            assert [device["name"] for device in beat["devices"]] == [CARD]
            assert await fits(client) is True
        (card,), place = await advice(one)
        assert (card["name"], card["driver"], card["vramTotal"], card["isUsable"]) == (CARD, "999.1", VRAM, True)
        assert place == "gpu"

        machine.pull_out()
        assert await fits(one) is False, "a list is not older than the machine, whether a heartbeat was there or not"
        assert await advice(one) == ([], "cpu")
        for client in (one, other):
            await told(client, f"GPU gone: {CARD}")
            assert (await status(client))["devices"] == []


async def test_the_next_start_finds_the_machine_as_it_was_left(
    home: Path, machine: PluggableMachine, models: Models
) -> None:
    """A card that came between two starts is told by the second, and by no third."""
    async with window(home, machine, models.tiny) as client:
        assert await fits(client) is False
    machine.plug(CARD, VRAM)
    async with window(home, machine, models.tiny) as client:
        await told(client, f"new GPU: {CARD}")
        assert await fits(client) is True
    async with window(home, machine, models.tiny) as client:
        assert await fits(client) is True
        assert (await status(client))["notice"] == ""
