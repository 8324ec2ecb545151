"""The peer: llama-server, built from the source that our library is built from, with the same flags, asked over HTTP.

llama-cpp-python's source distribution holds llama.cpp with its server; the wheel is made from it with CMake's defaults
(Release, GGML_NATIVE, shared libraries) unless `CMAKE_ARGS` say otherwise, and so is the server. Started with the
preset that llama.vscode recommends, ``-b 1024 -ub 1024 --cache-reuse 256``, one slot, and with our worker's threads,
number of cells, KV type and flash attention.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from support.llama_sdist import SDIST_VERSION, extract_llama_cpp, fetch_sdist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUILD_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DLLAMA_BUILD_COMMON=ON",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    # No browser's page, no TLS: nothing is fetched, and neither takes part in an answer.
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)
PRESET = ("-b", "1024", "-ub", "1024", "--cache-reuse", "256", "-np", "1")
START_DEADLINE_S = 120.0
ANSWER_DEADLINE_S = 120.0
STOP_DEADLINE_S = 10.0
POLL_S = 0.05
LOG_TAIL = 2_000


class PeerError(RuntimeError):
    """The peer cannot be built or does not start; the benchmark goes on without it."""


def build(cache: Path, say: Callable[[str], None]) -> Path:
    """The server's executable, built once for this machine.

    Raises
    ------
    PeerError
        There is no compiler, or it failed.
    OfflineError
        The source cannot be fetched.
    """
    folder = cache / f"llama-server-{SDIST_VERSION}"
    executable = folder / "build" / "bin" / "llama-server"
    stamp = folder / "built"
    if stamp.is_file() and executable.is_file():
        return executable
    say(f"building llama-server of llama-cpp-python {SDIST_VERSION} (about 10 minutes on 2 cores, once) …")
    source = folder / "source"
    extract_llama_cpp(fetch_sdist(cache), source)
    flags = (*BUILD_FLAGS, *shlex.split(os.environ.get("CMAKE_ARGS", "")))
    _run(["cmake", "-S", str(source), "-B", str(folder / "build"), *flags], folder / "configure.log")
    jobs = str(os.cpu_count() or 1)
    target = ["--target", "llama-server", "--config", "Release", "-j", jobs]
    _run(["cmake", "--build", str(folder / "build"), *target], folder / "build.log")
    shutil.rmtree(source)
    stamp.touch()
    return executable


def _run(command: list[str], log: Path) -> None:
    try:
        with log.open("wb") as file:
            subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=True)
    except FileNotFoundError as error:
        raise PeerError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise PeerError(f"llama-server cannot be built, see {log}") from error


@dataclass(frozen=True, slots=True)
class Infilled:
    """One answer of the server, with the client's clock in milliseconds."""

    first_ms: float
    """From before the request was written to the first event with a token."""
    total_ms: float
    evaluated: int
    """Prompt tokens that were read for it (``timings.prompt_n``)."""
    cached: int
    generated: int


class Server:
    """A running llama-server. It closes a connection behind a stream, so each request has its own, made beforehand."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self._port = port

    def infill(self, request: dict[str, Any]) -> Infilled:
        """Ask for a middle and follow the stream to its end."""
        body = json.dumps({**request, "stream": True}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_DEADLINE_S)
        connection.connect()
        with contextlib.closing(connection):
            started = time.perf_counter()
            connection.request("POST", "/infill", body, {"Content-Type": "application/json"})
            return _follow(connection.getresponse(), started)


def _follow(answer: http.client.HTTPResponse, started: float) -> Infilled:
    """Read the stream to its end."""
    if answer.status != http.HTTPStatus.OK:
        raise PeerError(f"llama-server answered {answer.status}: {answer.read(LOG_TAIL)!r}")
    first_ms = 0.0
    timings: dict[str, Any] = {}
    while line := answer.readline():
        if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
            continue
        if not first_ms:
            first_ms = (time.perf_counter() - started) * 1000
        timings = json.loads(line[5:]).get("timings") or timings
    total_ms = (time.perf_counter() - started) * 1000
    return Infilled(first_ms, total_ms, timings["prompt_n"], timings["cache_n"], timings["predicted_n"])


@contextlib.contextmanager
def serving(executable: Path, model: Path, *, n_threads: int, n_ctx: int) -> Iterator[Server]:
    """A server with its model loaded.

    Raises
    ------
    PeerError
        It ended or did not become ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [str(executable), "-m", str(model), "--host", "127.0.0.1", "--port", str(port), *PRESET]
    command += ["-c", str(n_ctx), "-t", str(n_threads), "-tb", str(n_threads), "-ngl", "0"]
    command += ["-fa", "on", "-ctk", "f16", "-ctv", "f16"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(process, port, log)
            yield Server(process, port)
        finally:
            process.terminate()
            try:
                process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    give_up_at = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < give_up_at and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        time.sleep(POLL_S)
    log.seek(0)
    raise PeerError(f"llama-server did not start: {log.read()[-LOG_TAIL:].decode(errors='replace')}")
