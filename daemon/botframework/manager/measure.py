"""Ask llama.cpp what a load would take, and which devices it sees, in a process that ends with its answer.

The daemon never loads llama.cpp, and a question must not cost more than itself: whatever it does to the process (a
failed assertion of llama.cpp, a driver that hangs), the answer is an error here and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from botframework import config
from botframework.errors import BotframeworkError, ModelCorrupt, WorkerStartFailed, from_wire
from botframework.manager.launch import default_command, describe_exit
from botframework.process import probe_environment
from botframework.wire import messages as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

MEASURE_DEADLINE_S = 60.0
"""It takes about a second, most of it importing llama.cpp; a GPU's driver that starts may take many."""
LAST_WORDS_BYTES = 4_096
"""Of what the process said to standard error before it failed."""


async def measure(
    load: wire.LoadModel, *, command: Sequence[str] | None = None, deadline_s: float = MEASURE_DEADLINE_S
) -> wire.Measured:
    """Ask what a load would take, exactly, without reading weights or allocating them.

    Parameters
    ----------
    command
        What starts a worker, if not this program itself.

    Raises
    ------
    ModelCorrupt, ModelDoesNotFit
        As the load itself would.
    WorkerStartFailed
        No process could be started, or it did not answer in time.
    """
    return await _ask(load, command, deadline_s)


async def probe_devices(
    *, command: Sequence[str] | None = None, deadline_s: float = MEASURE_DEADLINE_S
) -> tuple[wire.Device, ...]:
    """Ask which devices llama.cpp sees, of every vendor that it was built for, the processor among them.

    Raises
    ------
    WorkerStartFailed
        No process could be started, or it did not answer in time.
    """
    return (await probe_engine(command=command, deadline_s=deadline_s)).devices


async def probe_engine(
    *, command: Sequence[str] | None = None, deadline_s: float = MEASURE_DEADLINE_S
) -> wire.Measured:
    """Ask which llama.cpp this is, what it uses here, and which devices it sees.

    Raises
    ------
    WorkerStartFailed
        No process could be started, or it did not answer in time.
    """
    return await _ask(None, command, deadline_s)


async def _ask(load: wire.LoadModel | None, command: Sequence[str] | None, deadline_s: float) -> wire.Measured:
    process = await _start([*(command or default_command()), "--measure"])
    try:
        async with asyncio.timeout(deadline_s):
            return await _answer(process, load)
    except TimeoutError as error:
        raise WorkerStartFailed(f"llama.cpp did not tell in {deadline_s:g} s what the model takes") from error
    finally:
        await _end(process)


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    options: dict[str, object] = {}
    if sys.platform == "win32":  # Never run.
        options["creationflags"] = subprocess.CREATE_NO_WINDOW
    else:
        options["start_new_session"] = True  # a Ctrl-C in the editor's terminal is not for it
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=config.runtime_dir(),
            env=probe_environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,  # type: ignore[arg-type]
        )
    except OSError as error:
        raise WorkerStartFailed(f"{command[0]} cannot be started: {error.strerror or error}") from error


async def _answer(process: asyncio.subprocess.Process, load: wire.LoadModel | None) -> wire.Measured:
    assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - asked for above
    last_words = asyncio.create_task(_tail(process.stderr))
    try:
        # Standard input stays open: its end would end the process.
        with contextlib.suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(load) + b"\n")
            await process.stdin.drain()
        line = await process.stdout.read()
        if line:
            return _decoded(line)
        status = await process.wait()
        words = (await last_words).strip()
    finally:
        last_words.cancel()
    message = f"llama.cpp {describe_exit(status)} while it laid the model out" + (f": {words}" if words else "")
    raise WorkerStartFailed(message) if load is None else ModelCorrupt(message, path=load.path)


def _decoded(line: bytes) -> wire.Measured:
    try:
        answer = msgspec.json.decode(line, type=wire.Measured | wire.LoadFailed)
    except msgspec.MsgspecError as error:
        raise WorkerStartFailed(f"what should tell the model's size answered something else: {error}") from error
    if isinstance(answer, wire.LoadFailed):
        failure: BotframeworkError = from_wire(answer.kind, answer.message, answer.data)
        raise failure
    return answer


async def _tail(stream: asyncio.StreamReader) -> str:
    """The end of what is said, read to its end so that nobody blocks who says it."""
    tail = b""
    while piece := await stream.read(LAST_WORDS_BYTES):
        tail = (tail + piece)[-LAST_WORDS_BYTES:]
    return tail.decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    # Shielded: a cancelled question must not leave a process behind that nobody waits for.
    await asyncio.shield(asyncio.ensure_future(process.wait()))
