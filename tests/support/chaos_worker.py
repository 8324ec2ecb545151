"""A worker that speaks the real wire protocol and misbehaves on command.

Run as a program in place of the real worker: ``Workplace(command=chaos("--at-load", "abort"), ...)``. What it does
wrong from the start is said by its arguments, what it does wrong with a request by the request's text, which is a list
of words::

    tokens=5     answer with five tokens (3 without it)
    step=20      20 ms between two tokens
    die=2        die in the call that computes the second token ...
    how=segv     ... of SIGSEGV (default), of "abort", "kill", "exit"
    silent       never answer
    garbage      answer with bytes that are no frame
    flood=1e9    print a gigabyte on stderr meanwhile

Like the real one it batches all running requests into one call unless one is to be computed alone, keeps the flight
recorder, and ends with its last client. Each start appends a line to ``spawns`` in the runtime folder, each hello
one to ``hellos``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from botframework import __version__
from botframework.wire import link
from botframework.wire.flight import FlightWriter
from botframework.wire.messages import (
    PROTOCOL_VERSION,
    Cancel,
    ChatRequest,
    ClearSessions,
    CloseSession,
    Done,
    Drain,
    DrainAnswer,
    FimRequest,
    FinishReason,
    GetStats,
    Hello,
    Inspect,
    Inspection,
    LeaveAsked,
    ListSessions,
    Loaded,
    LoadFailed,
    LoadModel,
    LoadProgress,
    Measured,
    Message,
    ModelInfo,
    SessionInfo,
    Sessions,
    Stats,
    Timings,
    Token,
    ToWorker,
    Usage,
    Welcome,
)

OTHER_VERSION = "0.0.1-other"
RSS_BYTES = 1_000_000
"""What it says that it holds."""


def chaos(*arguments: str) -> tuple[str, ...]:
    """The command of a chaos worker."""
    return (sys.executable, "-P", str(Path(__file__)), *arguments)


def spawns(folder: Path) -> list[int]:
    """The pids of all chaos workers that were ever started in a runtime folder."""
    try:
        return [int(line) for line in (folder / "spawns").read_text().split()]
    except FileNotFoundError:
        return []


def hellos(folder: Path) -> list[tuple[int, str]]:
    """Limit and folder of snapshots of every hello that chaos workers heard in a runtime folder."""
    try:
        lines = [line.partition(" ") for line in (folder / "hellos").read_text().splitlines()]
    except FileNotFoundError:
        return []
    return [(int(limit), path) for limit, _, path in lines]


def flood(size: int) -> None:
    """Print that many bytes on stderr as fast as they are taken."""
    block = (b"llama_something: all work and no play makes jack a dull boy\n" * 1_100)[:65_536]
    while size > 0:
        size -= os.write(2, block)


def die(how: str) -> None:
    """End without a goodbye."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), {"abort": signal.SIGABRT, "kill": signal.SIGKILL}.get(how, signal.SIGSEGV))


class Job:
    """One request of one client."""

    def __init__(self, client: Client, request: FimRequest | ChatRequest) -> None:
        text = request.prefix if isinstance(request, FimRequest) else request.messages[-1].content
        self.words = dict(word.partition("=")[::2] for word in text.split())
        self.client = client
        self.request = request
        self.made = 0
        self.due = 0.0

    @property
    def is_finished(self) -> bool:
        """Whether all its tokens are made."""
        return self.request.max_tokens == 0 or self.made >= int(self.words.get("tokens", "3"))

    def compute(self) -> None:
        """One token, or the end."""
        if "garbage" in self.words:
            self.client.garbage(b"\xff\xff\xff\xffgarbage")
        elif self.made + 1 == int(self.words.get("die", "0")):
            die(self.words.get("how", "segv"))

    def answer(self) -> None:
        """Send what was computed."""
        if self.request.max_tokens == 0:  # a prefill
            return
        if self.request.stream:
            self.client.connection.send(Token(id=self.request.id, text=f"t{self.made} ", index=self.made))
        self.made += 1
        self.due = time.monotonic() + float(self.words.get("step", "0")) / 1_000

    def end(self, reason: FinishReason) -> None:
        """Send the end."""
        usage = Usage(prompt_tokens=1, cached_tokens=0, evaluated_tokens=1, completion_tokens=self.made)
        timings = Timings(queue_ms=0, first_token_ms=0, prompt_ms=0, decode_ms=0)
        text = "" if self.request.stream else "".join(f"t{index} " for index in range(self.made))
        self.client.connection.send(
            Done(id=self.request.id, text=text, finish_reason=reason, usage=usage, timings=timings)
        )


class Client:
    """One connection."""

    def __init__(self, worker: ChaosWorker) -> None:
        self.worker = worker
        self.observes = False
        self.connection: link.Connection[ToWorker] = link.Connection(link.FrameDecoder(ToWorker), self.take, self.lost)
        worker.clients.append(self)

    def lost(self, _: Exception | None) -> None:
        """The client is gone."""
        self.worker.leave(self)

    def take(self, message: Message) -> None:
        """The client said something."""
        self.worker.take(self, message)

    def garbage(self, content: bytes) -> None:
        """Say something that is no frame."""
        transport: Any = self.connection._transport
        transport.write(content)


