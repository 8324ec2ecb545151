"""Where each session lives: in the KV cache, in the worker's memory, or in a snapshot on disk.

The active documents have cells. What loses its cells is parked in memory, what memory has no room for goes to disk, and
all of it comes back without an evaluation when its document does. Snapshots are also written in pauses, since the end
of an editor leaves no time for it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from botframework.wire import messages as wire
from botframework.worker import infilling, llama
from botframework.worker.fingerprint import chat_key, chat_keys, context_fingerprint, fim_key, model_fingerprint
from botframework.worker.infilling import Infilling
from botframework.worker.parked import ParkedState, ParkedStates
from botframework.worker.snapshot_writer import SnapshotWriter
from botframework.worker.snapshots import SnapshotFolder, sweep_neighbours

if TYPE_CHECKING:
    from botframework.worker.engine import Engine, LaneName
    from botframework.worker.infilling import Plan
    from botframework.worker.sessions import Owner

log = logging.getLogger(__name__)

MIN_SAVED_TOKENS = 128
"""Reading fewer again takes no longer than finding them on disk."""


class LaneParking:
    """The parking of one context's sessions."""

    def __init__(self, residence: Residence, lane: LaneName) -> None:
        self._residence = residence
        self._lane: LaneName = lane

    def put(self, owner: Owner, state: ParkedState) -> None:
        """Keep a session's state."""
        self._residence.park(owner, self._lane, state)

    def take(self, owner: Owner) -> ParkedState | None:
        """Give it back, and forget it."""
        return self._residence.unpark(owner, self._lane)


