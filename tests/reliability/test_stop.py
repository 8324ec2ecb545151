"""Leaving in time and in order: ``shutdown``, signals, and no secret left lying about."""

from __future__ import annotations

import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from botframework.process import FileLock
from support.processes import Watch, family
from support.real_daemon import HELLO, be_ready, daemon, ready_daemon, start_chat, state, status, streaming

if TYPE_CHECKING:
    from support.lsp_client import LspClient
    from support.real_daemon import Models

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through pidfd and /proc")

PROMISE_S = 1.8
"""An editor waits 2.0 s."""
RUNS = 3


async def decoding(client: LspClient) -> None:
    """Bring a daemon to the middle of an answer."""
    await be_ready(client)
    await start_chat(client, "chat")
    await streaming(client, "chat", 3)


async def test_clean_stop_in_the_middle_of_an_answer(home: Path, models: Models) -> None:
    """Check 16: after ``shutdown`` and ``exit`` everything is gone within 1.8 s, with exit code 0.

    The running request was answered.
    """
    times = []
    for _ in range(RUNS):
        async with daemon(home, models.slow) as client:
            await be_ready(client)
            number = await start_chat(client, "chat")
            await streaming(client, "chat", 3)
            with Watch(client.process.pid, *family(client.process.pid)) as everybody:
                began = time.monotonic()
                code = await client.leave()
                times.append(await everybody.gone_after(began))

            answer = await client.answer(number)
            assert code == 0
            assert answer["error"]["code"] in (-32802, -33202)

    assert statistics.median(times) <= PROMISE_S / 2, times
    assert max(times) <= PROMISE_S, times


async def test_exit_without_shutdown(home: Path, models: Models) -> None:
    """A bare ``exit`` ends everything as quickly, with exit code 1."""
    async with daemon(home, models.slow) as client:
        await decoding(client)
        with Watch(client.process.pid, *family(client.process.pid)) as everybody:
            began = time.monotonic()
            await client.notify("exit")
            code = await client.wait_exit()

            assert await everybody.gone_after(began) <= PROMISE_S
    assert code == 1


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM,),
        (signal.SIGINT,),
        (signal.SIGHUP,),
        (signal.SIGTERM, signal.SIGTERM),
    ],
    ids=["TERM", "INT", "HUP", "TERM twice"],
)
async def test_signals(home: Path, models: Models, numbers: tuple[signal.Signals, ...]) -> None:
    """Check 17: each signal ends everything within 1.8 s while the worker decodes, and the start lock is free."""
    async with daemon(home, models.slow) as client:
        await decoding(client)
        with Watch(client.process.pid, *family(client.process.pid)) as everybody:
            began = time.monotonic()
            for number in numbers:
                client.process.send_signal(number)
            await client.wait_exit()

            assert await everybody.gone_after(began) <= PROMISE_S
    locks = list(home.glob("*.lock"))
    assert locks
    for path in locks:
        lock = FileLock(path)
        assert lock.try_acquire()
        lock.release()
    assert list(home.glob("*.sock")) == []


async def test_signal_while_the_worker_starts(home: Path, models: Models) -> None:
    """A daemon that is ended while it holds the start lock leaves no worker and no lock, and the next one gets on."""
    async with daemon(home, models.tiny) as client:
        await client.initialize()
        await client.notification("$/botframework/heartbeat", lambda beat: beat["state"] == "starting")
        with Watch(client.process.pid, *family(client.process.pid)) as everybody:
            began = time.monotonic()
            client.process.send_signal(signal.SIGTERM)

            assert await everybody.gone_after(began) <= PROMISE_S
    async with ready_daemon(home, models.tiny) as client:
        await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 2})


SECRETS = {
    "HF_TOKEN": "hf_A7dVqk2hidden",
    "OPENAI_API_KEY": "sk-B8eWrl3hidden",
    "AWS_SECRET_ACCESS_KEY": "C9fXsm4hidden",
    "LLAMA_API_KEY": "D0gYtn5hidden",
    "SOME_VARIABLE": "E1hZuo6hidden",
}
SAID = "F2iAvp7hidden"
"""Stands in a prompt, which must not get into a log either."""


async def test_secrets_stay_in_the_daemon(home: Path, models: Models) -> None:
    """Check 41: a secret of the daemon's environment is in no child's environment, no log and no file we write.

    Neither is a prompt, not even after the worker died while it computed it.
    """
    message = {"messages": [{"role": "user", "content": SAID}], "maxTokens": 3, "session": f"session {SAID}"}
    async with ready_daemon(home, models.tiny, "--log-level", "debug", environ=SECRETS) as client:
        await client.request("botframework/chat", message)
        await client.request("botframework/complete", {"prefix": SAID, "maxTokens": 3})
        pid = (await status(client))["workerPid"]
        children = family(client.process.pid)
        environs = {child: Path(f"/proc/{child}/environ").read_bytes() for child in children}
        await start_chat(client, "chat", messages=message["messages"])
        await streaming(client, "chat")
        with Watch(pid) as worker:
            began = time.monotonic()
            signal.pidfd_send_signal(worker.handle(pid), signal.SIGSEGV)
            await worker.gone_after(began)
        await state(client, "ready")
        log_file = Path((await status(client))["logFile"])
        await client.leave()
        logged = log_file.read_bytes()
        said = bytes(client.stderr)

    assert len(environs) == 2, "worker and renderer"
    assert b"ready" in logged
    written = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert log_file in written
    for secret in (*SECRETS.values(), SAID):
        found = [
            name for name, content in (environs | written | {"stderr": said}).items() if secret.encode() in content
        ]
        assert not found, (secret, found)