class ChaosWorker:
    """The whole worker."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder = Path(options.runtime)
        self.flight = FlightWriter(self.folder / f"{options.key}.flight")
        self.clients: list[Client] = []
        self.loading = False
        self.jobs: list[Job] = []
        self.work = asyncio.Event()
        self.path = ""
        self.loaded: Loaded | None = None
        self.used_at = time.monotonic()
        self.sessions: dict[tuple[Client, str], int] = {}
        self.answering: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Listen, adopt the inherited end, compute for ever."""
        path = self.folder / f"{self.options.key}.sock"
        server = await link.listen(path, lambda: Client(self).connection)
        if self.options.fd is not None:
            await link.adopt(socket.socket(fileno=self.options.fd), lambda: Client(self).connection)
        async with server:
            await self.compute()

    async def compute(self) -> None:
        """Batch, compute, answer."""
        while True:
            self.work.clear()
            ready = [job for job in self.jobs if "silent" not in job.words]
            if not ready:
                await self.work.wait()
                continue
            due = [job for job in ready if job.due <= time.monotonic()]
            if not due:
                await asyncio.sleep(max(0.0, min(job.due for job in ready) - time.monotonic()))
                continue
            alone = [job for job in due if job.request.solo]
            batch = alone[:1] or due
            self.flight.begin_call([job.request.fingerprint for job in batch])
            for job in batch:
                job.compute()
            self.flight.end_call()
            for job in batch:
                job.answer()
                if job.is_finished:
                    job.end("stop")
                    self.jobs.remove(job)
                    self.used_at = time.monotonic()
            await asyncio.sleep(0)

    def take(self, client: Client, message: Message) -> None:
        """One message of one client."""
        match message:
            case Hello():
                self.greet(client, message)
            case Drain():
                self.drain(client, message)
            case LoadModel():
                self.load(message)
            case FimRequest() | ChatRequest():
                self.accept(client, message)
            case Cancel():
                for job in [job for job in self.jobs if job.client is client and job.request.id == message.id]:
                    self.jobs.remove(job)
                    job.end("cancelled")
            case GetStats():
                client.connection.send(self.stats(message.id))
            case ListSessions() | CloseSession() | ClearSessions():
                self.forget(client, message)
                self.answering.append(asyncio.create_task(self.answer(client, message.id)))
            case Inspect():
                found = (client, message.session) in self.sessions
                client.connection.send(Inspection(id=message.id, found=found, prompt="[PRE]" if found else ""))
            case _:
                pass

    def greet(self, client: Client, hello: Hello) -> None:
        """Take a hello, and note that of a client."""
        client.observes = hello.observes
        if not hello.observes:
            with (self.folder / "hellos").open("a") as file:
                file.write(f"{hello.snapshot_bytes} {hello.snapshot_dir}\n")
        self.welcome(client)

    @property
    def idle_s(self) -> float:
        """Since the last answer."""
        return 0.0 if self.jobs or self.loaded is None else time.monotonic() - self.used_at

    def drain(self, client: Client, message: Drain) -> None:
        """Ask the clients to leave, if nothing was asked for a while."""
        is_agreed = self.loaded is not None and not self.jobs and self.idle_s >= message.idle_s
        client.connection.send(DrainAnswer(id=message.id, is_agreed=is_agreed))
        if is_agreed:
            for each in self.clients:
                if not each.observes:
                    each.connection.send(LeaveAsked(idle_s=message.idle_s))

    def forget(self, client: Client, message: ListSessions | CloseSession | ClearSessions) -> None:
        """Forget none, one or all sessions of a client."""
        if isinstance(message, CloseSession):
            self.sessions.pop((client, message.session), None)
        elif isinstance(message, ClearSessions):
            self.sessions = {key: tokens for key, tokens in self.sessions.items() if key[0] is not client}

    def welcome(self, client: Client) -> None:
        """Answer a hello."""
        if self.options.at_hello == "garbage":
            client.garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif self.options.at_hello != "silent":
            version = OTHER_VERSION if self.options.at_hello == "version" else __version__
            client.connection.send(Welcome(protocol=PROTOCOL_VERSION, version=version, pid=os.getpid()))

    def accept(self, client: Client, request: FimRequest | ChatRequest) -> None:
        """Take a request."""
        if request.session:
            self.sessions[client, request.session] = 1
        job = Job(client, request)
        if "flood" in job.words:
            size = int(float(job.words["flood"]))
            threading.Thread(target=flood, args=(size,), daemon=True).start()
        self.jobs.append(job)
        self.work.set()

    async def answer(self, client: Client, number: int) -> None:
        """Answer a question about sessions, when it is time."""
        while self.options.answer_when is not None and not self.options.answer_when.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        client.connection.send(self.list_sessions(client, number))

    def list_sessions(self, client: Client, number: int) -> Sessions:
        """The sessions of one client."""
        infos = tuple(
            SessionInfo(session=name, context="fim", tokens=tokens, busy=False, idle_s=0.0)
            for (owner, name), tokens in self.sessions.items()
            if owner is client
        )
        return Sessions(id=number, sessions=infos)

    def load(self, message: LoadModel) -> None:
        """Pretend to load, once for all clients."""
        self.path = message.path
        if self.loaded is not None:
            self.tell(self.loaded)
        elif not self.loading:
            self.loading = True
            if self.options.at_load == "import":  # the real one has only now begun to import llama.cpp
                sys.stderr.write("ImportError: libggml.so: cannot open shared object file\n")
                sys.stderr.flush()
                die("exit")
            self.flight.set_phase("loading")
            asyncio.get_running_loop().call_later(self.options.load_s, self.finish_load, message)
            self.tell(LoadProgress(fraction=0.5))

    def finish_load(self, message: LoadModel) -> None:
        """The end of the pretended load."""
        match self.options.at_load:
            case "hang":
                return
            case "fail":
                self.tell(LoadFailed(kind="ModelCorrupt", message="llama.cpp says no", data={"line": 1}))
                asyncio.get_running_loop().call_later(0.05, os._exit, 0)
                return
            case "abort":
                self.flight.set_last_words("GGML_ASSERT(n_vocab > 0) failed")
                die("abort")
            case "exit" | "kill" | "segv" as how:
                die(how)
            case _:
                pass
        if message.n_ctx_chat > self.options.most_ctx:
            self.tell(LoadFailed(kind="ModelDoesNotFit", message="failed to allocate the KV cache"))
            asyncio.get_running_loop().call_later(0.05, os._exit, 0)
            return
        self.used_at = time.monotonic()
        self.flight.set_phase("serving")
        self.loaded = Loaded(
            model=ModelInfo(
                name="chaos",
                architecture="llama",
                description="no model at all",
                path=message.path,
                size_bytes=1,
                n_params=1,
                n_vocab=256,
                n_ctx_train=2_048,
                n_layers=1,
                n_embd=1,
                can_infill=not self.options.no_infill,
                fim_order="none" if self.options.no_infill else "psm",
                has_chat_template=True,
                can_cut_tail=True,
            ),
            devices=(),
            n_threads=1,
            n_ctx_fim=message.n_ctx_fim,
            n_ctx_chat=message.n_ctx_chat,
            load_ms=1.0,
            prefill_tokens_per_s=1.0,
            decode_tokens_per_s=1.0,
            llama_build="chaos",
        )
        self.tell(self.loaded)

    def tell(self, message: Message) -> None:
        """Tell all clients."""
        for client in self.clients:
            client.connection.send(message)

    def stats(self, number: int) -> Stats:
        """Say something plausible."""
        return Stats(
            chat_tokens_discarded=7,
            id=number,
            rss_bytes=RSS_BYTES,
            kv_tokens=1,
            kv_cells=2_048,
            queued=0,
            running=len(self.jobs),
            tokens_per_s=1.0,
            last_first_token_ms=1.0,
            n_threads=1,
            clients=sum(not client.observes for client in self.clients),
            model_path=self.path,
            is_loading=self.loaded is None,
            file_bytes=self.options.file_bytes,
            idle_s=self.idle_s,
        )

    def leave(self, client: Client) -> None:
        """Forget a client; with the last one goes the worker."""
        self.clients.remove(client)
        self.jobs = [job for job in self.jobs if job.client is not client]
        if all(each.observes for each in self.clients):
            self.flight.set_phase("stopping")
            os._exit(0)


