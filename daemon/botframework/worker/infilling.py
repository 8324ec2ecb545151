"""From a completion request to the tokens of its prompt, for every document that is being worked on.

Each session keeps its window (`worker.window`) from key to key, so that a key costs the tokens that it typed. A window
that no longer fits is laid anew, and how much of it at once is a question of what that would cost: what was read before
counts as free, and a person waits for the rest.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from botframework.worker import window as windows
from botframework.worker.allowance import Allowance
from botframework.worker.healing import held_back
from botframework.worker.plaintext import cut_long_runs
from botframework.worker.sessions import common_beginning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.wire.messages import FimRequest
    from botframework.worker.fim import Layout
    from botframework.worker.healing import VocabularyIndex
    from botframework.worker.sessions import Owner
    from botframework.worker.window import Budget, Window

MAX_SESSIONS = 256
"""Windows that are remembered; each has a few KB of text and holds the last request's."""
REANCHOR_TOKENS = 192
"""A middle of so many tokens is worth a new anchor when nobody waits; far below what the window has room for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One prompt, ready to be read."""

    window: Window
    middle: str
    prompt: list[int]
    """Without what healing holds back; never empty."""
    held: list[int]
    """The end of the text before the cursor, to be demanded back from the model."""
    fixed: int
    """How many tokens of the prompt stay the same while the user types."""
    typed: int
    """Tokens of the text since the anchor, held ones included."""


@dataclass(slots=True)
class FimSession:
    """What is remembered of a document between two keys."""

    window: Window | None = None
    request: FimRequest | None = None
    """The latest; its text is what the next window is laid around."""
    plan: Plan | None = None
    cached: int = 0
    evaluated: int = 0
    reanchors: int = 0
    is_saved: bool = False
    """Whether a snapshot of this window is on disk."""


