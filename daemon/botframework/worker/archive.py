"""Which sessions are on disk: what is written for each connection, read again, listed and deleted.

Files are written and read by threads of their own (`worker.snapshot_writer`, `worker.recalls`).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from botframework.wire import messages as wire
from botframework.worker import infilling, llama
from botframework.worker.engine import LANES
from botframework.worker.fingerprint import chat_key, chat_keys, context_fingerprint, fim_key, model_fingerprint
from botframework.worker.parked import ParkedState
from botframework.worker.recalls import Recalls
from botframework.worker.snapshot_writer import SnapshotWriter
from botframework.worker.snapshots import SnapshotFolder, sweep_neighbours

if TYPE_CHECKING:
    from collections.abc import Callable

    from botframework.worker.engine import LaneName
    from botframework.worker.inbox import Post
    from botframework.worker.sessions import Owner
    from botframework.worker.window import Window

log = logging.getLogger(__name__)


class Archive:
    """The snapshots of all connections. Used by the scheduling thread only."""

    def __init__(self, load: wire.LoadModel) -> None:
        """Make it for the contexts that were asked for; no connection has a folder yet."""
        self._load = load
        self._writer = SnapshotWriter()
        self._recalls = Recalls()
        self._folders: dict[tuple[int, LaneName], SnapshotFolder] = {}
        self._model: bytes | None = None

    # --- connections --------------------------------------------------------------------------------------------------

    def open(self, connection: int, folder: str, limit_bytes: int) -> None:
        """Use a folder for a connection's snapshots from now on; an empty name: none, and nothing more is written."""
        for lane in LANES:
            old = self._folders.pop((connection, lane), None)
            if old is not None and not folder:
                self._writer.give_up(old)
        if not folder or limit_bytes <= 0:
            return
        if "\0" in folder or not Path(folder).is_absolute():
            log.warning("no snapshots: their folder is not an absolute path")
            return
        try:
            self._model = self._model or model_fingerprint(self._load.path)
        except OSError as error:
            log.warning("no snapshots: %s", error)
            return
        sizes: tuple[tuple[LaneName, int], ...] = (("fim", self._load.n_ctx_fim), ("chat", self._load.n_ctx_chat))
        for lane, n_ctx in sizes:
            parameters = context_fingerprint(
                llama.build(),
                self._model,
                flash_attn=self._load.flash_attn,
                kv_type=self._load.kv_type,
                n_ctx=n_ctx,
                lane=lane,
            )
            made = SnapshotFolder(Path(folder), limit_bytes=limit_bytes, fingerprint=parameters)
            self._folders[connection, lane] = made
        self._writer.run(made.sweep)
        self._writer.run(lambda: sweep_neighbours(made.path))

    def forget_connection(self, connection: int) -> None:
        """A connection is gone; its files stay."""
        self._recalls.give_up_connection(connection)
        for lane in LANES:
            self._folders.pop((connection, lane), None)

    def clear(self, connection: int) -> None:
        """Delete a connection's snapshots."""
        self._recalls.give_up_connection(connection)
        for lane in LANES:
            folder = self._folders.get((connection, lane))
            if folder is not None:
                self._writer.clear(folder)

    def is_open(self, connection: int) -> bool:
        """Whether a connection keeps snapshots."""
        return (connection, "fim") in self._folders

    # --- writing ------------------------------------------------------------------------------------------------------

    def write_document(self, owner: Owner, window: Window, state: ParkedState) -> None:
        """Have a document's state written, to be found by its name."""
        self._write(owner, "fim", fim_key(owner[1]), state, infilling.pack(window))

    def write_chat(self, owner: Owner, request: wire.ChatRequest, state: ParkedState) -> None:
        """Have a conversation's state written, to be found by its content."""
        self._write(owner, "chat", chat_key(request.messages), state, b"")

    def _write(self, owner: Owner, lane: LaneName, key: bytes, state: ParkedState, packed: bytes) -> None:
        folder = self._folders.get((owner[0], lane))
        if folder is not None:
            note = msgspec.msgpack.encode((owner[1], packed))
            self._writer.write(folder, key, ParkedState(state.tokens, state.state, note))

    def hold_writing(self, *, held: bool) -> None:
        """Let the thread that writes stop while somebody waits for an answer, or go on."""
        self._writer.hold(held=held)

    # --- reading ------------------------------------------------------------------------------------------------------

    def read_document(self, owner: Owner, arrived: Callable[[Window, ParkedState], None], post: Post) -> None:
        """Have a document's state read if there is one. What is still waiting to be written arrives at once."""
        folder = self._folders.get((owner[0], "fim"))
        if folder is None:
            return

        def take(state: ParkedState | None) -> None:
            name, packed = _read_note(state.note if state is not None else b"")
            window = infilling.unpack(packed)
            if state is not None and name == owner[1] and window is not None:
                arrived(window, state)

        key = fim_key(owner[1])
        waiting = self._writer.waiting(folder, key)
        if waiting is not None:
            take(waiting)
        elif folder.has(key):
            self._recalls.begin(owner, "fim", lambda: folder.read(key), take, post)

    def read_chat(
        self, owner: Owner, request: wire.ChatRequest, arrived: Callable[[ParkedState], None], post: Post
    ) -> None:
        """Have the state of the longest known beginning of a conversation read."""
        folder = self._folders.get((owner[0], "chat"))
        if folder is None:
            return

        def take(state: ParkedState | None) -> None:
            if state is not None:
                arrived(state)

        self._recalls.begin(owner, "chat", lambda: _longest(folder, request), take, post)

    def is_reading(self, owner: Owner, lane: LaneName) -> bool:
        """Whether a session's state is on its way."""
        return self._recalls.is_under_way(owner, lane)

    def give_up_reading(self, owner: Owner) -> None:
        """A session is closed: what is being read for it does not arrive."""
        self._recalls.give_up(owner)

    # --- telling ------------------------------------------------------------------------------------------------------

    def sessions(self, connection: int) -> list[wire.SessionInfo]:
        """List a connection's sessions on disk; opens their files one by one."""
        return [
            wire.SessionInfo(
                session=_read_note(entry.note)[0],
                context=lane,
                tokens=entry.tokens,
                busy=False,
                idle_s=entry.idle_s,
                where="disk",
                bytes=entry.bytes,
            )
            for lane in LANES
            if (folder := self._folders.get((connection, lane))) is not None
            for entry in folder.described()
        ]


def _longest(folder: SnapshotFolder, request: wire.ChatRequest) -> ParkedState | None:
    """The longest beginning of a conversation that is on disk; in the reading thread."""
    on_disk = {entry.key for entry in folder.entries()}
    for key in reversed(chat_keys(request.messages)):
        if key in on_disk and (state := folder.read(key)) is not None:
            return state
    return None


def _read_note(note: bytes) -> tuple[str, bytes]:
    """The session's name and its packed window; empty if the note is none."""
    try:
        return msgspec.msgpack.decode(note, type=tuple[str, bytes])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return "", b""
