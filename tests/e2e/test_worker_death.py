"""A worker that dies, one that hangs, model files that cannot be loaded: what the editor is told, and what goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.gguf_factory import tiny_llama
from support.lsp_client import LspError
from support.processes import family
from support.real_daemon import (
    GREEDY,
    HELLO,
    PATIENCE_S,
    daemon,
    ready_daemon,
    start_chat,
    state,
    status,
    streaming,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lsp_client import LspClient
    from support.real_daemon import Models

ERROR_S = 0.1
RECOVERY_S = 1.0
"""Beyond the time of a load."""
RUNS = 2


def worker_starts(home: Path) -> int:
    """Workers that were ever started in this folder, as the daemons' common ledger counts them."""
    return sum(len(json.loads(path.read_text())["starts"]) for path in home.glob("*.json"))


async def readiness(client: LspClient, count: int) -> float:
    """Wait for the model to be ready for the ``count``-th time; when that was."""
    method = "$/botframework/modelReady"
    await client.until(lambda: sum(m.get("method") == method for m in client.messages) >= count, timeout_s=PATIENCE_S)
    return time.monotonic()


async def test_worker_dies_in_the_middle_of_an_answer(home: Path, models: Models) -> None:
    """Check 20: 100 ms after the worker's SIGSEGV the request has its error, one load plus a second later all is well.

    The better one of two daemons counts for both times: they are about this program, not about the machine's load.
    """
    errors, recoveries = [], []
    for _ in range(RUNS):
        async with daemon(home, models.slow) as client:
            await client.initialize()
            await client.notification("$/botframework/heartbeat", lambda beat: beat["state"] == "starting")
            began = time.monotonic()
            load_s = await readiness(client, 1) - began
            first = await status(client)
            number = await start_chat(client, "chat")
            await streaming(client, "chat", 3)
            os.kill(first["workerPid"], signal.SIGSEGV)
            began = time.monotonic()
            answer = await client.answer(number)
            errors.append(time.monotonic() - began)
            recoveries.append(await readiness(client, 2) - began - load_s)
            after = await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 3})
            second = await status(client)

        assert answer["error"]["data"]["kind"] == "WorkerCrashed"
        assert answer["error"]["data"]["retryable"] is True
        assert after["usage"]["completionTokens"] == 3
        assert second["workerPid"] != first["workerPid"]
        for path in home.glob("*.json"):
            path.unlink()  # the second daemon starts with a clean record

    assert min(errors) <= ERROR_S, errors
    assert min(recoveries) <= RECOVERY_S, recoveries


async def test_every_waiting_request_is_answered_when_the_worker_dies(home: Path, models: Models) -> None:
    """Whatever waits for a worker that is killed gets exactly one answer, and so does what comes right after."""
    async with ready_daemon(home, models.slow) as client:
        pid = (await status(client))["workerPid"]
        hole = {"prefix": "def add(a, b):\n    ", "maxTokens": 200, "sampling": GREEDY}
        numbers = [await client.post("botframework/complete", hole) for _ in range(12)]
        numbers.append(await start_chat(client, "chat"))
        os.kill(pid, signal.SIGKILL)
        numbers += [await client.post("botframework/complete", hole) for _ in range(3)]
        answers = [await client.answer(number, timeout_s=PATIENCE_S) for number in numbers]
        await state(client, "ready")

        assert all(len(client.answers[number]) == 1 for number in numbers)
    kinds = {answer["error"]["data"]["kind"] for answer in answers if "error" in answer}
    assert kinds <= {"WorkerCrashed", "ModelLoading"}
    assert "WorkerCrashed" in kinds


HANGING = """
import sys
if "worker" in sys.orig_argv:
    import threading
    from botframework.worker import llama, watchdog
    watchdog.HANG_LIMIT_S, watchdog.HANG_FACTOR = 1.0, 0.0
    really_decode = llama.Context.decode_rows
    def decode_rows(self, rows):
        if max(position for _, position, _ in rows) > 100:
            threading.Event().wait()
        return really_decode(self, rows)
    llama.Context.decode_rows = decode_rows
"""


