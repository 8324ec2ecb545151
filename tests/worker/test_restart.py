"""A session outlives its worker: real workers, killed between two keys, and what the next one does with the files."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from botframework.wire import messages as wire
from support.gguf_factory import tiny_llama, tiny_mamba
from support.worker_process import PATIENCE_S, WorkerClient, load_model, worker_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES = "".join(f"value_{number} = self.compute({number}, other)\n" for number in range(12))
PREFIX = LINES + "return se"
SUFFIX = "\n" + LINES
AT_ONCE = (
    "import botframework.worker.background as background\nbackground.PAUSE_S, background.SAVE_PAUSE_S = 0.01, 0.05\n"
)
"""The pauses before a worker tidies up, shortened."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with room for a window."""
    return tiny_llama(tmp_path_factory.mktemp("model") / "model.gguf", n_ctx_train=2_048)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The snapshots of the workspace."""
    return tmp_path / "sessions" / ("0" * 32)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no message tells: a file."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def files(folder: Path) -> list[Path]:
    """The finished snapshots."""
    return sorted(folder.glob("*.kv"))


async def complete(client: WorkerClient, **options: Any) -> tuple[wire.Done, str]:
    """One completion of the document, with the text."""
    values: dict[str, Any] = {"suffix": SUFFIX, "session": "file:///a.py", "max_tokens": 8, "stream": True}
    number = client.ask(PREFIX, **(values | options))
    done = await client.done(number)
    return done, client.text(number)


async def first_life(home: Path, model: Path, folder: Path, **load: Any) -> tuple[wire.Done, str]:
    """Complete in a fresh worker, let it write, complete again, kill it; the first figures, the last text."""
    async with worker_process(home, code=AT_ONCE, snapshot_dir=str(folder), snapshot_bytes=1 << 26) as worker:
        await worker.first.greet(load_model(model, **load))
        done, _ = await complete(worker.first)
        await until(lambda: len(files(folder)) == 1)
        _, text = await complete(worker.first)  # In the window that was written, which may be wider than the first.
        worker.process.kill()
        await worker.exit_code()
    return done, text


async def second_life(home: Path, model: Path, folder: Path, **load: Any) -> tuple[wire.Done, str]:
    """What the next worker says."""
    async with worker_process(home, snapshot_dir=str(folder), snapshot_bytes=1 << 26) as worker:
        await worker.first.greet(load_model(model, **load))
        return await complete(worker.first)


async def first_chat(home: Path, model: Path, folder: Path) -> tuple[wire.Done, list[str]]:
    """Chat with a fresh worker, let it write, kill it; the answer, and the conversation with the next question."""
    talk = ["tell me about " + LINES]
    async with worker_process(home, code=AT_ONCE, snapshot_dir=str(folder), snapshot_bytes=1 << 26) as worker:
        await worker.first.greet(load_model(model))
        number = worker.first.chat(*talk, session="chat 1", max_tokens=4, stream=True)
        cold = await worker.first.done(number)
        talk += [worker.first.text(number), "and then?"]
        await until(lambda: len(files(folder)) == 1)
        worker.process.kill()
        await worker.exit_code()
    return cold, talk


async def test_a_document_is_not_read_again_after_a_restart(home: Path, model: Path, folder: Path) -> None:
    """The next worker evaluates a handful of tokens where the first one read hundreds, and says the same."""
    cold, text = await first_life(home, model, folder)
    warm, warm_text = await second_life(home, model, folder)

    assert cold.usage.evaluated_tokens > 150
    assert warm.usage.evaluated_tokens <= 4
    assert warm.usage.evaluated_tokens <= 0.15 * cold.usage.evaluated_tokens
    assert warm_text == text


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "longer"])
async def test_a_damaged_snapshot_costs_a_reading_only(home: Path, model: Path, folder: Path, damage: str) -> None:
    """Damaged files are deleted; the answer comes all the same, and nobody hears of it."""
    await first_life(home, model, folder)
    (file,) = files(folder)
    data = file.read_bytes()
    at = len(data) // 2
    file.write_bytes(
        {
            "flip": data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :],
            "cut": data[:at],
            "empty": b"",
            "longer": data + b"\0",
        }[damage]
    )

    warm, _ = await second_life(home, model, folder)

    assert warm.usage.evaluated_tokens > 150
    assert files(folder) == []


@pytest.mark.parametrize("changes", [{"n_ctx_fim": 3_072}, {"flash_attn": False}], ids=["n_ctx", "flash attention"])
async def test_a_snapshot_of_other_parameters_is_not_used(
    home: Path, model: Path, folder: Path, changes: dict[str, Any]
) -> None:
    """It is deleted when its document is asked for."""
    await first_life(home, model, folder)

    warm, _ = await second_life(home, model, folder, **changes)

    assert warm.usage.evaluated_tokens > 150
    assert files(folder) == []


async def test_another_model_of_the_same_shape_gets_nothing(home: Path, tmp_path: Path, folder: Path) -> None:
    """llama.cpp would take its state: it is not even looked at."""
    models = [tiny_llama(tmp_path / f"{seed}.gguf", n_ctx_train=2_048, seed=seed) for seed in (1, 2)]
    await first_life(home, models[0], folder)

    warm, _ = await second_life(home, models[1], folder)

    assert warm.usage.evaluated_tokens > 150
    assert len(files(folder)) == 1  # The other model's own is left alone.


async def test_cleared_sessions_do_not_come_back(home: Path, model: Path, folder: Path) -> None:
    """`ClearSessions` leaves no file and no session; what is asked next is read from the start."""
    async with worker_process(home, code=AT_ONCE, snapshot_dir=str(folder), snapshot_bytes=1 << 26) as worker:
        await worker.first.greet(load_model(model))
        await complete(worker.first)
        await until(lambda: len(files(folder)) == 1)

        worker.first.send(wire.ClearSessions(id=900))
        answer = await worker.first.wait_for(lambda m: isinstance(m, wire.Sessions) and m.id == 900)

        assert answer.sessions == ()
        assert list(folder.iterdir()) == []
        again, _ = await complete(worker.first)
        assert again.usage.evaluated_tokens > 150


async def test_without_a_folder_nothing_is_written(home: Path, model: Path, tmp_path: Path) -> None:
    """A connection without snapshots leaves no trace, also when its document is closed."""
    async with worker_process(home, code=AT_ONCE) as worker:
        await worker.first.greet(load_model(model))
        await complete(worker.first)
        assert await worker.first.sessions(close="file:///a.py") == {}
        again, _ = await complete(worker.first)

    assert again.usage.evaluated_tokens > 150
    assert list(tmp_path.rglob("*.kv")) == []


async def test_a_closed_document_waits_on_disk(home: Path, model: Path, folder: Path) -> None:
    """Closing frees the cells and keeps the snapshot: the list says so, and opening it again reads next to nothing."""
    async with worker_process(home, snapshot_dir=str(folder), snapshot_bytes=1 << 26) as worker:
        await worker.first.greet(load_model(model))
        _, text = await complete(worker.first)
        await worker.first.sessions(close="file:///a.py")
        again, again_text = await complete(worker.first)  # At once: perhaps before the file is there.
        assert again.usage.evaluated_tokens <= 4
        assert again_text == text

        await worker.first.sessions(close="file:///a.py")
        await until(lambda: len(files(folder)) == 1)
        info = (await worker.first.sessions())["file:///a.py"]

    assert (info.where, info.context, info.bytes) == ("disk", "fim", files(folder)[0].stat().st_size)
    assert info.tokens > 150


async def test_a_chat_goes_on_after_a_restart(home: Path, model: Path, folder: Path) -> None:
    """A conversation is found by its content: only what is new is read, whatever the session is called."""
    cold, talk = await first_chat(home, model, folder)
    async with worker_process(home, snapshot_dir=str(folder), snapshot_bytes=1 << 26) as worker:
        await worker.first.greet(load_model(model))
        warm = await worker.first.done(worker.first.chat(*talk, session="chat 2", max_tokens=4))

    assert cold.usage.evaluated_tokens > 100
    assert warm.usage.prompt_tokens > cold.usage.prompt_tokens
    assert warm.usage.evaluated_tokens < 60


COUNTED = """
import os
from botframework.worker.snapshots import SnapshotFolder
really_describe = SnapshotFolder.described
def described(self):
    with open(os.environ["LISTED"], "a") as file:
        file.write("+")
    return really_describe(self)
