"""The daemon: binds methods to features, and lives from the first byte to the last.

This is the one place that knows which method is answered by whom.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder, get_capability
from pygls.lsp.server import LanguageServer

from botframework import __version__
from botframework.errors import BotframeworkError
from botframework.lsp.chat import Chat
from botframework.lsp.commands import Commands
from botframework.lsp.completion import Completion
from botframework.lsp.configuration import Configuration
from botframework.lsp.documents import Documents
from botframework.lsp.edit import Edit
from botframework.lsp.generate import House
from botframework.lsp.messages import ACCEPTED_COMMAND, PROTOCOL_VERSION
from botframework.lsp.models import Models
from botframework.lsp.protocol import DaemonProtocol, Phase
from botframework.lsp.pulse import Pulse, Tally
from botframework.lsp.transport import StdinReader, StdoutPump
from botframework.process import LAST_RESORT_S, exit_now, last_resort_exit, on_signals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from botframework import config
    from botframework.lsp.generate import RouterFactory, RouterLike
    from botframework.process import ParentWatch
    from botframework.process.logs import Logs

logger = logging.getLogger(__name__)

ROUTER_STOP_S = 1.2
"""For the worker to end by itself; the router waits 1.0 s for one that only we used."""
DRAIN_S = 0.3
"""For the client to take the last answers."""
SHUTDOWN_ANSWERS_S = 0.3
"""For cancelled handlers to give their answers before ``shutdown`` gets its own."""
SIGNAL_LAST_RESORT_S = 1.75
"""After a signal the process is promised to be gone in 1.8 s, inside an editor's 2.0 s."""