def measure(weights_bytes: int) -> None:
    """Say what a load would take, as ``botframework worker --measure`` does."""
    sys.stdin.readline()
    sys.stdout.buffer.write(msgspec.json.encode(Measured(weights_bytes=weights_bytes)))


def main() -> None:
    """Start."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--weights", type=int, default=1 << 30, help="what --measure says")
    parser.add_argument("--file-bytes", type=int, default=0, help="of the model's file, as it says")
    parser.add_argument("--most-ctx", type=int, default=1 << 30, help="with a larger chat context no load succeeds")
    parser.add_argument("--key", default="")
    parser.add_argument("--runtime", default="")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--at-spawn", choices=["exit", "segv", "hang", "flood"])
    parser.add_argument("--at-hello", choices=["version", "garbage", "silent"])
    parser.add_argument("--at-load", choices=["exit", "kill", "segv", "abort", "hang", "fail", "import"])
    parser.add_argument("--load-s", type=float, default=0.0)
    parser.add_argument("--answer-when", type=Path, help="a question about sessions is not answered without that file")
    parser.add_argument("--no-infill", action="store_true")
    options = parser.parse_args()
    if options.measure:
        measure(options.weights)
        return
    with (Path(options.runtime) / "spawns").open("a") as file:
        file.write(f"{os.getpid()}\n")
    match options.at_spawn:
        case "exit" | "segv" as how:
            sys.stderr.write("chaos: no such library\n")
            sys.stderr.flush()
            die(how)
        case "hang":
            threading.Event().wait()
        case "flood":
            threading.Thread(target=flood, args=(10**9,), daemon=True).start()
        case _:
            pass
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(ChaosWorker(options).run())


if __name__ == "__main__":
    main()