SnapshotFolder.described = described
"""


async def test_closing_a_document_does_not_list_the_folder(
    home: Path, model: Path, folder: Path, tmp_path: Path
) -> None:
    """Editors close many files at once: the answer names what is left in memory; asked for all, it reads the disk."""
    listed = tmp_path / "listed"
    listed.touch()
    place = {"snapshot_dir": str(folder), "snapshot_bytes": 1 << 26}
    async with worker_process(home, code=AT_ONCE + COUNTED, environment={"LISTED": str(listed)}, **place) as worker:
        client = worker.first
        await client.greet(load_model(model))
        for name in ("a", "b"):
            await complete(client, session=f"file:///{name}.py")
        await until(lambda: len(files(folder)) == 2)
        left = await client.sessions(close="file:///a.py")
        at_closing = listed.read_text()
        every = await client.sessions()

    assert list(left) == ["file:///b.py"]
    assert at_closing == ""
    assert {name: info.where for name, info in every.items()} == {"file:///a.py": "disk", "file:///b.py": "kv"}
    assert listed.read_text()


SLOW_DISK = """
import os, time
from botframework.worker.snapshots import SnapshotFolder
really_read = SnapshotFolder.read
def read(self, key):
    open(os.environ["READING"], "w").close()
    while not os.path.exists(os.environ["MAY_READ"]):
        time.sleep(0.01)
    return really_read(self, key)