async def test_hung_worker(home: Path, models: Models) -> None:
    """Check 23: the worker's own watchdog ends a call that never returns; the daemon says so and serves again.

    The limit of 30 s is shortened to one, and the hang put in, by a module that the interpreter loads at its start.
    """
    folder = home / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANGING)
    async with ready_daemon(home, models.tiny, environ={"PYTHONPATH": str(folder)}) as client:
        first = (await status(client))["workerPid"]
        began = time.monotonic()
        number = await start_chat(client, "chat")
        answer = await client.answer(number, timeout_s=PATIENCE_S)
        took_s = time.monotonic() - began
        now = await state(client, "ready")
        after = await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 3})

    assert answer["error"]["data"]["kind"] == "WorkerCrashed"
    assert "did not come back" in answer["error"]["message"]
    assert took_s < 10.0
    assert now["workerPid"] not in (0, first)
    assert after["usage"]["completionTokens"] == 3


def truncated(whole: Path, path: Path) -> None:
    """The end of the tensor data is missing."""
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def foreign(_whole: Path, path: Path) -> None:
    """A pickle in a ZIP archive, as PyTorch writes them."""
    path.write_bytes(b"PK\x03\x04" + bytes(26) + b"archive/data.pkl" + b"\x80\x02}q\x00." * 100)


def empty(_whole: Path, path: Path) -> None:
    """Nothing."""
    path.write_bytes(b"")


def missing(_whole: Path, _path: Path) -> None:
    """No file at all."""


def of_another_tokenizer(_whole: Path, path: Path) -> None:
    """A well-formed file with a way of splitting text that llama.cpp does not know: only llama.cpp can tell."""
    tiny_llama(path, pre="nobody-splits-like-this")


BAD_FILES: list[tuple[Callable[[Path, Path], None], str, int]] = [
    (truncated, "ModelRefused", 0),
    (foreign, "ModelRefused", 0),
    (empty, "ModelRefused", 0),
    (missing, "ModelNotFound", 0),
    (of_another_tokenizer, "ModelCorrupt", 1),
]


@pytest.mark.parametrize(("make", "kind", "starts"), BAD_FILES, ids=[make.__name__ for make, _, _ in BAD_FILES])
async def test_model_file_that_cannot_be_loaded(
    home: Path, models: Models, make: Callable[[Path, Path], None], kind: str, starts: int
) -> None:
    """The state is ``error`` with the reason and the file's name, and the daemon lives.

    Requests are refused with the same reason, completions are empty, and no worker is started in vain.
    """
    path = home / "model.gguf"
    make(models.tiny, path)
    async with daemon(home, path) as client:
        await client.initialize({"experimental": {"serverStatusNotification": True}})
        now = await state(client, "error")
        told = await client.notification("experimental/serverStatus", lambda status: status["health"] == "error")
        await client.open("file:///a.py", "x = ")
        ghost = await client.result(await client.inline("file:///a.py", 0, 4))
        with pytest.raises(LspError) as refusal:
            await client.request("botframework/chat", {"messages": HELLO})
        children = family(client.process.pid)
        code = await client.leave()

    assert now["error"]["kind"] == kind
    assert str(path) in now["error"]["message"]
    assert now["workerPid"] == 0
    assert told["message"] == now["error"]["message"]
    assert refusal.value.data["kind"] == kind
    assert ghost == {"items": []}
    assert children == []
    assert worker_starts(home) == starts
    assert code == 0


DYING = """
import os, sys
if "worker" in sys.orig_argv:
    from botframework.worker import llama
    def open_model(*_, **__):
        os.abort()
    llama.Model.__init__ = open_model
"""


async def test_model_file_that_kills_its_worker(home: Path, models: Models) -> None:
    """A file whose loading ends the worker is tried a second time, then it is ``ModelCorrupt`` until it changes.

    A second daemon believes the first one's record and starts nothing.
    """
    folder = home / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(DYING)
    environ = {"PYTHONPATH": str(folder)}
    seen: list[dict[str, Any]] = []
    starts: list[int] = []
    for _ in range(2):
        async with daemon(home, models.tiny, environ=environ) as client:
            await client.initialize()
            seen.append(await state(client, "error"))
            starts.append(worker_starts(home))
            assert await client.leave() == 0

    assert [now["error"]["kind"] for now in seen] == ["ModelCorrupt", "ModelCorrupt"]
    assert "SIGABRT" in seen[0]["error"]["message"]
    assert starts == [2, 2]


async def test_a_good_file_in_the_place_of_a_bad_one(home: Path, models: Models) -> None:
    """``botframework/restart`` looks at the file again: what was repaired is loaded."""
    path = home / "model.gguf"
    truncated(models.tiny, path)
    async with daemon(home, path) as client:
        await client.initialize()
        await state(client, "error")
        path.unlink()
        path.write_bytes(models.tiny.read_bytes())
        await client.request("botframework/restart")
        await state(client, "ready")
        answer = await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 2})

    assert answer["usage"]["completionTokens"] == 2
