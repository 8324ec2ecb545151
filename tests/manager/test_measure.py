"""What a load would take, asked from llama.cpp in a process that ends with its answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from botframework.config import Settings
from botframework.errors import ModelCorrupt, WorkerStartFailed
from botframework.manager.launch import default_command
from botframework.manager.load import choose
from botframework.manager.measure import measure, probe_devices
from botframework.wire import messages as wire
from support.gguf_factory import tiny_llama
from support.shaped_gguf import MODELS, write_shaped

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("runtime_dir")


def load_of(path: Path) -> wire.LoadModel:
    """The load that the settings amount to."""
    return choose(Settings(model=str(path))).load


async def test_a_large_model_is_measured_without_being_read(tmp_path: Path) -> None:
    """Of a file of 17 GB only the header is looked at: the answer comes in seconds and is llama.cpp's own."""
    path = write_shaped(tmp_path / "large.gguf", MODELS["qwen3moe"])
    load = msgspec.structs.replace(load_of(path), n_ctx_chat=8_192)
    began = time.monotonic()
    told = await measure(load)

    assert path.stat().st_size > 15e9
    assert told.weights_bytes == pytest.approx(path.stat().st_size, rel=0.001)
    assert told.kv_bytes == (4_096 + 8_192) * 48 * 2 * 4 * 128 * 2
    assert told.recurrent_bytes == 0
    assert told.compute_bytes > 0
    assert time.monotonic() - began < 30


async def test_where_everything_would_go(tmp_path: Path) -> None:
    """The shares of the devices are the whole, and every block and the output have a place."""
    told = await measure(load_of(write_shaped(tmp_path / "a.gguf", MODELS["falcon-h1"])))

    assert sum(share.kv_bytes for share in told.shares) == pytest.approx(told.kv_bytes, abs=10)
    assert sum(share.recurrent_bytes for share in told.shares) == pytest.approx(told.recurrent_bytes, abs=10)
    assert sum(share.compute_bytes for share in told.shares) == pytest.approx(told.compute_bytes, abs=10)
    assert len(told.layer_devices) == 7
    assert {*told.layer_devices, *(share.device for share in told.shares)} <= {one.name for one in told.devices}


async def test_the_devices() -> None:
    """llama.cpp always sees the processor, with the machine's memory."""
    (processor,) = [device for device in await probe_devices() if device.kind == "cpu"]

    assert processor.name == "CPU"
    assert processor.total_bytes >= processor.free_bytes > 0


async def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    """llama.cpp's own words come as the error that the load would end with."""
    path = tiny_llama(tmp_path / "a.gguf")
    load = load_of(path)
    path.write_bytes(b"GGUF" + bytes(100))

    with pytest.raises(ModelCorrupt, match=r"a\.gguf"):
        await measure(load)


def program(text: str) -> tuple[str, ...]:
    """A worker that does something else."""
    return (sys.executable, "-c", text)


async def test_a_death_while_measuring(tmp_path: Path) -> None:
    """It is an error with what was said last, and not the daemon's death."""
    dying = program("import os, sys; print('GGML_ASSERT failed', file=sys.stderr, flush=True); os.abort()")
    load = load_of(tiny_llama(tmp_path / "a.gguf"))

    with pytest.raises(ModelCorrupt, match=r"SIGABRT.*GGML_ASSERT failed"):
        await measure(load, command=dying)
    with pytest.raises(WorkerStartFailed, match="SIGABRT"):
        await probe_devices(command=dying)


@pytest.mark.parametrize("answer", ["nonsense", '{"t": "loaded"}', ""])
async def test_an_answer_that_is_none(answer: str) -> None:
    """It is refused in words."""
    with pytest.raises(WorkerStartFailed):
        await probe_devices(command=program(f"print({answer!r}, end='')"))


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(WorkerStartFailed, match="none cannot be started"):
        await probe_devices(command=(str(tmp_path / "none"),))


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    """Where a program that never answers writes its process id."""
    path = tmp_path / "pid"
    os.mkfifo(path)
    return path


def silent(pid_file: Path) -> tuple[str, ...]:
    """Says its process id and nothing else, for an hour."""
    return program(f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(3600)")


def is_gone(pid: int) -> bool:
    """Whether there is no such process, not even as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_process_that_hangs(pid_file: Path) -> None:
    """It is killed at the deadline."""
    asked = asyncio.create_task(probe_devices(command=silent(pid_file), deadline_s=2.0))
    pid = int(await asyncio.to_thread(pid_file.read_text))

    with pytest.raises(WorkerStartFailed, match="did not tell in 2 s"):
        await asked
    assert is_gone(pid)


async def test_a_question_that_nobody_asks_any_more(pid_file: Path) -> None:
    """A cancel ends the process before it returns."""
    asked = asyncio.create_task(probe_devices(command=silent(pid_file)))
    pid = int(await asyncio.to_thread(pid_file.read_text))
    asked.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asked
    assert is_gone(pid)


@pytest.mark.parametrize("question", [b"", b"no json\n", b'{"t":"hello"}\n'])
def test_a_question_that_is_none(question: bytes) -> None:
    """It is answered with an error in one line, and nothing else is on standard output."""
    command = [*default_command(), "--measure"]
    done = subprocess.run(command, input=question, capture_output=True, timeout=60, check=False)

    answer = msgspec.json.decode(done.stdout, type=wire.LoadFailed)
    assert (answer.kind, done.returncode) == ("InvalidRequest", 0)


def test_it_ends_with_whoever_asked(tmp_path: Path) -> None:
    """A daemon that dies leaves no process behind: the end of standard input ends it, whatever it does."""
    path = tmp_path / "fifo.gguf"
    os.mkfifo(path)  # opening it for reading waits for a writer: a load that never ends
    load = msgspec.structs.replace(load_of(tiny_llama(tmp_path / "a.gguf")), path=str(path))
    with subprocess.Popen(
        [*default_command(), "--measure"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.stdin
        process.stdin.write(msgspec.json.encode(load) + b"\n")
        process.stdin.close()

        assert process.wait(60) == 1
