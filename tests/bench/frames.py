"""(e) A frame to the worker and back, beside a bare asyncio echo of the same bytes."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.attached import attached
from bench.report import Report, Row, spread
from bench.setting import HERE
from botframework.wire.link import encode
from botframework.wire.messages import GetStats

if TYPE_CHECKING:
    from bench.setting import Setting

RATIO = 2.0


class Caller(asyncio.Protocol):
    """The client of the echo: one request at a time."""

    def __init__(self, answered: int) -> None:
        self._answered = answered
        self._got = 0
        self._whole: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Count until the answer is whole."""
        self._got += len(data)
        if self._got >= self._answered and self._whole is not None:
            self._got -= self._answered
            self._whole.set_result(None)

    async def call(self, request: bytes) -> None:
        """Ask and wait."""
        self._whole = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self._whole


async def measure_async(setting: Setting) -> Report:
    """In blocks, ours and the echo in turn, all in one event loop."""
    ours: list[float] = []
    peer: list[float] = []
    async with attached(setting.model) as (supervisor, _):
        request, answer = encode(GetStats(id=100)), encode(await supervisor.stats())
        with tempfile.TemporaryDirectory(prefix="bf-") as folder:
            path = str(Path(folder) / "echo.sock")
            command = [sys.executable, str(HERE / "bare_echo.py"), path, str(len(request)), str(len(answer))]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            try:
                assert process.stdout is not None
                await process.stdout.readline()
                loop = asyncio.get_running_loop()
                _, caller = await loop.create_unix_connection(lambda: Caller(len(answer)), path)
                for _ in range(setting.times(100)):
                    for _ in range(50):
                        started = time.perf_counter()
                        await supervisor.stats()
                        ours.append((time.perf_counter() - started) * 1e6)
                    for _ in range(50):
                        started = time.perf_counter()
                        await caller.call(request)
                        peer.append((time.perf_counter() - started) * 1e6)
                caller.transport.close()
            finally:
                process.terminate()
                await process.wait()
    ratio = statistics.median(ours) / statistics.median(peer)
    row = Row(
        f"{len(request)} bytes there, {len(answer)} bytes back",
        spread(ours, "µs", 0),
        spread(peer, "µs", 0),
        ratio,
        f"<= {RATIO:.0f}",
        ratio <= RATIO,
    )
    note = "Ours encodes and decodes two messages and asks the system for the worker's memory."
    return Report("e", "a frame's round trip", "bare asyncio echo", [row], note)


def measure(setting: Setting) -> Report:
    """Run it."""
    return asyncio.run(measure_async(setting))