class Infilling:
    """Lays out prompts. Used by the scheduling thread only."""

    def __init__(
        self, layout: Layout, budget: Callable[[], Budget], index: VocabularyIndex, tokenize: Callable[[str], list[int]]
    ) -> None:
        """Make it for a model.

        Parameters
        ----------
        layout
            How the model is asked.
        budget
            Tells how much text this machine reads in good time now.
        index
            Of the model's vocabulary.
        tokenize
            Turns text into tokens without reading special tokens out of it, without BOS and without a space in front.
        """
        self.layout = layout
        self._budget = budget
        self._index = index
        self._tokenize = tokenize
        self._sessions: OrderedDict[Owner, FimSession] = OrderedDict()
        self._allowances: defaultdict[int, Allowance] = defaultdict(Allowance)
        """By connection."""

    def session(self, owner: Owner) -> FimSession:
        """A document's session, made when first asked for."""
        session = self._sessions.get(owner)
        if session is None:
            session = self._sessions[owner] = FimSession()
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(owner)
        return session

    def known(self, owner: Owner) -> FimSession | None:
        """A document's session, if it has one."""
        return self._sessions.get(owner)

    def forget(self, owner: Owner) -> None:
        """A document is closed."""
        self._sessions.pop(owner, None)

    def forget_connection(self, connection: int) -> None:
        """A connection is gone."""
        self._allowances.pop(connection, None)
        for owner in [owner for owner in self._sessions if owner[0] == connection]:
            del self._sessions[owner]

    def plan(self, owner: Owner, request: FimRequest, cached: Sequence[int]) -> Plan | None:
        """Lay out a request's prompt; None for a request in the background that does not go with the session's window.

        Parameters
        ----------
        owner
            Whose session it is; an empty session name gets a full window that nobody comes back to.
        request
            The text around the cursor, of any size.
        cached
            Tokens that the session has in the KV cache or in a state that can be restored, from the first on.
        """
        prefix, rest = _texts(request)
        if not owner[1]:
            laid = self._lay(prefix, rest, self._budget().full, None)
            return self._fresh(laid, prefix, rest, heal=request.heal)
        session = self.session(owner)
        if request.priority == "background":
            # A guess at what the file may become: nothing is laid around it, and nobody is told of it.
            return self._in_window(session.window, prefix, rest, "", heal=request.heal)
        if session.request is None or (request.prefix, request.suffix) != (
            session.request.prefix,
            session.request.suffix,
        ):
            self._allowances[owner[0]].earn(self._budget())
        session.request = request
        before = session.plan.middle if session.plan is not None else ""
        plan = self._in_window(session.window, prefix, rest, before, heal=request.heal)
        if plan is None:
            plan = self._in_new_window(session.window, prefix, rest, cached, heal=request.heal)
        session.is_saved = session.is_saved and plan.window == session.window
        session.window, session.plan = plan.window, plan
        return plan

    def next_window(self, owner: Owner) -> Plan | None:
        """The prompt with a better window around the latest text, for when nobody waits; None: it is good as it is."""
        session = self._sessions.get(owner)
        if session is None or session.request is None or session.plan is None:
            return None
        if session.window != session.plan.window:  # Laid anew since; nobody has typed in it yet.
            return None
        if not session.plan.window.is_short and session.plan.typed < min(REANCHOR_TOKENS, self._budget().middle):
            return None
        allowed = self._allowances[owner[0]].window_tokens(self._budget())
        if not allowed:
            return None
        prefix, rest = _texts(session.request)
        laid = self._lay(prefix, rest, windows.split(allowed), session.window)
        if laid == session.window:
            return None
        plan = self._fresh(laid, prefix, rest, heal=session.request.heal)
        # In a line too long for a middle the anchor hardly gets nearer, and would be moved in every pause.
        is_better = session.plan.window.is_short or plan.typed * 2 <= session.plan.typed
        return plan if is_better else None

    def is_current(self, owner: Owner, plan: Plan) -> bool:
        """Whether a window that was laid some keys ago is still that of the latest text."""
        session = self._sessions.get(owner)
        return (
            session is not None
            and session.request is not None
            and plan.window.middle(*_texts(session.request)) is not None
        )

    def adopt(self, owner: Owner, plan: Plan) -> None:
        """From now on a session's window is this one; it was read in the background."""
        session = self.session(owner)
        session.window = plan.window
        session.reanchors += 1
        session.is_saved = False

    def note_read_ahead(self, owner: Owner, tokens: int) -> None:
        """So many tokens of a session's next window were read."""
        self._allowances[owner[0]].spend(tokens)

    def _in_window(self, window: Window | None, prefix: str, rest: str, before: str, *, heal: bool) -> Plan | None:
        middle = window.middle(prefix, rest, before) if window is not None else None
        if window is None or middle is None:
            return None
        plan = self._lay_out(window, middle, heal=heal)
        return plan if plan.typed <= self._budget().middle else None

    def _in_new_window(
        self, window: Window | None, prefix: str, rest: str, cached: Sequence[int], *, heal: bool
    ) -> Plan:
        """The largest window that can be read in the time after which an answer feels late."""
        budget = self._budget()
        if cached:
            for sizes, is_short in (
                (budget.full, False),
                (windows.Sizes(budget.full.head, budget.short.suffix), True),
            ):
                laid = self._lay(prefix, rest, sizes, window, is_short=is_short)
                plan = self._fresh(laid, prefix, rest, heal=heal)
                if len(plan.prompt) - common_beginning(cached, plan.prompt) <= budget.short.total:
                    return plan
        laid = self._lay(prefix, rest, budget.short, None, is_short=True)
        return self._fresh(laid, prefix, rest, heal=heal)

    def _lay(
        self, prefix: str, rest: str, sizes: windows.Sizes, keep: Window | None, *, is_short: bool = False
    ) -> Window:
        return windows.lay(
            prefix, rest, sizes, self._plain, middle_tokens=self._budget().middle, is_short=is_short, keep=keep
        )

    def _fresh(self, window: Window, prefix: str, rest: str, *, heal: bool) -> Plan:
        middle = window.middle(prefix, rest)
        assert middle is not None  # noqa: S101 - the window was laid around this text
        return self._lay_out(window, middle, heal=heal)

    def _lay_out(self, window: Window, middle: str, *, heal: bool) -> Plan:
        layout = self.layout
        if layout.typed == "after":
            head: Sequence[int] = window.head_tokens
            typed = self._plain(middle)
            count = len(typed)
        else:
            # As one text: a border that the tokenizer would not make is a border that the model has not seen.
            head, typed = (), self._plain(window.head + middle)
            count = len(typed) - len(window.head_tokens)
        held = held_back(typed, self._index) if heal else 0
        kept = typed[: len(typed) - held]
        fixed = len(layout.window(head, window.suffix_tokens)) if layout.typed == "after" else 0
        prompt = layout.prompt(head, window.suffix_tokens, kept)
        return Plan(window, middle, prompt, typed[len(typed) - held :], fixed, count)

    def _plain(self, text: str) -> list[int]:
        pieces = cut_long_runs(text)
        if len(pieces) == 1:
            return self._tokenize(pieces[0])
        return [token for piece in pieces for token in self._tokenize(piece)]


def pack(window: Window) -> bytes:
    """A window as bytes, to be kept beside its state."""
    return msgspec.msgpack.encode(window)


def unpack(note: bytes) -> Window | None:
    """The window again; None if these bytes are none."""
    try:
        return msgspec.msgpack.decode(note, type=windows.Window)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _texts(request: FimRequest) -> tuple[str, str]:
    return request.prefix, windows.after_closers(request.suffix)
