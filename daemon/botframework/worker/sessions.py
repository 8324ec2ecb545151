"""KV sessions: which tokens sit in which sequence, and who may use it.

A session is named by (connection, session name). It keeps its sequence between requests, so that the next prompt is
read only from the first token that differs. Sessions share the cells of one context; a session that nobody waits for
is forgotten, least recently used first, when another needs its sequence or its cells.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from botframework.errors import ContextOverflow

if TYPE_CHECKING:
    from collections.abc import Sequence

Owner = tuple[int, str]
"""Connection number and session name; connections cannot name each other's sessions."""


class KvCells(Protocol):
    """What a pool needs of a `worker.llama.Context`."""

    n_cells: int
    n_seq: int

    def cut(self, sequence: int, position: int) -> bool:
        """Forget from a position on; False when the cache cannot."""
        ...

    def forget(self, sequence: int) -> None:
        """Free all cells of a sequence."""
        ...

    def end_of(self, sequence: int) -> int:
        """The position after the last token."""
        ...


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

    @property
    def cells(self) -> int:
        """Cells that count as taken."""
        return max(self.reserved, len(self.tokens))


class SessionPool:
    """The sequences of one context. Used by the scheduling thread only."""

    def __init__(self, kv: KvCells, *, n_ctx_train: int) -> None:
        """Take over a context.

        ``n_ctx_train`` limits each sequence however many cells the context has: positions beyond it are noise.
        """
        self._kv = kv
        self.sequence_limit = min(kv.n_cells, n_ctx_train)
        self._sequences = [KvSequence(number) for number in range(kv.n_seq)]

    @property
    def tokens(self) -> int:
        """Tokens in the KV cache now."""
        return sum(len(sequence.tokens) for sequence in self._sequences)

    def acquire(self, owner: Owner, prompt: Sequence[int], max_tokens: int, *, share: int) -> KvSequence | None:
        """Lease the owner's sequence, cut to the longest beginning that it has in common with the prompt.

        At least the prompt's last token is left to evaluate: its logits are needed.

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
        if not self._make_room(owner, wanted, keep=sequence):
            return None
        if sequence.owner != owner:
            self._forget(sequence)
        sequence.owner, sequence.busy, sequence.reserved = owner, True, wanted
        self._cut(sequence, min(_common_beginning(sequence.tokens, prompt), len(prompt) - 1))
        return sequence

    def release(self, sequence: KvSequence, *, keep: bool) -> None:
        """End a lease; ``keep`` leaves the tokens for the owner's next request."""
        sequence.busy, sequence.reserved, sequence.used_at = False, 0, time.monotonic()
        if not keep:
            self._forget(sequence)

    def settle(self, sequence: KvSequence) -> None:
        """Agree with the KV cache after an aborted call, which keeps whole micro-batches only."""
        end = self._kv.end_of(sequence.number)
        if end > len(sequence.tokens):
            self._cut(sequence, len(sequence.tokens))
        else:
            del sequence.tokens[end:]

    def close(self, owner: Owner) -> bool:
        """Forget an idle session. False: there is none, or it is in use."""
        for sequence in self._sequences:
            if sequence.owner == owner and not sequence.busy:
                self._forget(sequence)
                return True
        return False

    def close_connection(self, connection: int) -> None:
        """Forget every idle session of a connection that is gone."""
        for sequence in self._sequences:
            if sequence.owner is not None and sequence.owner[0] == connection and not sequence.busy:
                self._forget(sequence)

    def of_connection(self, connection: int) -> list[KvSequence]:
        """List a connection's named sessions."""
        return [s for s in self._sequences if s.owner is not None and s.owner[0] == connection and s.owner[1]]

    def _pick(self, owner: Owner, share: int) -> KvSequence | None:
        if owner[1]:
            for sequence in self._sequences:
                if sequence.owner == owner:
                    return None if sequence.busy else sequence
        mine = [s for s in self._sequences if s.owner is not None and s.owner[0] == owner[0]]
        # At its share a connection may only displace itself.
        candidates = mine if len(mine) >= share else self._sequences
        idle = [s for s in candidates if not s.busy]
        return min(idle, key=lambda s: (s.owner is not None, s.used_at), default=None)

    def _make_room(self, owner: Owner, wanted: int, keep: KvSequence) -> bool:
        others = [s for s in self._sequences if s is not keep]
        if sum(s.cells for s in others if s.busy) + wanted > self._kv.n_cells:
            return False
        # A connection's own sessions first, so that no other one pays for it while it can pay itself.
        mine = owner[0]
        idle = sorted(
            (s for s in others if not s.busy and s.tokens),
            key=lambda s: (s.owner is not None and s.owner[0] != mine, s.used_at),
        )
        while sum(s.cells for s in others) + wanted > self._kv.n_cells:
            self._forget(idle.pop(0))
        return True

    def _cut(self, sequence: KvSequence, length: int) -> None:
        if self._kv.end_of(sequence.number) > length:
            if self._kv.cut(sequence.number, length) and self._kv.end_of(sequence.number) == length:
                del sequence.tokens[length:]
            else:  # Recurrent and hybrid caches cannot cut their tail: start again.
                self._kv.forget(sequence.number)
                sequence.tokens.clear()
        else:
            del sequence.tokens[length:]

    def _forget(self, sequence: KvSequence) -> None:
        self._kv.forget(sequence.number)
        sequence.tokens.clear()
        sequence.owner = None


def _common_beginning(kept: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens two lists have in common from the start."""
    length = min(len(kept), len(prompt))
    if kept[:length] == prompt[:length]:  # The common case when typing, compared in C.
        return length
    return next(index for index in range(length) if kept[index] != prompt[index])
