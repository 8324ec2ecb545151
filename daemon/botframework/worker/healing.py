"""Token healing: a text that ends inside a word is read as the model was trained to see it.

A tokenizer cuts ``self.na`` into other tokens than ``self.name``; a model that is shown the first ones hardly finds the
``me``. So the last tokens of a prompt are held back whenever a longer token begins with their bytes, and the first
tokens that are generated must begin with just these bytes. Nothing that the user typed is ever changed: what is
generated repeats it and goes on.

Pure: the vocabulary is given as bytes, the logits are somebody else's.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_HELD = 8
"""Tokens held back at most. Real code needs one or two; runs of one sign (``------``) would need any number, and each
token that is taken back one by one costs a step of decoding."""
_BLANKS = b" \t"
"""A run of these gives its last one to the word behind it in all common tokenizers."""


class VocabularyIndex:
    """The bytes of all tokens, sorted. A few bytes a token; made once for a model, read by any thread."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """Sort a vocabulary.

        Parameters
        ----------
        pieces
            The bytes of each token by its id; empty for those that are no text (`llama.Vocab.pieces`): these are never
            found.
        """
        self._bytes = b"".join(pieces)
        self._starts = array("I", (0, *accumulate(map(len, pieces))))
        ranked = sorted(range(len(pieces)), key=pieces.__getitem__)
        nothing = sum(not piece for piece in pieces)
        self._ids = array("i", ranked[nothing:])
        self._view = np.frombuffer(self._ids, dtype=np.int32) if self._ids else np.empty(0, dtype=np.int32)
        self._view.flags.writeable = False
        self.longest = max(map(len, pieces), default=0)
        """Bytes of the longest token."""

    def piece(self, token: int) -> bytes:
        """The bytes of a token; none for one that is no text.

        Raises
        ------
        ValueError
            There is no such token.
        """
        if not 0 <= token < len(self._starts) - 1:
            raise ValueError(f"token {token} is outside the vocabulary of {len(self._starts) - 1}")
        return self._bytes[self._starts[token] : self._starts[token + 1]]

    def starting_with(self, text: bytes) -> NDArray[np.int32]:
        """The tokens whose bytes start with a text, those equal to it included. A view: not to be written to."""
        size = len(text)

        def start_of(token: int) -> bytes:
            start = self._starts[token]
            return self._bytes[start : min(start + size, self._starts[token + 1])]

        first = bisect_left(self._ids, text, key=start_of)
        return self._view[first : bisect_right(self._ids, text, lo=first, key=start_of)]

    def has_longer(self, text: bytes) -> bool:
        """Whether a token starts with a text and goes on."""
        following = bisect_right(self._ids, text, key=self.piece)
        return following < len(self._ids) and self.piece(self._ids[following]).startswith(text)

    def spelling(self, text: bytes) -> int | None:
        """A token of just these bytes."""
        at = bisect_left(self._ids, text, key=self.piece)
        return self._ids[at] if at < len(self._ids) and self.piece(self._ids[at]) == text else None


def held_back(tokens: Sequence[int], index: VocabularyIndex) -> int:
    """How many tokens at the end of a text may become part of another token as the text goes on.

    Parameters
    ----------
    tokens
        Of the text. One without bytes (a special token) ends the search.
    index
        Of the tokens' vocabulary.

    Returns
    -------
    held
        0 to `MAX_HELD`. Their bytes together are no more than the vocabulary's longest token has.
    """
    held, text = 0, b""
    # Where the last blank is a token of its own already, nothing before it changes.
    ends_in_run = bool(tokens) and len(index.piece(tokens[-1])) > 1
    for count, token in enumerate(reversed(tokens[-MAX_HELD:]), start=1):
        piece = index.piece(token)
        text = piece + text
        if not piece or len(text) > index.longest:
            break
        if index.has_longer(text) or (ends_in_run and _before_last_blank(text, index) is not None):
            held = count
    return held


class Healing:
    """The way back over the tokens that one request held back."""

    def __init__(self, index: VocabularyIndex, held: Sequence[int]) -> None:
        """Begin where the prompt ends.

        Parameters
        ----------
        index
            Of the model's vocabulary.
        held
            The tokens that stay out of the prompt, none of them without bytes. May be empty: there is nothing to heal.
        """
        self._index = index
        self._rest = b"".join(map(index.piece, held))
        self._natural: dict[int, int] = {}
        """The held token at each length of what is left."""
        left = len(self._rest)
        for token in held:
            self._natural[left] = token
            left -= len(index.piece(token))

    @property
    def is_done(self) -> bool:
        """Whether all held bytes are back."""
        return not self._rest

    def candidates(self) -> NDArray[np.int32]:
        """The tokens that may come next; never none before healing is done.

        They are those that begin with everything that is left, the held token that stood here (so the text as it was
        cut before is always possible), and, where a run of blanks ends the text, the run without its last one, which
        belongs to the next word. Other tokens that are only a part of what is left are not among them: their logits
        speak for every other word as well that they begin, so that they would win too often.
        """
        whole, parts = self._index.starting_with(self._rest), self._parts()
        return np.concatenate((whole, np.array(sorted(parts), dtype=np.int32))) if parts else whole

    def take(self, token: int) -> bytes | None:
        """Go on with a token.

        Parameters
        ----------
        token
            One of `candidates`.

        Returns
        -------
        added
            Bytes that the token adds to the user's text, possibly none; healing is done. None: it repeats a part of
            what the user typed, and healing goes on.

        Raises
        ------
        ValueError
            The token is no candidate: it would change what the user typed.
        """
        piece = self._index.piece(token)
        if piece and self._rest and piece.startswith(self._rest):
            added, self._rest = piece[len(self._rest) :], b""
            return added
        if token not in self._parts():
            raise ValueError(f"token {token} ({piece!r}) does not go with the held text {self._rest!r}")
        self._rest = self._rest[len(piece) :]
        return None

    def _parts(self) -> set[int]:
        """Candidates that leave something of the held text for the next token."""
        tokens = (self._natural.get(len(self._rest)), _before_last_blank(self._rest, self._index))
        return {token for token in tokens if token is not None and len(self._index.piece(token)) < len(self._rest)}


def _before_last_blank(text: bytes, index: VocabularyIndex) -> int | None:
    """The token of a text without its last blank, if that blank can begin another token."""
    if len(text) < 2 or text[-1] not in _BLANKS or not index.has_longer(text[-1:]):
        return None
    return index.spelling(text[:-1])
