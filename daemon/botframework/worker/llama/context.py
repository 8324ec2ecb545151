"""A KV cache, its sequences and the calls that compute. One thread at a time uses a context."""

from __future__ import annotations

import ctypes
import enum
import sys
from typing import TYPE_CHECKING, Any, Literal

import llama_cpp.llama_cpp as lib
import numpy as np

from botframework.errors import BotframeworkError, ModelCorrupt, ModelDoesNotFit
from botframework.worker.llama.backend import complaints, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.worker.llama.model import Model
    from botframework.worker.llama.samplers import SamplerChain

_KV_TYPES = {"f16": lib.GGML_TYPE_F16, "q8_0": lib.GGML_TYPE_Q8_0}


class DecodeStatus(enum.Enum):
    """What became of one call of llama_decode."""

    DONE = 0
    NO_ROOM = 1
    """No free KV cells; nothing was changed."""
    ABORTED = 2
    """The abort flag was raised; whole micro-batches before it are kept (ask `Context.end_of`)."""


class Context:
    """A KV cache and the right to compute with a model. Sequences share its cells."""

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_seq: int,
        n_ubatch: int,
        n_threads: int,
        flash_attn: bool,
        kv_type: Literal["f16", "q8_0"],
    ) -> None:
        """Allocate the cells.

        Raises
        ------
        ModelDoesNotFit
            There is not enough memory for ``n_ctx`` cells.
        """
        self.model = model
        self.n_seq = n_seq
        self.n_batch = max(n_ubatch, n_seq)
        params = lib.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = self.n_batch
        params.n_seq_max = n_seq
        params.n_outputs_max = n_seq
        params.n_threads = params.n_threads_batch = n_threads
        # Explicit, never AUTO: saved states are only readable by a context of equal values.
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash_attn else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.type_k = params.type_v = _KV_TYPES[kv_type]
        params.kv_unified = True  # Any sequence may use any cell.
        params.swa_full = True  # A sliding window that forgets could not cut its tail.
        params.no_perf = True
        # libc's strlen on a buffer of ours is an abort callback that needs no GIL: "" is False, "\1" is True.
        self._abort_flag = ctypes.create_string_buffer(2)
        params.abort_callback = ctypes.cast(_strlen(), lib.ggml_abort_callback)
        params.abort_callback_data = ctypes.cast(self._abort_flag, ctypes.c_void_p)
        complaints.clear()
        self._context = lib.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise refusal(f"no context of {n_ctx} tokens could be made", otherwise=ModelDoesNotFit, path=model.path)
        self._memory = lib.llama_get_memory(self._context)
        if not self._memory:
            raise ModelCorrupt("the model has no KV cache: it cannot generate text", path=model.path)
        self.n_cells = int(lib.llama_n_ctx(self._context))
        # llama.cpp makes batches no larger than the context, and ends the process for one that is.
        self.n_batch = min(self.n_batch, int(lib.llama_n_batch(self._context)))
        self._batch = lib.llama_batch_init(self.n_batch, 0, 1)
        if not self._batch.token or not self._batch.seq_id:
            raise ModelDoesNotFit("no memory for a batch")
        view = np.ctypeslib.as_array
        self._tokens = view(self._batch.token, (self.n_batch,))
        self._positions = view(self._batch.pos, (self.n_batch,))
        self._outputs = view(self._batch.logits, (self.n_batch,))
        for index in range(self.n_batch):
            self._batch.n_seq_id[index] = 1

    def set_threads(self, n_threads: int) -> None:
        """Use so many threads from the next call on."""
        lib.llama_set_n_threads(self._context, n_threads, n_threads)

    def decode_chunk(self, sequence: int, start: int, tokens: Sequence[int], *, output: bool) -> DecodeStatus:
        """Read consecutive tokens of one sequence; ``output``: the last one's logits are wanted (row ``len - 1``)."""
        count = len(tokens)
        self._guard(count, [sequence])
        self._tokens[:count] = tokens
        self._positions[:count] = np.arange(start, start + count, dtype=np.int32)
        self._outputs[:count] = 0
        self._outputs[count - 1] = output
        for index in range(count):
            self._batch.seq_id[index][0] = sequence
        return self._decode(count)

    def decode_rows(self, rows: Sequence[tuple[int, int, int]]) -> DecodeStatus:
        """One generated token each of several sequences: (sequence, position, token). Row i's logits are at i."""
        count = len(rows)
        self._guard(count, [sequence for sequence, _, _ in rows])
        for index, (sequence, position, token) in enumerate(rows):
            self._batch.token[index] = token
            self._batch.pos[index] = position
            self._batch.seq_id[index][0] = sequence
        self._outputs[:count] = 1
        return self._decode(count)

    def raise_abort(self) -> None:
        """Make the running llama_decode stop soon. Any thread; works on CPU and Metal only."""
        self._abort_flag[0] = b"\x01"

    def clear_abort(self) -> None:
        """Let llama_decode run again."""
        self._abort_flag[0] = b"\x00"

    def cut(self, sequence: int, position: int) -> bool:
        """Forget everything from a position on. False: the cache cannot cut, and nothing was changed."""
        self._guard(1, [sequence])
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, position, -1))

    def forget(self, sequence: int) -> None:
        """Free all cells of a sequence."""
        self._guard(1, [sequence])
        lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def end_of(self, sequence: int) -> int:
        """The position after the last token of a sequence; 0 when it is empty."""
        self._guard(1, [sequence])
        return int(lib.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def copy(self, source: int, target: int, end: int) -> bool:
        """Give a sequence the positions 0 to ``end`` (exclusive) of another one; what it held is forgotten.

        The two share the cells, so this costs no room and computes nothing. False: the cache cannot, as when ``end``
        lies inside a recurrent state or beyond the source; the target is empty then.
        """
        self._guard(1, [source, target])
        if source == target:
            raise ValueError(f"sequence {source} cannot be copied onto itself")
        self.forget(target)
        length = self.end_of(source)
        # A recurrent state is copied whole, whatever end is asked for, and a hybrid cache does not tell.
        if not 0 < end <= length or (self.model.is_recurrent and end != length):
            return False
        lib.llama_memory_seq_cp(self._memory, source, target, 0, end)
        if self.end_of(target) == end:
            return True
        self.forget(target)
        return False

    def state_bytes(self, sequence: int) -> int:
        """How large a sequence's saved state would be."""
        self._guard(1, [sequence])
        return int(lib.llama_state_seq_get_size(self._context, sequence)) if self.end_of(sequence) else 0

    def save_state(self, sequence: int) -> bytes:
        """What the cache holds of a sequence, for `load_state`; empty if there is nothing or it cannot be read.

        Costs one copy (about 0.1 ms per MB); the result is the only memory that is allocated.
        """
        self._guard(1, [sequence])
        if self.end_of(sequence) == 0:
            return b""
        size = int(lib.llama_state_seq_get_size(self._context, sequence))
        if size <= 0:
            return b""
        # A bytes object that nobody else has seen may be filled in place: no zeroing, no second copy.
        state: bytes = _new_bytes(None, size)
        if int(lib.llama_state_seq_get_data(self._context, _address_of(state), size, sequence)) != size:
            return b""
        return state

    def load_state(self, sequence: int, state: bytes) -> bool:
        """Put a saved state into a sequence, in the place of what it held. Nothing is evaluated.

        llama.cpp checks very little of what it is given, and some of that with assertions: ``state`` must be the
        unchanged result of `save_state` of a context with the same model, build and parameters (`worker.snapshots`).

        Returns
        -------
        False when there is no room or llama.cpp refuses it: then the sequence is empty, and others are unchanged.
        """
        self._guard(1, [sequence])
        complaints.clear()
        read = (
            int(lib.llama_state_seq_set_data(self._context, _address_of(state), len(state), sequence)) if state else 0
        )
        if state and read == len(state):
            return True
        self.forget(sequence)
        return False

    def logits(self, row: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A copy of the logits of a row of the last call, shape (n_vocab,)."""
        pointer = lib.llama_get_logits_ith(self._context, row)
        if not pointer:
            raise ValueError(f"row {row} of the last batch has no logits")
        return np.array(np.ctypeslib.as_array(pointer, (self.model.vocab.size,)))

    def sample(self, chain: SamplerChain, row: int) -> int:
        """Choose the next token from the logits of a row of the last call, and tell the chain about it."""
        if not lib.llama_get_logits_ith(self._context, row):
            raise ValueError(f"row {row} of the last batch has no logits")
        return int(lib.llama_sampler_sample(chain.pointer, self._context, row))

    def _guard(self, count: int, sequences: Sequence[int]) -> None:
        if not 0 < count <= self.n_batch:
            raise ValueError(f"a batch holds 1 to {self.n_batch} tokens, not {count}")
        for sequence in sequences:
            if not 0 <= sequence < self.n_seq:
                raise ValueError(f"sequence {sequence} is outside 0 to {self.n_seq - 1}")

    def _decode(self, count: int) -> DecodeStatus:
        self._batch.n_tokens = count
        complaints.clear()
        code = lib.llama_decode(self._context, self._batch)
        if code in (0, 1, 2):
            return DecodeStatus(code)
        words = "; ".join(complaints)
        raise BotframeworkError(f"llama_decode failed with code {code}: {words}")


_new_bytes = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.argtypes, _new_bytes.restype = [ctypes.c_void_p, ctypes.c_ssize_t], ctypes.py_object


def _address_of(data: bytes) -> Any:
    """The bytes themselves as llama.cpp wants them, without a copy; the caller keeps ``data`` alive."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))


def _strlen() -> Any:
    libc = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)  # Windows: never run.
    return libc.strlen