class DaemonServer(LanguageServer):
    """pygls's server, without its pop-ups."""

    protocol: DaemonProtocol

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log what pygls would show to the user."""
        logger.error("%s: %s", getattr(source, "__name__", "error"), error)


def make_router(*args: Any, **kwargs: Any) -> RouterLike:
    """The real one; imported after ``initialize`` was answered, for the sake of a fast start."""
    from botframework.manager.router import Router

    router: RouterLike = Router(*args, **kwargs)
    return router


class Daemon:
    """Everything that one editor window has of us. Made inside a running event loop."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        router_factory: RouterFactory = make_router,
        watch: ParentWatch | None = None,
        logs: Logs | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._configuration = configuration
        self._router_factory = router_factory
        self._watch = watch
        self._logs = logs
        self.server = DaemonServer("botframework", __version__, protocol_cls=DaemonProtocol)
        self._protocol = self.server.protocol
        self._house = House(configuration.settings)
        self._documents = Documents()
        tally = Tally()
        self._pulse = Pulse(self._protocol, self._house, tally)
        self._house.on_work = self._pulse.changed
        self._completion = Completion(self._protocol, self._house, self._documents, tally)
        self._chat = Chat(self._protocol, self._house)
        self._edit = Edit(self._protocol, self._house, self._documents)
        self._pulse.is_paused = lambda: self._completion.is_paused
        self._commands = Commands(self._house, self._pulse, self._completion, self._documents)
        self._models = Models(self._protocol, self._house, self._pulse)
        self._client = types.ClientCapabilities()
        self._stopped: asyncio.Future[int] = self._loop.create_future()
        self._background: set[asyncio.Task[Any]] = set()
        self._call_off: Callable[[], None] | None = None
        self._armed_by: Any = None
        self._broken = False
        self._bind()

    # --- which method is answered by whom -----------------------------------------------------------------------------

    def _bind(self) -> None:
        completion, commands = self._completion, self._commands
        features: dict[str, Callable[[Any], Any]] = {
            types.INITIALIZE: self._initialize,
            types.INITIALIZED: self._initialized,
            types.SHUTDOWN: self._shutdown,
            types.EXIT: self._exit,
            types.SET_TRACE: _ignore,
            types.WORKSPACE_DID_CHANGE_CONFIGURATION: self._did_change_configuration,
            types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS: _ignore,
            types.WINDOW_WORK_DONE_PROGRESS_CANCEL: lambda params: self._protocol.cancel_work(params.token),
            types.WORKSPACE_EXECUTE_COMMAND: commands.execute,
            types.TEXT_DOCUMENT_DID_OPEN: self._did_open,
            types.TEXT_DOCUMENT_DID_CHANGE: self._did_change,
            types.TEXT_DOCUMENT_DID_CLOSE: self._did_close,
            "textDocument/didShowCompletion": completion.did_show,
            "textDocument/didPartiallyAcceptCompletion": completion.did_partially_accept,
            "botframework/didVisit": commands.did_visit,
            "botframework/complete": completion.complete,
            "botframework/chat": self._chat.answer,
            "botframework/edit": self._edit.answer,
            "botframework/status": commands.status,
            "botframework/inspect": commands.inspect,
            "botframework/pause": commands.pause,
            "botframework/resume": commands.resume,
            "botframework/restart": commands.restart,
            "botframework/models/list": self._models.list_models,
            "botframework/models/load": self._models.load,
            "botframework/models/unload": self._models.unload,
            "botframework/models/recommend": self._models.recommend,
            "botframework/models/pull": self._models.pull,
            "botframework/models/remove": self._models.remove,
            "botframework/sessions/list": commands.list_sessions,
            "botframework/sessions/close": commands.close_session,
            "botframework/sessions/clear": commands.clear_sessions,
        }
        for method, handler in features.items():
            self.server.feature(method)(_function(handler))
        # Without these options pygls does not advertise the feature, and VS Code never asks.
        inline = self.server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
        inline(_function(completion.inline))

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, stdin: int, stdout: int) -> int:
        """Serve the client on these descriptors until the end; the exit code is returned."""
        pump = StdoutPump(
            stdout, on_behind=self._pause, on_caught_up=self._resume_from_thread, on_broken=self._leave_at_once
        )
        self._protocol.pump = pump
        reader = StdinReader(
            stdin,
            self._loop,
            deliver=self._deliver,
            peek=self._peek,
            on_eof=self._on_eof,
            leave=self._leave_at_once,
        )
        on_signals(self._on_signal)
        pump.start()
        reader.start()
        code = await self._stopped
        await self._close(pump)
        return code

    async def _close(self, pump: StdoutPump) -> None:
        self._pulse.stop()
        self._protocol.cancel_all()
        if self._house.router is not None:
            with contextlib.suppress(TimeoutError, BotframeworkError):
                async with asyncio.timeout(ROUTER_STOP_S):
                    await self._house.router.stop()
        await asyncio.sleep(0)  # Cancelled handlers give their answers in the loop's next round.
        pump.drain(DRAIN_S)

    @property
    def _code(self) -> int:
        """The exit code that the LSP prescribes: 0 only after ``shutdown``."""
        return 0 if self._protocol.phase is Phase.STOPPING and not self._broken else 1

    def _stop(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(self._code)

    def _leave_at_once(self) -> None:
        """From any thread: nobody is there any more, or nothing can be done any more."""
        exit_now(self._code)

    def _on_eof(self) -> None:
        self._stop()

    def _on_signal(self, number: int) -> None:
        last_resort_exit(SIGNAL_LAST_RESORT_S, 128 + number)
        self._loop.call_soon_threadsafe(self._stop)

    def _peek(self, value: Any) -> None:
        """In the reader's thread: see a farewell even when the loop is stuck, and make sure that it comes true."""
        if isinstance(value, dict) and value.get("method") in ("shutdown", "exit") and self._call_off is None:
            self._armed_by = value
            self._call_off = last_resort_exit(LAST_RESORT_S)
        elif getattr(value, "fatal", False):
            self._broken = True

    def _deliver(self, value: Any) -> None:
        self._protocol.receive(value)
        if value is self._armed_by and self._call_off is not None:
            self._armed_by = None
            if self._protocol.phase is not Phase.STOPPING and not self._stopped.done():
                self._call_off()  # A shutdown that was refused.
                self._call_off = None

    def _pause(self) -> None:
        if self._house.router is not None:
            self._house.router.pause_reading()

    def _resume(self) -> None:
        if self._house.router is not None:
            self._house.router.resume_reading()

    def _resume_from_thread(self) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            self._loop.call_soon_threadsafe(self._resume)

    def _in_background(self, work: Awaitable[Any], what: str) -> None:
        task = asyncio.ensure_future(_logged(work, what))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # --- life cycle ---------------------------------------------------------------------------------------------------

    def _initialize(self, params: types.InitializeParams) -> types.InitializeResult:
        self._client = params.capabilities
        self._configuration.take_initialize(params)
        if params.process_id is not None and self._watch is not None:
            self._watch.add(params.process_id)
        builder = ServerCapabilitiesBuilder(
            self._client,
            set(self._protocol.fm.features),
            self._protocol.fm.feature_options,
            [ACCEPTED_COMMAND],
            types.TextDocumentSyncKind.Incremental,
            None,
            types.PositionEncodingKind.Utf16,
        )
        capabilities: types.ServerCapabilities = builder.build()  # type: ignore[no-untyped-call]
        capabilities.experimental = {"botframework": {"protocolVersion": PROTOCOL_VERSION}}
        self._protocol.phase = Phase.RUNNING
        # The answer is queued when this function returns; what follows may take its time.
        self._loop.call_soon(self._begin)
        return types.InitializeResult(capabilities, types.ServerInfo(self.server.name, self.server.version))

    def _begin(self) -> None:
        """Make the router and begin to load."""
        self._use_settings()
        experimental = self._client.experimental
        self._pulse.wants_server_status = (
            experimental.get("serverStatusNotification") is True if isinstance(experimental, dict) else False
        )
        try:
            router = self._router_factory(
                self._house.settings,
                root_uri=self._configuration.root_uri,
                on_change=self._pulse.changed,
                on_ready=self._pulse.ready,
                on_progress=self._pulse.loading.report,
            )
        except Exception as error:
            logger.exception("the router cannot be made")
            if not isinstance(error, BotframeworkError):
                error = BotframeworkError(f"internal error: {type(error).__name__}")
            self._house.fail(error)
            self._tell_user(str(error))
        else:
            self._house.open(router)
            self._in_background(router.start(), "starting the router")
        self._pulse.start()

    def _initialized(self, _params: Any) -> None:
        supported = get_capability(self._client, "window.work_done_progress", False)
        self._pulse.loading.is_supported = supported is True
        self._ask_settings()

    def _did_change_configuration(self, params: types.DidChangeConfigurationParams) -> None:
        if get_capability(self._client, "workspace.configuration", False):
            self._ask_settings()
        elif isinstance(params.settings, dict):
            self._configuration.take_client_settings(params.settings.get("botframework"))
            self._use_settings()

    def _ask_settings(self) -> None:
        if get_capability(self._client, "workspace.configuration", False):
            self._in_background(self._fetch_settings(), "workspace/configuration")

    async def _fetch_settings(self) -> None:
        await self._configuration.ask_client(self._protocol)
        self._use_settings()

    def _use_settings(self) -> None:
        self._house.settings = self._configuration.settings
        if self._house.router is not None:
            self._in_background(self._house.router.update(self._house.settings), "taking over settings")
        if self._logs is not None:
            self._logs.set_level(self._house.settings.log.level)
        self._configuration.tell_problems(self._protocol)

    def _shutdown(self, _params: Any) -> Awaitable[None]:
        self._protocol.phase = Phase.STOPPING
        self._pulse.stop()
        tasks = self._protocol.cancel_all()
        if self._house.router is not None:
            self._in_background(self._house.router.stop(), "stopping the router")
        return _after(tasks)

    def _exit(self, _params: Any) -> None:
        self._stop()

    # --- documents ----------------------------------------------------------------------------------------------------

    def _did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        item = params.text_document
        self._edit.did_close(item.uri)  # Opened once more without a close: its ranges are another document's.
        self._documents.open(item.uri, item.version, item.text)
        self._completion.did_open(params)
        self._commands.did_open(item.uri)

    def _did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        self._documents.change(document.uri, document.version, params.content_changes)
        self._edit.did_change(params)
        self._completion.did_change(params)

    def _did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        self._documents.close(uri)
        self._edit.did_close(uri)
        self._completion.did_close(uri)
        self._commands.did_close(uri)

    def _tell_user(self, text: str) -> None:
        message = {"type": types.MessageType.Error.value, "message": f"botframework: {text}"}
        self._protocol.tell(types.WINDOW_LOG_MESSAGE, message)


def _ignore(_params: Any) -> None:
    """Methods that need no action but are part of a normal session."""


def _function(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a function of it: pygls puts attributes on what it registers, which bound methods do not allow."""

    def call(params: Any) -> Any:
        return handler(params)

    return call


async def _after(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Let cancelled handlers come to their end, but do not wait for a stubborn one."""
    waiting = list(tasks)
    if waiting:
        await asyncio.wait(waiting, timeout=SHUTDOWN_ANSWERS_S)


async def _logged(work: Awaitable[Any], what: str) -> None:
    try:
        await work
    except BotframeworkError as error:
        logger.debug("%s: %s", what, error)
    except Exception:
        logger.exception("%s failed", what)


def serve(
    stdin: int,
    stdout: int,
    layers: Iterable[config.Layer] = (),
    problems: Iterable[config.Problem] = (),
    *,
    router_factory: RouterFactory = make_router,
    watch: ParentWatch | None = None,
    logs: Logs | None = None,
) -> int:
    """Run a daemon on two descriptors and end the process with its exit code."""

    async def main() -> int:
        configuration = Configuration(layers, problems)
        daemon = Daemon(configuration, router_factory=router_factory, watch=watch, logs=logs)
        code = await daemon.run(stdin, stdout)
        if logs is not None:
            logs.flush()
        # Not by returning: asyncio would wait for threads that read a slow disk, and the reader's thread waits for
        # bytes that will not come. Nothing is left that an orderly end would do.
        return exit_now(code)

    return asyncio.run(main())
