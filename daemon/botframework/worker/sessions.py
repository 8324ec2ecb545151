"""KV sessions: which tokens sit in which sequence, and who may use it.

A session is named by (connection, session name). It keeps its sequence between requests, so that the next prompt is
read only from the first token that differs. Sessions share the cells of one context; when another needs a sequence or
cells, the session that nobody has used for longest is parked (`worker.residence`) and comes back without an evaluation.

Some caches cannot drop their last tokens (recurrent and hybrid models). Their sequences keep checkpoints instead:
states at the places to which the next prompt is likely to go back.
"""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from botframework.errors import ContextOverflow
from botframework.worker import parked
from botframework.worker.parked import ParkedState, StateCells

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Owner = tuple[int, str]
"""Connection number and session name; connections cannot name each other's sessions."""

MIN_PARKED_TOKENS = 64
"""Reading fewer again costs less than copying a state about."""
MAX_LOGITS = 4
"""Of one sequence: the end of its prompt and the ends that healing looked at. Each has 4 bytes per vocabulary entry."""
MAX_CHECKPOINTS = 2
"""Of one sequence: the end of its window, and the end of its last prompt."""


class KvCells(StateCells, Protocol):
    """What a pool needs of a `worker.llama.Context`."""

    n_cells: int
    n_seq: int

    def cut(self, sequence: int, position: int) -> bool:
        """Forget from a position on; False when the cache cannot."""
        ...

    def copy(self, source: int, target: int, end: int) -> bool:
        """Share the cells before a position with another sequence; False leaves that one empty."""
        ...


class Parking(Protocol):
    """Where states wait that have no cells."""

    def put(self, owner: Owner, state: ParkedState) -> None:
        """Keep a session's state."""
        ...

    def take(self, owner: Owner) -> ParkedState | None:
        """Give it back, and forget it."""
        ...


@dataclass(frozen=True, slots=True)
class Displaced:
    """What a sequence held before a branch was read in its place."""

    owner: Owner
    state: ParkedState
    logits: dict[int, NDArray[np.float32]]


@dataclass(slots=True, eq=False)
class KvSequence:
    """One sequence of the context. ``tokens[i]`` sits at position i of the KV cache."""

    number: int
    tokens: list[int] = field(default_factory=list)
    owner: Owner | None = None
    busy: bool = False
    reserved: int = 0
    """Cells that the running request may fill; 0 when idle."""
    used_at: float = 0.0
    logits: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    """What follows ``tokens[:position]``, for the few positions at which it may be asked again."""
    checkpoints: list[tuple[int, bytes]] = field(default_factory=list)
    """Length and state, in the order of their making; only of caches that cannot cut their tail."""

    displaced: Displaced | None = None
    """Comes back unless the branch is adopted."""

    @property
    def session(self) -> Owner | None:
        """Whose session it is, also while a branch is read in its place."""
        return self.displaced.owner if self.displaced is not None else self.owner

    def remember_logits(self, logits: NDArray[np.float32]) -> None:
        """Keep what follows the last token."""
        self.logits[len(self.tokens)] = logits
        while len(self.logits) > MAX_LOGITS:
            del self.logits[next(iter(self.logits))]

    @property
    def cells(self) -> int:
        """Cells that count as taken."""
        return max(self.reserved, len(self.tokens))