SnapshotFolder.read = read
"""
"""A disk that gives nothing before it may."""


@pytest.mark.parametrize("what", ["document", "chat"])
async def test_nobody_waits_for_the_disk_of_another(
    home: Path, model: Path, folder: Path, tmp_path: Path, what: str
) -> None:
    """While a snapshot is read others are answered; the one that it is for waits, and then reads next to nothing."""
    talk: list[str] = []
    if what == "chat":
        _, talk = await first_chat(home, model, folder)
    else:
        await first_life(home, model, folder)
    marks = {"READING": tmp_path / "reading", "MAY_READ": tmp_path / "may read"}
    environment = {name: str(path) for name, path in marks.items()}
    place = {"snapshot_dir": str(folder), "snapshot_bytes": 1 << 26}
    async with worker_process(home, code=SLOW_DISK, environment=environment, **place) as worker:
        client = worker.first
        await client.greet(load_model(model))
        if what == "chat":
            waiting = client.chat(*talk, session="chat 2", max_tokens=4)
        else:
            waiting = client.ask(PREFIX, suffix=SUFFIX, session="file:///a.py", max_tokens=4)
        await until(marks["READING"].exists)
        others = [client.ask("x = ", session="file:///b.py", max_tokens=4), client.chat("hello", max_tokens=4)]
        answers = [await client.done(number) for number in others]
        stats = await client.stats()
        marks["MAY_READ"].touch()
        done = await client.done(waiting)

    assert [answer.finish_reason for answer in answers] == ["length", "length"]
    assert stats.queued == 1
    assert done.usage.evaluated_tokens < 60
    assert done.usage.prompt_tokens > 150


async def test_what_is_read_from_disk_goes_to_the_next_key_but_not_to_a_cleared_session(
    home: Path, model: Path, folder: Path, tmp_path: Path
) -> None:
    """A key that takes the one before back goes on with the same reading, and clearing makes it count for nothing."""
    await first_life(home, model, folder)
    marks = {"READING": tmp_path / "reading", "MAY_READ": tmp_path / "may read"}
    environment = {name: str(path) for name, path in marks.items()}
    place = {"snapshot_dir": str(folder), "snapshot_bytes": 1 << 26}
    async with worker_process(home, code=SLOW_DISK, environment=environment, **place) as worker:
        client = worker.first
        await client.greet(load_model(model))
        first = client.ask(PREFIX, suffix=SUFFIX, session="file:///a.py", max_tokens=0)
        await until(marks["READING"].exists)
        second = client.ask(PREFIX + "l", suffix=SUFFIX, session="file:///a.py", max_tokens=4)
        given_up = await client.done(first)
        marks["MAY_READ"].touch()
        warm = await client.done(second)

        await client.sessions(close="file:///a.py")
        await until(lambda: len(files(folder)) == 1)
        for path in marks.values():
            path.unlink()
        third = client.ask(PREFIX, suffix=SUFFIX, session="file:///a.py", max_tokens=4)
        await until(marks["READING"].exists)
        assert await client.clear() == {}
        assert files(folder) == []
        cleared = await client.done(third)
        marks["MAY_READ"].touch()
        cold, _ = await complete(client)

    assert (given_up.finish_reason, cleared.finish_reason) == ("cancelled", "cancelled")
    assert warm.usage.evaluated_tokens <= 8
    assert cold.usage.evaluated_tokens > 150


async def test_without_memory_for_states_snapshots_come_back(home: Path, model: Path, folder: Path) -> None:
    """`engine.parkedMib = 0` keeps no state in memory; one that was fetched for a request is used all the same."""
    _, text = await first_life(home, model, folder, parked_bytes=0)
    warm, warm_text = await second_life(home, model, folder, parked_bytes=0)

    assert warm.usage.evaluated_tokens <= 4
    assert warm_text == text


async def test_a_recurrent_model_comes_back_too(home: Path, tmp_path: Path, folder: Path) -> None:
    """Its snapshot is a checkpoint: what was typed after it is read again, the window is not."""
    model = tiny_mamba(tmp_path / "mamba.gguf", n_ctx_train=2_048)
    cold, cold_text = await first_life(home, model, folder)
    warm, warm_text = await second_life(home, model, folder)

    assert cold.usage.evaluated_tokens > 150
    assert warm.usage.evaluated_tokens <= 0.15 * cold.usage.evaluated_tokens
    assert warm_text == cold_text
