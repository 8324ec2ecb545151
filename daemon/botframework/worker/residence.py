"""Where each session lives: in the KV cache, in the worker's memory, or in a snapshot on disk.

The active documents have cells. What loses its cells is parked in memory, what memory has no room for goes to disk, and
all of it comes back without an evaluation when its document does. Snapshots are also written in pauses, since the end
of an editor leaves no time for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botframework.wire import messages as wire
from botframework.worker.archive import Archive
from botframework.worker.infilling import Infilling
from botframework.worker.parked import ParkedState, ParkedStates

if TYPE_CHECKING:
    from botframework.worker.engine import Engine, LaneName
    from botframework.worker.inbox import Post
    from botframework.worker.infilling import FimSession, Plan
    from botframework.worker.sessions import Owner
    from botframework.worker.window import Window


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
        self.vocabulary = engine.vocabulary
        self._infilling = (
            Infilling(engine.layout, lambda: engine.budget, engine.vocabulary, engine.tokenize)
            if engine.can_infill
            else None
        )
        self._parked = ParkedStates(load.parked_bytes)
        self._archive = Archive(load)
        engine.give_parking(lambda lane: LaneParking(self, lane))

    # --- connections --------------------------------------------------------------------------------------------------

    def open_snapshots(self, connection: int, folder: str, limit_bytes: int) -> None:
        """Use a folder for a connection's snapshots from now on; an empty name: none, and nothing more is written."""
        self._archive.open(connection, folder, limit_bytes)

    def forget_connection(self, connection: int) -> None:
        """A connection is gone."""
        self._forget_sessions(connection)
        self._archive.forget_connection(connection)

    def clear(self, connection: int) -> None:
        """Forget all sessions of a connection that are not in use, and delete its snapshots."""
        self._forget_sessions(connection)
        self._archive.clear(connection)

    def _forget_sessions(self, connection: int) -> None:
        for lane in self._engine.lanes:
            lane.pool.close_connection(connection)
        self._parked.forget_connection(connection)
        if self._infilling is not None:
            self._infilling.forget_connection(connection)

    # --- recalling ----------------------------------------------------------------------------------------------------

    def recall(self, owner: Owner, request: wire.FimRequest | wire.ChatRequest, post: Post) -> None:
        """Have what a request can go on from read from disk, in another thread, if it is there and nowhere nearer.

        `is_recalling` tells how long that takes. ``post`` has something done by the scheduling thread.
        """
        if not owner[1]:
            return
        if isinstance(request, wire.ChatRequest):
            if not self._tokens_of(owner, "chat"):
                self._archive.read_chat(owner, request, lambda state: self._take_chat(owner, state), post)
        elif self._infilling is not None and self._infilling.known(owner) is None:
            self._archive.read_document(owner, lambda window, state: self._take_document(owner, window, state), post)

    def is_recalling(self, owner: Owner, lane: LaneName) -> bool:
        """Whether a session's state is on its way from the disk: a request should wait for it."""
        return self._archive.is_reading(owner, lane)

    def _take_document(self, owner: Owner, window: Window, state: ParkedState) -> None:
        if self._infilling is not None and self._infilling.known(owner) is None:
            session = self._infilling.session(owner)
            session.window, session.is_saved = window, True
            self.park(owner, "fim", state, is_wanted=True)

    def _take_chat(self, owner: Owner, state: ParkedState) -> None:
        if not self._tokens_of(owner, "chat"):
            self.park(owner, "chat", state, is_wanted=True)

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
        return self._infilling.plan(owner, request, self._tokens_of(owner, "fim"))

    def next_window(self, owner: Owner) -> tuple[Plan, wire.FimRequest] | None:
        """A better window around a document's latest text, and the request that it was last asked with."""
        session = self._session(owner)
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

    def note_read_ahead(self, owner: Owner, tokens: int) -> None:
        """So many tokens of a document's next window were read."""
        if self._infilling is not None:
            self._infilling.note_read_ahead(owner, tokens)

    def note_reading(self, owner: Owner, cached: int) -> None:
        """A document's prompt is about to be read, and so much of it need not be."""
        session = self._session(owner)
        if session is not None:
            session.cached = cached

    def note_answer(self, owner: Owner, evaluated: int) -> None:
        """A document's request ended, and so many prompt tokens were read since the one before."""
        session = self._session(owner)
        if session is not None:
            session.evaluated = evaluated

    def save_document(self, owner: Owner, *, at_once: bool = False) -> None:
        """Have a document's state written, if it has a good window that is not on disk yet.

        ``at_once``: there will be no other occasion, so a small window will do.
        """
        session = self._unsaved(owner)
        if session is None or session.window is None or (session.window.is_short and not at_once):
            return
        state = self._state_of(owner, "fim")
        if state is not None and len(state.tokens) >= MIN_SAVED_TOKENS:
            self._archive.write_document(owner, session.window, state)
            session.is_saved = True

    def _unsaved(self, owner: Owner) -> FimSession | None:
        """A document's session, if its window should be on disk and is not."""
        session = self._session(owner) if self._archive.is_open(owner[0]) else None
        return None if session is None or session.is_saved else session

    # --- chats --------------------------------------------------------------------------------------------------------

    def save_chat(self, owner: Owner, request: wire.ChatRequest) -> None:
        """Have a conversation's state written, to be found by its content."""
        state = self._state_of(owner, "chat") if self._archive.is_open(owner[0]) else None
        if state is not None and len(state.tokens) >= MIN_SAVED_TOKENS:
            self._archive.write_chat(owner, request, state)

    # --- memory -------------------------------------------------------------------------------------------------------

    def park(self, owner: Owner, lane: LaneName, state: ParkedState, *, is_wanted: bool = False) -> None:
        """Keep a state that has no cells; what memory has no room for goes to disk.

        ``is_wanted``: it was fetched for somebody, and is not one of those.
        """
        for gone_owner, gone_lane, gone in self._parked.put(owner, lane, state, is_wanted=is_wanted):
            if gone_lane != "fim" or self._infilling is None:
                continue
            session = self._unsaved(gone_owner)
            if session is not None and session.window is not None:
                self._archive.write_document(gone_owner, session.window, gone)
            self._infilling.forget(gone_owner)  # It is looked for on disk when it is needed.

    def unpark(self, owner: Owner, lane: LaneName) -> ParkedState | None:
        """Give a parked state back, and forget it."""
        return self._parked.take(owner, lane)

    def close_session(self, owner: Owner) -> None:
        """Free a session's cells and memory. A document's snapshot is written first if there is none."""
        self.save_document(owner, at_once=True)
        self._archive.give_up_reading(owner)
        for lane in self._engine.lanes:
            lane.pool.close(owner)
        if self._infilling is not None:
            self._infilling.forget(owner)

    def hold_writing(self, *, held: bool) -> None:
        """Let the thread that writes snapshots stop while somebody waits for an answer, or go on."""
        self._archive.hold_writing(held=held)

    # --- telling ------------------------------------------------------------------------------------------------------

    def sessions_in_memory(self, connection: int) -> list[wire.SessionInfo]:
        """List a connection's sessions that have cells or are parked."""
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
        return found

    def sessions(self, connection: int) -> list[wire.SessionInfo]:
        """List a connection's sessions: those in memory, and those on disk, whose files it opens one by one."""
        found = self.sessions_in_memory(connection)
        known = {(info.context, info.session) for info in found}
        on_disk = self._archive.sessions(connection)
        return found + [info for info in on_disk if (info.context, info.session) not in known]

    def inspect(self, owner: Owner, number: int) -> wire.Inspection:
        """Tell how a session's last completion was asked."""
        session = self._session(owner)
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

    def _session(self, owner: Owner) -> FimSession | None:
        return self._infilling.known(owner) if self._infilling is not None else None

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
