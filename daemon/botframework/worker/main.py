"""The worker process: socket in, scheduler, socket out.

Three threads: this one loads and then schedules and computes; the link thread (`worker.clients`) reads and writes; the
watchdog ends the process when a llama.cpp call hangs. A fourth renders and tokenises chats, which may take a while.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import queue
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from botframework import config, process
from botframework.errors import (
    BotframeworkError,
    InvalidRequest,
    ModelCorrupt,
    ModelLoading,
    ServerBusy,
    TemplateError,
)
from botframework.process import logs
from botframework.wire import messages as wire
from botframework.wire.flight import FlightWriter
from botframework.worker.clients import ClientLink, Clients
from botframework.worker.requests import Figures, Job
from botframework.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.worker.engine import Engine
    from botframework.worker.residence import Residence
    from botframework.worker.scheduler import Scheduler

Question = wire.ListSessions | wire.CloseSession | wire.ClearSessions | wire.Inspect

log = logging.getLogger(__name__)

MAX_UNANSWERED = 64
"""Requests of all connections together; a request that waits behind more will not be wanted any more."""
MAX_UNANSWERED_PER_CLIENT = 32
"""Half of it, so that one connection cannot fill the queue alone."""
RETRY_AFTER_MS = 250
"""About the time of one short completion."""
PROGRESS_PERIOD_S = 0.1
"""A person sees no more."""
MEMORY_MAX_AGE_S = 0.5
"""Asking a driver for its free memory may cost a millisecond, and a heartbeat comes every two seconds."""


class Worker:
    """Joins connections and scheduler. Methods of `Handler` run in the link thread."""

    def __init__(self, socket_path: Path, flight: FlightWriter) -> None:
        self._flight = flight
        self._clients = Clients(socket_path, self, self._end)
        self._load: wire.LoadModel | None = None
        self._loads: queue.SimpleQueue[wire.LoadModel] = queue.SimpleQueue()
        self._fraction = 0.0
        self._fraction_told_at = 0.0
        self._outcome: wire.Loaded | wire.LoadFailed | None = None
        self._scheduler: Scheduler | None = None
        self._engine: Engine | None = None
        self._residence: Residence | None = None
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._file_bytes = 0
        self._memory: tuple[float, int, tuple[wire.Device, ...]] = (0.0, 0, ())
        """When memory was last measured, our own in bytes, and that of the GPUs."""

    def run(self, adopted: socket.socket | None) -> None:
        """Serve until nobody needs us."""
        self._clients.start(adopted)
        # Only now: importing llama.cpp takes longer than everything before it, and a daemon waits for the socket.
        from botframework.worker import llama
        from botframework.worker.engine import Engine
        from botframework.worker.residence import Residence
        from botframework.worker.scheduler import Scheduler

        llama.initialise(_log_line, self._flight.set_last_words)
        load = self._loads.get()
        self._flight.set_phase("loading")
        watchdog = Watchdog(self._flight)
        try:
            engine = Engine(load, self._progress)
            outcome = engine.describe()
        except BotframeworkError as error:
            self._fail_load(error)
        except Exception as error:
            log.exception("loading failed")
            self._fail_load(ModelCorrupt(f"loading failed: {error}", path=load.path))
        lane = engine.lane("fim")
        watchdog.expect(lane.context.n_batch / engine.prefill_tokens_per_s)
        residence = Residence(engine, load)
        self._engine, self._residence = engine, residence
        self._scheduler = Scheduler(engine, residence, self._flight, watchdog)
        self._clients.each(self.greeted)
        self._flight.set_phase("serving")
        self._outcome = outcome
        self._clients.broadcast(outcome)
        self._scheduler.run()

    # --- the link thread ----------------------------------------------------------------------------------------------

    def received(self, client: ClientLink, message: wire.ToWorker) -> None:
        """Handle one message of a client."""
        match message:
            case wire.LoadModel():
                self._load_asked(client, message)
            case wire.FimRequest() | wire.ChatRequest():
                self._request(client, message)
            case wire.Cancel(id=number):
                job = client.jobs.get(number)
                if job is not None and self._scheduler is not None:
                    self._scheduler.cancel(job)
            case wire.GetStats(id=number):
                client.send(self._stats(client, number))
            case wire.Drain():
                self._drain(client, message)
            case wire.ListSessions() | wire.CloseSession() | wire.ClearSessions() | wire.Inspect():
                self._question(client, message)

    def greeted(self, client: ClientLink) -> None:
        """Use the client's folder for its snapshots; again when it greets again."""
        scheduler, residence, hello = self._scheduler, self._residence, client.hello
        if scheduler is not None and residence is not None and hello is not None:
            scheduler.post(lambda: residence.open_snapshots(client.number, hello.snapshot_dir, hello.snapshot_bytes))

    def caught_up(self) -> None:
        """Let the scheduler look again at a client that was behind."""
        if self._scheduler is not None:
            self._scheduler.wake()

    def gone(self, client: ClientLink) -> None:
        """Forget a connection; what it asked for is of no use any more."""
        scheduler = self._scheduler
        if scheduler is not None:
            for job in list(client.jobs.values()):
                scheduler.cancel(job)
            scheduler.post(lambda: scheduler.client_gone(client))

    def _load_asked(self, client: ClientLink, load: wire.LoadModel) -> None:
        self._clients.is_wanted()
        if self._load is None:
            self._load = load
            with contextlib.suppress(OSError):  # Loading will say what is wrong with it.
                self._file_bytes = Path(load.path).stat().st_size
            self._loads.put(load)
        elif load != self._load:
            differing = [name for name in load.__struct_fields__ if getattr(load, name) != getattr(self._load, name)]
            client.send(
                wire.LoadFailed(
                    kind=InvalidRequest.__name__,
                    message=f"this worker was started with other load parameters: {', '.join(differing)} differ",
                )
            )
            return
        if self._outcome is None:
            client.awaits_model = True
            return
        client.send(self._outcome)
        if isinstance(self._outcome, wire.LoadFailed):
            client.connection.close()

    def _request(self, client: ClientLink, request: wire.FimRequest | wire.ChatRequest) -> None:
        refusal = self._refusal(client, request)
        if refusal is not None:
            kind, message, data = type(refusal).__name__, refusal.message, refusal.data
            client.refuse(wire.Failure(id=request.id, kind=kind, message=message, data=data))
            return
        scheduler, engine = self._scheduler, self._engine
        assert scheduler is not None and engine is not None  # noqa: S101, PT018 - or it would have been refused
        job = Job(client, request)
        client.jobs[request.id] = job
        self._clients.is_wanted()
        if isinstance(request, wire.ChatRequest):
            self._preparing.submit(_prepare_chat, job, request, engine, scheduler)
        else:
            scheduler.post(lambda: scheduler.submit(job))
            scheduler.hasten(job)

    def _refusal(self, client: ClientLink, request: wire.GenerateRequest) -> BotframeworkError | None:
        if self._scheduler is None:
            return ModelLoading("the model is still loading", fraction=self._fraction)
        if request.id in client.jobs:
            return InvalidRequest(f"request id {request.id} is in use")
        if len(client.jobs) >= MAX_UNANSWERED_PER_CLIENT or self._clients.unanswered >= MAX_UNANSWERED:
            return ServerBusy("too many requests are waiting", retryAfterMs=RETRY_AFTER_MS)
        return None

    def _question(self, client: ClientLink, question: Question) -> None:
        scheduler, residence, number = self._scheduler, self._residence, question.id
        if scheduler is None or residence is None:
            is_inspect = isinstance(question, wire.Inspect)
            client.send(
                wire.Inspection(id=number, found=False) if is_inspect else wire.Sessions(id=number, sessions=())
            )
            return
        if len(client.questions) >= MAX_UNANSWERED_PER_CLIENT:
            busy = ServerBusy("too many questions are waiting", retryAfterMs=RETRY_AFTER_MS)
            client.refuse(wire.Failure(id=number, kind=type(busy).__name__, message=busy.message, data=busy.data))
            return
        client.questions.append(number)
        if isinstance(question, wire.CloseSession | wire.ClearSessions):
            # Here, because a chat that is being prepared is not with the scheduler yet.
            for job in list(client.jobs.values()):
                if isinstance(question, wire.ClearSessions) or job.request.session == question.session:
                    scheduler.cancel(job)
        scheduler.post(lambda: _answer(scheduler, residence, client, question))

    def _drain(self, client: ClientLink, message: wire.Drain) -> None:
        is_used = self._scheduler is None or self._clients.unanswered > 0
        is_agreed = not is_used and self._clients.idle_s >= message.idle_s
        client.send(wire.DrainAnswer(id=message.id, is_agreed=is_agreed))
        if is_agreed:
            log.info("another daemon needs the memory: the clients are asked to leave")
            self._clients.ask_to_leave(message.idle_s)

    def _stats(self, client: ClientLink, number: int) -> wire.Stats:
        figures = self._scheduler.figures(client) if self._scheduler is not None else Figures()
        measured_at, rss_bytes, devices = self._memory
        if time.monotonic() - measured_at > MEMORY_MAX_AGE_S:
            rss_bytes = process.rss_bytes()
            if self._outcome is not None:
                from botframework.worker import llama

                devices = tuple(device for device in llama.devices() if device.kind != "cpu")
            self._memory = (time.monotonic(), rss_bytes, devices)
        return wire.Stats(
            id=number,
            rss_bytes=rss_bytes,
            clients=len(self._clients),
            devices=devices,
            model_path=self._load.path if self._load is not None else "",
            is_loading=self._scheduler is None,
            file_bytes=self._file_bytes,
            idle_s=self._clients.idle_s if self._scheduler is not None else 0.0,
            **msgspec.structs.asdict(figures),
        )

    def _end(self) -> NoReturn:
        self._flight.set_phase("stopping")
        self._clients.unlink()
        os._exit(0)

    # --- the main thread ----------------------------------------------------------------------------------------------

    def _progress(self, fraction: float) -> bool:
        self._fraction = fraction
        now = time.monotonic()
        if now - self._fraction_told_at >= PROGRESS_PERIOD_S or fraction >= 1.0:
            self._fraction_told_at = now
            self._clients.broadcast(wire.LoadProgress(fraction=fraction))
        return True

    def _fail_load(self, error: BotframeworkError) -> NoReturn:
        self._outcome = wire.LoadFailed(kind=type(error).__name__, message=error.message, data=error.data)
        self._clients.broadcast(self._outcome, then_end=True)
        while True:  # The link thread ends the process with the last connection.
            time.sleep(60)