class SessionPool:
    """The sequences of one context. Used by the scheduling thread only."""

    def __init__(self, kv: KvCells, *, n_ctx_train: int, can_cut: bool = True, parking: Parking | None = None) -> None:
        """Take over a context.

        Parameters
        ----------
        kv
            The context.
        n_ctx_train
            Limits each sequence however many cells the context has: positions beyond it are noise.
        can_cut
            Whether its cache can drop the last tokens of a sequence.
        parking
            Where sessions go that lose their cells; None forgets them.
        """
        self._kv = kv
        self.can_cut = can_cut
        self.parking = parking
        self.sequence_limit = min(kv.n_cells, n_ctx_train)
        self._sequences = [KvSequence(number) for number in range(kv.n_seq)]

    @property
    def tokens(self) -> int:
        """Tokens in the KV cache now."""
        return sum(len(sequence.tokens) for sequence in self._sequences)

    def acquire(self, owner: Owner, prompt: Sequence[int], max_tokens: int, *, share: int) -> KvSequence | None:
        """Lease the owner's sequence, cut to the longest beginning that it has in common with the prompt.

        Nothing is left to evaluate if what follows the prompt is remembered; else at least its last token.

        Parameters
        ----------
        owner
            An empty session name gets a sequence that nobody can come back to.
        prompt
            Token ids; at least one.
        max_tokens
            How many may follow; cells are reserved for them, so that no running request can be starved of cells.
        share
            How many sequences one connection may hold.

        Returns
        -------
        The sequence, busy until `release`; None when every candidate is in use now.

        Raises
        ------
        ContextOverflow
            It can never fit.
        """
        if len(prompt) >= self.sequence_limit:
            raise ContextOverflow(
                f"the prompt has {len(prompt)} tokens, the context holds {self.sequence_limit}",
                promptTokens=len(prompt),
                contextTokens=self.sequence_limit,
            )
        sequence = self._pick(owner, share)
        if sequence is None:
            return None
        wanted = min(len(prompt) + max_tokens, self.sequence_limit)
        state = self.parking.take(owner) if self.parking and owner[1] and sequence.owner != owner else None
        if not self._make_room(owner, max(wanted, len(state.tokens) if state else 0), keep=sequence):
            if state is not None and self.parking is not None:
                self.parking.put(owner, state)
            return None
        if sequence.owner != owner:
            self._leave(sequence)
            if state is not None:
                self._restore(sequence, state)
        sequence.owner, sequence.busy, sequence.reserved = owner, True, wanted
        common = common_beginning(sequence.tokens, prompt)
        self._cut(
            sequence, common if common == len(prompt) and common in sequence.logits else min(common, len(prompt) - 1)
        )
        return sequence

    def has_idle(self, owner: Owner, *, share: int) -> bool:
        """Whether `acquire` would find a sequence; it may still lack cells."""
        return self._pick(owner, share) is not None

    def branch(self, owner: Owner, prompt: Sequence[int], *, share: int) -> KvSequence | None:
        """Lease a second sequence that shares what the prompt has in common with the owner's own, which stays as it is.

        Who may have only one lends that, and gets its content back unless the branch is adopted. The lease belongs to
        nobody until `adopt`. None when there is no room.
        """
        own = self.find(owner)
        mine = [s for s in self._sequences if s.owner is not None and s.owner[0] == owner[0]]
        idle = [s for s in self._sequences if not s.busy and s is not own and (s.owner is None or s in mine)]
        if len(mine) >= share:
            idle = [s for s in idle if s.owner is not None]
        sequence = min(idle, key=lambda s: (s.owner is not None, s.used_at), default=None)
        if len(prompt) >= self.sequence_limit:
            return None
        if sequence is None:
            return None if own is None or own.busy or share > 1 else self._branch_in_place(own, prompt)
        taken = sum(s.cells for s in self._sequences if s is not sequence and (s.busy or s is own))
        if taken + len(prompt) > self._kv.n_cells:
            return None
        if not self._make_room(owner, len(prompt), keep=sequence, spare=own):
            return None
        self._leave(sequence)
        sequence.owner, sequence.busy, sequence.reserved = (owner[0], ""), True, len(prompt)
        common = min(common_beginning(own.tokens, prompt), len(prompt) - 1) if own is not None else 0
        if own is not None and common > 0 and self.can_cut and self._kv.copy(own.number, sequence.number, common):
            sequence.tokens = list(prompt[:common])
        return sequence

    def _branch_in_place(self, own: KvSequence, prompt: Sequence[int]) -> KvSequence | None:
        owner, wanted = own.owner, max(len(prompt), len(own.tokens))  # What it holds must have room to come back.
        state = self.save(own, b"")
        if owner is None or state is None or not self._make_room(owner, wanted, keep=own):
            return None
        own.displaced = Displaced(owner, state, dict(own.logits))
        own.owner, own.busy, own.reserved = (owner[0], ""), True, wanted
        self._cut(own, min(common_beginning(own.tokens, prompt), len(prompt) - 1))
        return own

    def adopt(self, owner: Owner, sequence: KvSequence) -> bool:
        """Make a branch the owner's sequence, in the place of the old one. False: that one is in use."""
        own = self.find(owner)
        if own is not None and own.busy:
            return False
        if own is not None:
            self._forget(own)
        if self.parking is not None:
            self.parking.take(owner)  # Older than what it has now.
        sequence.owner, sequence.used_at, sequence.displaced = owner, time.monotonic(), None
        return True

    def find(self, owner: Owner) -> KvSequence | None:
        """The sequence of a named session."""
        return next((s for s in self._sequences if s.owner == owner), None) if owner[1] else None

    def save(self, sequence: KvSequence, note: bytes) -> ParkedState | None:
        """Copy what a sequence holds, at its first checkpoint if its cache cannot cut; it keeps its cells."""
        if self.can_cut:
            return parked.save(self._kv, sequence.number, sequence.tokens, note)
        if not sequence.checkpoints:
            return None
        length, state = sequence.checkpoints[0]  # What any later prompt can go on from; the last is one prompt's end.
        return ParkedState(array("i", sequence.tokens[:length]), state, note)

    def checkpoint(self, sequence: KvSequence) -> None:
        """Remember the state at the present end, for a cache that cannot be cut back to it."""
        if self.can_cut or any(length == len(sequence.tokens) for length, _ in sequence.checkpoints):
            return
        state = self._kv.save_state(sequence.number)
        if state:
            sequence.checkpoints.append((len(sequence.tokens), state))
            # The first one is the end of the window, to which every key goes back that the others do not serve.
            del sequence.checkpoints[1 : 1 - MAX_CHECKPOINTS]

    def release(self, sequence: KvSequence, *, keep: bool) -> None:
        """End a lease; ``keep`` leaves the tokens for the owner's next request."""
        sequence.busy, sequence.reserved, sequence.used_at = False, 0, time.monotonic()
        if not keep:
            displaced = sequence.displaced
            self._forget(sequence)
            if displaced is not None:
                self._restore(sequence, displaced.state)
                sequence.owner = displaced.owner
                sequence.logits = {at: row for at, row in displaced.logits.items() if at <= len(sequence.tokens)}

    def park(self, sequence: KvSequence) -> None:
        """Take the cells of an idle sequence away; its session may come back."""
        self._leave(sequence)

    def settle(self, sequence: KvSequence) -> None:
        """Agree with the KV cache after an aborted call, which keeps whole micro-batches only."""
        self._cut(sequence, min(self._kv.end_of(sequence.number), len(sequence.tokens)))

    def close(self, owner: Owner) -> bool:
        """Forget an idle session. False: there is none, or it is in use."""
        if self.parking is not None and owner[1]:
            self.parking.take(owner)
        sequence = self.find(owner)
        if sequence is None or sequence.busy:
            return False
        self._forget(sequence)
        return True

    def close_connection(self, connection: int) -> None:
        """Forget every idle session of a connection that is gone."""
        for sequence in self._sequences:
            if sequence.owner is not None and sequence.owner[0] == connection and not sequence.busy:
                self._forget(sequence)

    def of_connection(self, connection: int) -> list[KvSequence]:
        """List a connection's named sessions."""
        return [s for s in self._sequences if (owner := s.session) is not None and owner[0] == connection and owner[1]]

    def _pick(self, owner: Owner, share: int) -> KvSequence | None:
        if owner[1]:
            for sequence in self._sequences:
                if sequence.session == owner:
                    return None if sequence.busy else sequence
        mine = [s for s in self._sequences if s.owner is not None and s.owner[0] == owner[0]]
        # At its share a connection may only displace itself.
        candidates = mine if len(mine) >= share else self._sequences
        idle = [s for s in candidates if not s.busy]
        return min(idle, key=lambda s: (s.owner is not None, s.used_at), default=None)

    def _make_room(self, owner: Owner, wanted: int, keep: KvSequence, spare: KvSequence | None = None) -> bool:
        """Push idle sessions out until ``keep`` can have so many cells, but never ``spare``."""
        others = [s for s in self._sequences if s is not keep]
        if sum(s.cells for s in others if s.busy or s is spare) + wanted > self._kv.n_cells:
            return False
        # A connection's own sessions first, so that no other one pays for it while it can pay itself.
        mine = owner[0]
        idle = sorted(
            (s for s in others if not s.busy and s is not spare and s.tokens),
            key=lambda s: (s.owner is not None and s.owner[0] != mine, s.used_at),
        )
        while sum(s.cells for s in others) + wanted > self._kv.n_cells:
            self._leave(idle.pop(0))
        return True

    def _cut(self, sequence: KvSequence, length: int) -> None:
        if self._kv.end_of(sequence.number) > length:
            if self.can_cut and self._kv.cut(sequence.number, length) and self._kv.end_of(sequence.number) == length:
                del sequence.tokens[length:]
            else:
                self._go_back(sequence, length)
        else:
            del sequence.tokens[length:]
        kept = len(sequence.tokens)
        sequence.logits = {at: logits for at, logits in sequence.logits.items() if at <= kept}
        sequence.checkpoints = [entry for entry in sequence.checkpoints if entry[0] <= kept]

    def _go_back(self, sequence: KvSequence, length: int) -> None:
        """To the last checkpoint that is not beyond a length; to nothing if there is none."""
        best = max((entry for entry in sequence.checkpoints if entry[0] <= length), default=None)
        restored = best is not None and self._kv.load_state(sequence.number, best[1])
        if best is not None and restored and self._kv.end_of(sequence.number) == best[0]:
            del sequence.tokens[best[0] :]
            return
        self._kv.forget(sequence.number)
        sequence.tokens.clear()

    def _restore(self, sequence: KvSequence, state: ParkedState) -> None:
        if parked.load(self._kv, sequence.number, state):
            sequence.tokens = state.tokens.tolist()
            if not self.can_cut:
                sequence.checkpoints = [(len(sequence.tokens), state.state)]

    def _leave(self, sequence: KvSequence) -> None:
        """Take a sequence away from its session, which may come back."""
        owner = sequence.owner
        if self.parking is not None and owner is not None and owner[1] and len(sequence.tokens) >= MIN_PARKED_TOKENS:
            state = self.save(sequence, b"")
            if state is not None:
                self.parking.put(owner, state)
        self._forget(sequence)

    def _forget(self, sequence: KvSequence) -> None:
        self._kv.forget(sequence.number)
        sequence.tokens = []
        sequence.owner = None
        sequence.logits.clear()
        sequence.checkpoints.clear()
        sequence.displaced = None


def common_beginning(one: Sequence[object], other: Sequence[object]) -> int:
    """How many tokens two lists, or characters two texts, have in common from the start."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:  # The common case when typing.
        return length
    equal, differs = 0, length  # Slices are compared in C, a thousand times faster than one by one.
    while differs - equal > 1:
        middle = (equal + differs) // 2
        if one[equal:middle] == other[equal:middle]:
            equal = middle
        else:
            differs = middle
    return equal
