"""A model's vocabulary. Any thread may use it."""

from __future__ import annotations

import ctypes
from typing import Any, Literal

import llama_cpp.llama_cpp as lib

from botframework.errors import ModelCorrupt

FimName = Literal["pre", "suf", "mid", "pad", "rep", "sep"]


class Vocab:
    """Text to tokens and back."""

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer
        self.size = int(lib.llama_vocab_n_tokens(pointer))
        self.add_bos = bool(lib.llama_vocab_get_add_bos(pointer))
        self.bos = int(lib.llama_vocab_bos(pointer))
        self.eos = int(lib.llama_vocab_eos(pointer))

    def tokenize(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Tokens of a text, without BOS.

        With ``parse_special`` the names of special tokens become those tokens: never set it for a user's text.
        """
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 16  # A token holds at least a byte; some tokenizers put a space in front.
        buffer = (lib.llama_token * room)()
        count = lib.llama_tokenize(self.pointer, raw, len(raw), buffer, room, False, parse_special)
        if count < 0:
            room = -count
            buffer = (lib.llama_token * room)()
            count = lib.llama_tokenize(self.pointer, raw, len(raw), buffer, room, False, parse_special)
            if count < 0:
                raise ModelCorrupt(f"the model's tokenizer refused a text of {len(raw)} bytes (code {count})")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """Bytes of a token; special tokens have none. A character may be spread over several tokens."""
        self._check(token)
        buffer = ctypes.create_string_buffer(64)
        count = lib.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, False)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = lib.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(count, 0)]

    def pieces(self) -> list[bytes]:
        """Bytes of every token by its id, none for what is no text: control, end-of-generation and FIM tokens.

        Reads the whole vocabulary (0.2 s for 150k tokens).
        """
        pointer, room = ctypes.c_void_p(self.pointer), 256
        buffer = ctypes.create_string_buffer(room)
        view = memoryview(buffer)
        piece, is_eog = lib.llama_token_to_piece, lib.llama_vocab_is_eog
        pieces: list[bytes] = []
        for token in range(self.size):
            count = piece(pointer, token, buffer, room, 0, False)
            if count == 0 or is_eog(pointer, token):
                pieces.append(b"")
            elif count > 0:
                pieces.append(bytes(view[:count]))
            else:
                pieces.append(self.piece(token))
        names: tuple[FimName, ...] = ("pre", "suf", "mid", "pad", "rep", "sep")
        for mark in map(self.fim, names):
            if mark >= 0:  # Some files say that these are text.
                pieces[mark] = b""
        return pieces

    def text_of(self, token: int) -> str:
        """The token's name in the vocabulary, special or not; empty if it has none (-1 included)."""
        if not 0 <= token < self.size:
            return ""
        name = lib.llama_vocab_get_text(self.pointer, token)
        return name.decode("utf-8", "replace") if name else ""

    def is_eog(self, token: int) -> bool:
        """Whether the token ends a generation; more tokens than EOS do."""
        self._check(token)
        return bool(lib.llama_vocab_is_eog(self.pointer, token))

    def fim(self, name: FimName) -> int:
        """The id of a FIM token, -1 when the vocabulary has none."""
        return int(getattr(lib, f"llama_vocab_fim_{name}")(self.pointer))

    def special_texts(self) -> tuple[str, ...]:
        """Names that `tokenize` may turn into special tokens. Reads the whole vocabulary (0.1 s for 150k tokens)."""
        special = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_USER_DEFINED | lib.LLAMA_TOKEN_ATTR_UNKNOWN
        attr = lib.llama_vocab_get_attr
        names = (self.text_of(token) for token in range(self.size) if attr(self.pointer, token) & special)
        return tuple(name for name in names if name)

    def _check(self, token: int) -> None:
        if not 0 <= token < self.size:
            raise ValueError(f"token {token} is outside the vocabulary of {self.size}")
