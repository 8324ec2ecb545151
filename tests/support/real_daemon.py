"""The real daemon on a real worker and a real GGUF, brought to the state that a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.gguf_factory import ValueType, alphabet_llama, tiny_llama, tiny_llama_file
from support.lsp_client import DAEMON, LspClient, daemon_environment, running_daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

PATIENCE_S = 60.0
"""Longer than a start takes on a machine that does many other things."""
RELAY = str(Path(__file__).with_name("relay_editor.py"))
PIPE_FULL_BYTES = 32_768
"""Linux's pipes hold 64 KiB in 16 pages, and a page that is not filled to its end still counts as used."""
PIPE_STILL_S = 0.1
"""A pipe that holds so much and has not changed for so long has a writer that waits."""
GREEDY = {"temperature": 0.0}
HELLO = [{"role": "user", "content": "hello"}]
NEVER_ENDING = 30_000
"""More tokens than any of the models' contexts hold: the answer is still running when the test is done with it."""


class Models:
    """GGUF files, each written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def alphabet(self) -> Path:
        """Answers with the alphabet and ends; every byte of text is one token."""
        return alphabet_llama(self._folder / "alphabet.gguf")

    @functools.cached_property
    def tiny(self) -> Path:
        """Random weights, thousands of tokens a second, never ends by itself."""
        return tiny_llama(self._folder / "tiny.gguf", n_ctx_train=8_192)

    @functools.cached_property
    def slow(self) -> Path:
        """Some 20 million parameters: a token takes milliseconds, a micro-batch of a prompt some tens of them."""
        shape = {"n_layers": 6, "d": 512, "n_heads": 8, "n_kv_heads": 4, "ffn": 1_408}
        return tiny_llama(self._folder / "slow.gguf", n_ctx_train=8_192, **shape)

    @functools.cached_property
    def loud(self) -> Path:
        """As tiny, but many of its tokens are four thousand characters long: a thousand of them fill every buffer."""
        gguf = tiny_llama_file(n_ctx_train=8_192)
        key = "tokenizer.ggml.tokens"
        tokens = list(next(value for name, _, value in gguf.metadata if name == key)[1])
        # The letters of bytes beyond ASCII, which the tests' prompts do not need.
        for number in range(128, 256):
            tokens[number] = f"[{number}{'x' * 4_000}]"
        gguf.put(key, ValueType.ARRAY, (ValueType.STRING, tokens))
        return gguf.write(self._folder / "loud.gguf")


def daemon_command(model: Path | None = None, *arguments: str, editor: str | None = None) -> tuple[str, ...]:
    """What an editor runs; with ``editor``, through `relay_editor` in that mode."""
    relay = (sys.executable, RELAY, editor) if editor is not None else ()
    chosen = ("--model", str(model)) if model is not None else ()
    return (*relay, *DAEMON, *chosen, *arguments)


@contextlib.asynccontextmanager
async def daemon(
    folder: Path,
    model: Path | None = None,
    *arguments: str,
    editor: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[LspClient]:
    """A running daemon to which nothing has been said."""
    env = daemon_environment(folder, **(environ or {}))
    command = daemon_command(model, *arguments, editor=editor)
    async with running_daemon(command, env=env, cwd=folder) as client:
        yield client


async def be_ready(client: LspClient, capabilities: Mapping[str, Any] | None = None) -> Any:
    """Say ``initialize`` and wait for the model; what ``modelReady`` said."""
    await say_hello(client, capabilities)
    return await client.notification("$/botframework/modelReady", timeout_s=PATIENCE_S)


async def say_hello(client: LspClient, capabilities: Mapping[str, Any] | None = None) -> Any:
    """Say ``initialize`` with the pid of whoever is the daemon's parent: this process or the relay."""
    relayed = RELAY.encode() in Path(f"/proc/{client.process.pid}/cmdline").read_bytes()
    return await client.initialize(capabilities, **({"processId": client.process.pid} if relayed else {}))


@contextlib.asynccontextmanager
async def ready_daemon(
    folder: Path, model: Path | None = None, *arguments: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[LspClient]:
    """A running daemon with its model loaded."""
    async with daemon(folder, model, *arguments, environ=environ) as client:
        await be_ready(client)
        yield client


async def status(client: LspClient) -> dict[str, Any]:
    """The heartbeat's content, now."""
    answer: dict[str, Any] = await client.request("botframework/status")
    return answer


async def state(client: LspClient, *states: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
    """Ask for the status until the state is one of these."""
    deadline = time.monotonic() + timeout_s
    while (now := await status(client))["state"] not in states:
        assert time.monotonic() < deadline, f"never {states}: {now}"
        await asyncio.sleep(0.02)
    return now


async def start_chat(client: LspClient, token: str, **more: Any) -> int | str:
    """Ask for a streamed, never-ending, greedy chat answer; the request's id."""
    params = {"messages": HELLO, "maxTokens": NEVER_ENDING, "sampling": GREEDY, "partialResultToken": token}
    return await client.post("botframework/chat", params | more)


async def streaming(client: LspClient, token: str, pieces: int = 1) -> None:
    """Wait until so many pieces of an answer have come."""
    await client.until(lambda: len(client.progress[token]) >= pieces, timeout_s=PATIENCE_S)


def streamed(client: LspClient, token: str) -> str:
    """The text of an answer so far."""
    return "".join(value["text"] for value in client.progress[token])


async def until_blocked(client: LspClient) -> None:
    """Wait until the daemon's standard output is full because nobody reads it."""
    pipe = client.process._transport.get_pipe_transport(1).get_extra_info("pipe")  # type: ignore[attr-defined]
    seen, since = 0, time.monotonic()

    def is_still() -> bool:
        nonlocal seen, since
        now = _waiting_bytes(pipe.fileno())
        if now != seen:
            seen, since = now, time.monotonic()
        return now >= PIPE_FULL_BYTES and time.monotonic() - since >= PIPE_STILL_S

    await eventually(is_still)


def _waiting_bytes(descriptor: int) -> int:
    import fcntl  # not on Windows, where the tests that need this are skipped
    import termios

    found: Sequence[int] = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))
    return found[0]


async def eventually(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Look until something holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        await asyncio.sleep(0.005)
