"""JSON-RPC and the LSP's life cycle: which message may come when, and one answer to every request.

pygls keeps the registry of features, the capabilities and the types; what it leaves open (requests before
``initialize`` and after ``shutdown``, duplicate ids, cancels, own parameters) is decided here. Everything in this
module runs in the event loop.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import itertools
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from lsprotocol import types
from pygls.protocol import LanguageServerProtocol

from botframework.errors import (
    BotframeworkError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    RequestCancelled,
    RequestSuperseded,
    ServerBusy,
    ServerNotInitialized,
)
from botframework.lsp.framing import Fault
from botframework.lsp.messages import METHODS, read_params
from botframework.lsp.transport import encode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from botframework.lsp.transport import StdoutPump

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 1_024
"""Requests under way; an editor has a handful."""
BUSY_RETRY_MS = 250
CANCEL_MEMORY_S = 1.0
"""How long a cancel waits for its request: the LSP lets clients reorder their queues."""
MAX_REMEMBERED_CANCELS = 1_024
"""As many as requests under way: a client that sends only cancels must not fill the memory."""
MAX_ID = 2**63
"""Integer ids are kept as 64-bit numbers."""
MAX_SHOWN_CHARS = 200
"""Of anything the client sent, when a message repeats it."""

_IN_RANGE = re.compile(r"\w+ should be in range \[[-\d:]+\]")
"""What lsprotocol says of a number."""

Id = int | str


class Phase(enum.Enum):
    """Where in its life the server is."""

    WAITING = "waiting for initialize"
    RUNNING = "running"
    STOPPING = "shut down"


@dataclass(slots=True, eq=False)
class _Request:
    """A request that has not been answered."""

    method: str
    task: asyncio.Future[Any]
    cancelled_by_client: bool = False


class DaemonProtocol(LanguageServerProtocol):
    """Takes decoded messages, calls the registered features, and writes answers to the pump."""

    def __init__(self, server: Any, converter: Any) -> None:
        super().__init__(server, converter)
        self.phase = Phase.WAITING
        self.pump: StdoutPump | None = None
        self._in_flight: dict[Id, _Request] = {}
        self._cancels: dict[Id, float] = {}
        """Ids whose cancel came before their request, and when."""
        self._asked: dict[int, asyncio.Future[Any]] = {}
        """Our own requests to the client."""
        self._next_id = itertools.count(1)
        self._works: dict[Id, asyncio.Future[Any]] = {}
        """Tasks of requests whose progress the client shows, by its token."""

    def _register_builtin_features(self) -> None:
        """None of pygls's own: `server` binds every method, so that there is one place to look."""

    # --- incoming -----------------------------------------------------------------------------------------------------

    def receive(self, value: Any) -> None:
        """Take one message: a decoded JSON value, or the `Fault` that came in its place."""
        if isinstance(value, Fault):
            self._refuse(None, value.code, value.message)
        elif isinstance(value, list):
            self._refuse_message(None, "batches are not part of the LSP")
        elif not isinstance(value, dict):
            self._refuse_message(None, "a message must be an object")
        elif "method" in value:
            self._receive_call(value)
        elif "id" in value and ("result" in value or "error" in value):
            self._receive_answer(value)
        else:
            self._refuse_message(_id_of(value), "neither a method nor an answer")

    def _receive_call(self, value: dict[str, Any]) -> None:
        method = value["method"]
        is_request = "id" in value
        request_id = _id_of(value)
        if is_request and request_id is None:
            self._refuse_message(None, "an id must be a string or a 64-bit integer")
        elif not isinstance(method, str) or value.get("jsonrpc") != self.VERSION:
            self._refuse_message(request_id, 'method must be a string and jsonrpc must be "2.0"')
        elif request_id is not None:
            self._handle_call(request_id, method, value.get("params"))
        else:
            self._handle_notice(method, value.get("params"))

    def _handle_call(self, request_id: Id, method: str, params: Any) -> None:
        """Answer a request, at once or when its handler is done."""
        try:
            self._admit(request_id, method)
            result = self._call(method, params)
        except Exception as error:  # noqa: BLE001 - a handler must never cost the stream
            self._answer_error(request_id, method, error)
        else:
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(result)
                request = _Request(method, task)
                self._in_flight[request_id] = request
                task.add_done_callback(lambda _: self._finish(request_id, request))
            else:
                self._answer(request_id, result)

    def _admit(self, request_id: Id, method: str) -> None:
        """Refuse what the life cycle forbids."""
        if request_id in self._in_flight:
            raise InvalidRequest("this id belongs to a request that is still being worked on")
        cancelled_at = self._cancels.pop(request_id, None)
        if self.phase is Phase.STOPPING:
            raise InvalidRequest("the server was shut down")
        if method == types.INITIALIZE:
            if self.phase is not Phase.WAITING:
                raise InvalidRequest("initialize was sent before")
        elif self.phase is Phase.WAITING:
            raise ServerNotInitialized("initialize must be the first request")
        elif cancelled_at is not None and time.monotonic() - cancelled_at <= CANCEL_MEMORY_S:
            raise RequestCancelled("cancelled by the client")
        if len(self._in_flight) >= MAX_IN_FLIGHT and method != types.SHUTDOWN:
            raise ServerBusy(f"{MAX_IN_FLIGHT} requests are being worked on", retryAfterMs=BUSY_RETRY_MS)

    def _handle_notice(self, method: str, params: Any) -> None:
        """Carry out a notification; nothing is ever answered."""
        if method == types.CANCEL_REQUEST:
            if isinstance(params, dict) and (request_id := _id_of(params)) is not None:
                self._cancel(request_id)
            return
        if self.phase is not Phase.RUNNING and method != types.EXIT:
            return
        try:
            self._call(method, params)
        except MethodNotFound:
            logger.debug("an unknown notification was ignored")
        except InvalidParams as error:
            logger.warning("a %s notification was ignored: %s", method[:MAX_SHOWN_CHARS], error.message)
        except Exception:
            logger.exception("a %s notification failed", method[:MAX_SHOWN_CHARS])

    def _call(self, method: str, params: Any) -> Any:
        """Find the handler, give the parameters their type, and call it."""
        handler: Callable[[Any], Any] | None = self.fm.features.get(method)
        if handler is None:
            raise MethodNotFound(f"unknown method {method[:MAX_SHOWN_CHARS]!r}")
        own = METHODS.get(method)
        if own is not None:
            return handler(read_params(params, own.params))
        kind: Any = types.METHOD_TO_TYPES.get(method, (None, None, None))[2]
        if kind is None:
            return handler(params)
        try:
            structured: Any = self._converter.structure({} if params is None else params, kind)
        except RecursionError:
            raise InvalidParams(f"{method}: parameters are nested too deeply") from None
        except Exception as error:  # noqa: BLE001 - cattrs raises what the hooks of lsprotocol raise
            raise InvalidParams(f"{method} {_reason(error)}") from None
        return handler(structured)

    def _cancel(self, request_id: Id) -> None:
        request = self._in_flight.get(request_id)
        if request is not None:
            request.cancelled_by_client = True
            request.task.cancel()
        elif self.phase is Phase.RUNNING:
            while len(self._cancels) >= MAX_REMEMBERED_CANCELS:
                del self._cancels[next(iter(self._cancels))]
            self._cancels[request_id] = time.monotonic()

    def begin_work(self, token: Id) -> None:
        """The running task, which answers a request, shows its progress under this token."""
        task = asyncio.current_task()
        if task is not None:
            self._works[token] = task

    def end_work(self, token: Id) -> None:
        """Its progress is over."""
        if self._works.get(token) is asyncio.current_task():
            del self._works[token]

    def cancel_work(self, token: Id) -> None:
        """The user stopped it beside its progress: as good as a cancel of the request."""
        task = self._works.get(token)
        for request_id, request in self._in_flight.items():
            if request.task is task:
                self._cancel(request_id)
                return

    def cancel_all(self) -> list[asyncio.Future[Any]]:
        """The server stops: every request under way is answered, none goes on."""
        tasks = [request.task for request in self._in_flight.values()]
        for task in tasks:
            task.cancel()
        return tasks

    # --- answers ------------------------------------------------------------------------------------------------------

    def _finish(self, request_id: Id, request: _Request) -> None:
        """A handler is done: give the one answer."""
        del self._in_flight[request_id]
        if request.task.cancelled():
            if request.cancelled_by_client:
                self._answer_error(request_id, request.method, RequestCancelled("cancelled by the client"))
            else:
                self._answer_error(request_id, request.method, RequestSuperseded("the server cancelled the request"))
            return
        error = request.task.exception()
        if error is None:
            self._answer(request_id, request.task.result())
        elif isinstance(error, RequestCancelled) and not request.cancelled_by_client:
            # -32800 would tell the client that it asked for this.
            self._answer_error(request_id, request.method, RequestSuperseded(error.message))
        else:
            self._answer_error(request_id, request.method, error)

    def _answer(self, request_id: Id, result: Any) -> None:
        try:
            body = encode_json({"jsonrpc": self.VERSION, "id": request_id, "result": self._plain(result)})
        except Exception as error:  # noqa: BLE001 - the request must be answered all the same
            self._answer_error(request_id, "an answer", error)
        else:
            self._write(body)

    def _answer_error(self, request_id: Id, method: str, error: BaseException) -> None:
        if not isinstance(error, BotframeworkError):
            logger.error("%s failed", method[:MAX_SHOWN_CHARS], exc_info=error)
            error = BotframeworkError(f"internal error: {type(error).__name__}; the log tells more")
        self._refuse(request_id, error.code, error.message, _data(error))

    def _refuse_message(self, request_id: Id | None, words: str) -> None:
        """It is no request; one that has an id all the same gets an answer like any other."""
        error = InvalidRequest(words)
        self._refuse(request_id, error.code, words, None if request_id is None else _data(error))

    def _refuse(self, request_id: Id | None, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        error = {"code": code, "message": message} | ({"data": data} if data else {})
        self._write(encode_json({"jsonrpc": self.VERSION, "id": request_id, "error": error}, enc_hook=str))

    # --- outgoing -----------------------------------------------------------------------------------------------------

    def tell(self, method: str, params: Any, replaces: Hashable = None) -> None:
        """Send a notification; with ``replaces``, in the place of a queued one of that key."""
        message = {"jsonrpc": self.VERSION, "method": method, "params": self._plain(params)}
        self._write(encode_json(message), replaces)

    def stream(self, token: int | str, text: str, index: int) -> None:
        """Send a piece of streamed text."""
        if self.pump is not None:
            self.pump.send_token(token, text, index)

    async def ask(self, method: str, params: Any, timeout_s: float) -> Any:
        """Send a request to the client and wait for its result.

        Raises
        ------
        TimeoutError
            The client does not answer.
        BotframeworkError
            It answered with an error.
        """
        request_id = next(self._next_id)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = future
        message = {"jsonrpc": self.VERSION, "id": request_id, "method": method, "params": self._plain(params)}
        self._write(encode_json(message))
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            self._asked.pop(request_id, None)

    def _receive_answer(self, value: dict[str, Any]) -> None:
        request_id = value["id"]
        future = self._asked.pop(request_id, None) if type(request_id) is int else None
        if future is None or future.done():
            logger.debug("an answer to no question was ignored")
        elif "error" in value:
            future.set_exception(BotframeworkError(f"the client refused: {str(value['error'])[:MAX_SHOWN_CHARS]}"))
        else:
            future.set_result(value["result"])

    def _send_data(self, data: Any) -> None:
        """Messages that pygls makes messages (``window/logMessage`` and the like) go the same way."""
        if data:
            self._write(encode_json(self._converter.unstructure(data)))

    def _write(self, body: bytes, replaces: Hashable = None) -> None:
        if self.pump is not None:
            self.pump.send(body, replaces)

    def _plain(self, value: Any) -> Any:
        """Make plain values of msgspec structs and of lsprotocol's types."""
        if isinstance(value, msgspec.Struct):
            return msgspec.to_builtins(value)
        if hasattr(value, "__attrs_attrs__"):
            return self._converter.unstructure(value)
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        return value


def _data(error: BotframeworkError) -> dict[str, Any]:
    """What travels beside an error's code and words."""
    return {"kind": type(error).__name__, "retryable": error.retryable, **error.data}


def _id_of(value: dict[str, Any]) -> Id | None:
    """The message's id if it is one that can be answered."""
    found = value.get("id")
    if isinstance(found, str):
        return found
    return found if type(found) is int and -MAX_ID <= found < MAX_ID else None


def _reason(error: BaseException) -> str:
    """The innermost of cattrs's nested complaints and the field it is about, without the client's text."""
    pointer = ""
    while True:
        for note in getattr(error, "__notes__", ()):
            # cattrs's notes are strings that know the name of the attribute or the index in the list.
            words = str(getattr(note, "name", getattr(note, "index", ""))).split("_")
            pointer += "/" + words[0] + "".join(word.capitalize() for word in words[1:])
        if not isinstance(error, BaseExceptionGroup) or not error.exceptions:
            break
        error = error.exceptions[0]
    if isinstance(error, KeyError):
        reason = f"{error} is missing"
    else:
        limits = _IN_RANGE.search(str(error))
        reason = limits[0] if limits is not None else f"cannot be used ({type(error).__name__})"
    return f"{pointer or '/'}: {reason}"[:MAX_SHOWN_CHARS]