def _answer(scheduler: Scheduler, residence: Residence, client: ClientLink, question: Question) -> None:
    """Answer a question about sessions; in the scheduling thread."""
    client.questions.popleft()
    match question:
        case wire.Inspect(session=name):
            client.send(residence.inspect((client.number, name), question.id))
            return
        case wire.CloseSession(session=name):
            scheduler.close_session(client, name)
            client.send(wire.Sessions(id=question.id, sessions=tuple(residence.sessions_in_memory(client.number))))
            return
        case wire.ClearSessions():
            scheduler.clear_sessions(client)
        case wire.ListSessions():
            pass
    client.send(wire.Sessions(id=question.id, sessions=tuple(residence.sessions(client.number))))


def _prepare_chat(job: Job, request: wire.ChatRequest, engine: Engine, scheduler: Scheduler) -> None:
    """Render and tokenise a chat, then hand it to the scheduler; in the preparing thread."""
    try:
        if not job.cancelled:
            formatter = engine.chat_formatter
            prompt = formatter.prompt(request.messages, budget=engine.chat_budget(request), trim=request.trim)
            job.stop_also(formatter.extra_stops)
            job.prompt, job.dropped_messages = prompt.tokens, prompt.dropped_messages
    except BotframeworkError as error:
        job.failure = error
    except Exception as error:
        log.exception("a chat could not be prepared")
        job.failure = TemplateError(f"the chat could not be prepared: {error}")
    scheduler.post(lambda: scheduler.submit(job))
    scheduler.hasten(job)


def _log_line(level: int, line: str) -> None:
    logging.getLogger("botframework.llama_cpp").log(level, "%s", line)


def main(arguments: Sequence[str]) -> None:
    """Run the worker of ``botframework worker --key KEY --runtime DIR [--fd N]``, or ``--measure`` for one question."""
    if "--measure" in arguments:
        from botframework.worker.measure import main as measure

        measure()
    parser = argparse.ArgumentParser(prog="botframework worker", description="Serves one model; started by the daemon.")
    parser.add_argument("--key", required=True, help="names the model and its load parameters; 16 hex digits")
    parser.add_argument("--runtime", required=True, type=Path, help="folder of the socket and the flight recorder")
    parser.add_argument("--fd", type=int, help="one end of a socket pair whose other end the starting daemon holds")
    parser.add_argument("--log-level", default="info")
    options = parser.parse_args(arguments)
    logs.set_up(options.log_level, config.log_dir(), to_stderr=False)
    flight = FlightWriter(options.runtime / f"{options.key}.flight")
    adopted = socket.socket(fileno=options.fd) if options.fd is not None else None
    Worker(options.runtime / f"{options.key}.sock", flight).run(adopted)