class Residence:
    """All sessions of a worker. Used by the scheduling thread only."""

    def __init__(self, engine: Engine, load: wire.LoadModel) -> None:
        self._engine = engine
        self._load = load
        self.vocabulary = engine.vocabulary
        self._infilling = (
            Infilling(engine.layout, lambda: engine.budget, engine.vocabulary, engine.tokenize)
            if engine.can_infill
            else None
        )
        self._parked = ParkedStates(load.parked_bytes)
        self._writer = SnapshotWriter()
        self._folders: dict[tuple[int, LaneName], SnapshotFolder] = {}
        self._model: bytes | None = None
        engine.give_parking(lambda lane: LaneParking(self, lane))

    # --- connections --------------------------------------------------------------------------------------------------

    def open_snapshots(self, connection: int, folder: str, limit_bytes: int) -> None:
        """Use a folder for a connection's snapshots from now on; an empty name: none, and nothing more is written."""
        for lane in ("fim", "chat"):
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
        """A connection is gone."""
        self._parked.forget_connection(connection)
        if self._infilling is not None:
            self._infilling.forget_connection(connection)
        for lane in ("fim", "chat"):
            self._folders.pop((connection, lane), None)

    # --- documents ----------------------------------------------------------------------------------------------------

    def plan(self, owner: Owner, request: wire.FimRequest) -> Plan | None:
        """Lay out a completion's prompt; None for one in the background that would cost the session its window.

        Raises
        ------
        ModelCannotInfill
            The model has no FIM tokens.
        """
        if self._infilling is None:
            _ = self._engine.layout  # It says why.
            raise AssertionError
        if owner[1] and self._infilling.known(owner) is None:
            self._recall_document(owner)
        return self._infilling.plan(owner, request, self._tokens_of(owner, "fim"))

    def next_window(self, owner: Owner) -> tuple[Plan, wire.FimRequest] | None:
        """A better window around a document's latest text, and the request that it was last asked with."""
        session = self._infilling.known(owner) if self._infilling is not None else None
        if self._infilling is None or session is None or session.request is None:
            return None
        plan = self._infilling.next_window(owner)
        return (plan, session.request) if plan is not None else None

    def is_current(self, owner: Owner, plan: Plan) -> bool:
        """Whether a window is still that of the document's latest text."""
        return self._infilling is not None and self._infilling.is_current(owner, plan)

    def adopt(self, owner: Owner, plan: Plan) -> None:
        """A window was read in the background and is the document's from now on."""
        if self._infilling is not None:
            self._infilling.adopt(owner, plan)

    def note_reading(self, owner: Owner, cached: int) -> None:
        """A document's prompt is about to be read, and so much of it need not be."""
        session = self._infilling.known(owner) if self._infilling is not None else None
        if session is not None:
            session.cached = cached

    def note_answer(self, owner: Owner, evaluated: int) -> None:
        """A document's request ended, and so many prompt tokens were read since the one before."""
        session = self._infilling.known(owner) if self._infilling is not None else None
        if session is not None:
            session.evaluated = evaluated

    def save_document(self, owner: Owner, *, at_once: bool = False) -> None:
        """Have a document's state written, if it has a good window that is not on disk yet.

        ``at_once``: there will be no other occasion, so a small window will do.
        """
        folder = self._folders.get((owner[0], "fim"))
        session = self._infilling.known(owner) if self._infilling is not None else None
        if folder is None or session is None or session.window is None or session.is_saved:
            return
        if session.window.is_short and not at_once:
            return
        state = self._state_of(owner, "fim")
        if state is not None and len(state.tokens) >= MIN_SAVED_TOKENS:
            note = msgspec.msgpack.encode((owner[1], infilling.pack(session.window)))
            self._writer.write(folder, fim_key(owner[1]), ParkedState(state.tokens, state.state, note))
            session.is_saved = True

    def _recall_document(self, owner: Owner) -> None:
        assert self._infilling is not None  # noqa: S101
        folder = self._folders.get((owner[0], "fim"))
        if folder is None:
            return
        key = fim_key(owner[1])
        state = self._writer.waiting(folder, key) or folder.read(key)
        if state is None:
            return
        name, packed = _read_note(state.note)
        window = infilling.unpack(packed)
        if name == owner[1] and window is not None:
            session = self._infilling.session(owner)
            session.window, session.is_saved = window, True
            self.park(owner, "fim", state)

    # --- chats --------------------------------------------------------------------------------------------------------

    def save_chat(self, owner: Owner, request: wire.ChatRequest) -> None:
        """Have a conversation's state written, to be found by its content."""
        folder = self._folders.get((owner[0], "chat"))
        state = self._state_of(owner, "chat") if folder is not None else None
        if folder is not None and state is not None and len(state.tokens) >= MIN_SAVED_TOKENS:
            note = msgspec.msgpack.encode((owner[1], b""))
            self._writer.write(folder, chat_key(request.messages), ParkedState(state.tokens, state.state, note))

    def recall_chat(self, owner: Owner, request: wire.ChatRequest) -> None:
        """Fetch the longest known beginning of a conversation that has no cells and is not in memory."""
        folder = self._folders.get((owner[0], "chat"))
        if folder is None or not owner[1] or self._tokens_of(owner, "chat"):
            return
        on_disk = {entry.key for entry in folder.entries()}
        for key in reversed(chat_keys(request.messages)):
            if key in on_disk and (state := folder.read(key)) is not None:
                self.park(owner, "chat", state)
                return

    # --- memory -------------------------------------------------------------------------------------------------------

    def park(self, owner: Owner, lane: LaneName, state: ParkedState) -> None:
        """Keep a state that has lost its cells; what memory has no room for goes to disk."""
        for gone_owner, gone_lane, gone in self._parked.put(owner, lane, state):
            folder = self._folders.get((gone_owner[0], "fim")) if gone_lane == "fim" else None
            session = self._infilling.known(gone_owner) if self._infilling is not None else None
            if folder is not None and session is not None and session.window is not None and not session.is_saved:
                note = msgspec.msgpack.encode((gone_owner[1], infilling.pack(session.window)))
                self._writer.write(folder, fim_key(gone_owner[1]), ParkedState(gone.tokens, gone.state, note))
            if self._infilling is not None and gone_lane == "fim":
                self._infilling.forget(gone_owner)  # It is looked for on disk when it is needed.

    def unpark(self, owner: Owner, lane: LaneName) -> ParkedState | None:
        """Give a parked state back, and forget it."""
        return self._parked.take(owner, lane)

    def close_session(self, owner: Owner) -> None:
        """Free a session's cells and memory. A document's snapshot is written first if there is none."""
        self.save_document(owner, at_once=True)
        for lane in self._engine.lanes:
            lane.pool.close(owner)
            self._parked.forget(owner, lane.name)
        if self._infilling is not None:
            self._infilling.forget(owner)

    def hold_writing(self, *, held: bool) -> None:
        """Let the thread that writes snapshots stop while somebody waits for an answer, or go on."""
        self._writer.hold(held=held)

    def clear_snapshots(self, connection: int) -> None:
        """Delete a connection's snapshots."""
        for lane in ("fim", "chat"):
            folder = self._folders.get((connection, lane))
            if folder is not None:
                self._writer.clear(folder)

    # --- telling ------------------------------------------------------------------------------------------------------

    def sessions(self, connection: int) -> tuple[wire.SessionInfo, ...]:
        """List a connection's sessions: those with cells, those in memory, those on disk."""
        found = [info for lane in self._engine.lanes for info in lane.sessions(connection)]
        found += [
            wire.SessionInfo(
                session=entry.name,
                context="fim" if entry.lane == "fim" else "chat",
                tokens=entry.tokens,
                busy=False,
                idle_s=entry.idle_s,
                where="memory",
                bytes=entry.bytes,
            )
            for entry in self._parked.of_connection(connection)
        ]
        known = {(info.context, info.session) for info in found}
        for lane in ("fim", "chat"):
            folder = self._folders.get((connection, lane))
            for entry in folder.described() if folder is not None else ():
                name, _ = _read_note(entry.note)
                if (lane, name) not in known:
                    found.append(
                        wire.SessionInfo(
                            session=name,
                            context=lane,
                            tokens=entry.tokens,
                            busy=False,
                            idle_s=entry.idle_s,
                            where="disk",
                            bytes=entry.bytes,
                        )
                    )
        return tuple(found)

    def inspect(self, owner: Owner, number: int) -> wire.Inspection:
        """Tell how a session's last completion was asked."""
        session = self._infilling.known(owner) if self._infilling is not None else None
        if self._infilling is None or session is None or session.plan is None:
            return wire.Inspection(id=number, found=False)
        plan, vocab = session.plan, self._engine.model.vocab
        texts = [vocab.piece(token) or vocab.text_of(token).encode() for token in plan.prompt]
        return wire.Inspection(
            id=number,
            found=True,
            order=self._infilling.layout.order,
            typed=self._infilling.layout.typed,
            prompt=b"".join(texts).decode("utf-8", "replace"),
            head=plan.window.head,
            suffix=plan.window.suffix,
            middle=plan.middle,
            held=b"".join(map(vocab.piece, plan.held)).decode("utf-8", "replace"),
            prompt_tokens=len(plan.prompt) + len(plan.held),
            cached_tokens=session.cached,
            evaluated_tokens=session.evaluated,
            is_short=plan.window.is_short,
            reanchors=session.reanchors,
        )

    def _tokens_of(self, owner: Owner, lane: LaneName) -> list[int]:
        """Tokens of a session that need not be read again, wherever it lives in memory."""
        sequence = self._engine.lane(lane).pool.find(owner)
        return sequence.tokens if sequence is not None else self._parked.tokens_of(owner, lane)

    def _state_of(self, owner: Owner, lane: LaneName) -> ParkedState | None:
        pool = self._engine.lane(lane).pool
        sequence = pool.find(owner)
        if sequence is not None:
            return None if sequence.busy else pool.save(sequence, b"")
        return self._parked.peek(owner, lane)


def _read_note(note: bytes) -> tuple[str, bytes]:
    """The session's name and its packed window; empty if the note is none."""
    try:
        return msgspec.msgpack.decode(note, type=tuple[str, bytes])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return "", b""
