"""The only module that calls llama_cpp: llama.cpp's low-level API behind typed, guarded calls.

llama.cpp answers a wrong call by ending the process. So every index is checked here before the call, every pointer and
return code after it, and what llama.cpp says on its way out (logs, assertions) is handed to whoever asked for it. A
ctypes NULL is falsy but not None: pointers are tested for truth.

A `Context` is used by one thread at a time; a `Vocab` may be used by any thread.
"""

from __future__ import annotations

import ctypes
import enum
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import llama_cpp.llama_cpp as lib
import numpy as np

from botframework.errors import BotframeworkError, ModelCorrupt, ModelDoesNotFit, RequestCancelled
from botframework.wire.messages import Device
from botframework.worker import sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.worker.sampling import SamplerStep

_LOG_LEVELS = {1: 10, 2: 10, 3: 30, 4: 40}
"""ggml's debug, info, warn, error as levels of `logging`. Its info is a page about every model: debug to us."""
_LOG_CONTINUES = 5
_KEPT_ERROR_LINES = 8
"""Lines of llama.cpp's complaint that become the message of `ModelCorrupt`."""

_KV_TYPES = {"f16": lib.GGML_TYPE_F16, "q8_0": lib.GGML_TYPE_Q8_0}
FimName = Literal["pre", "suf", "mid", "pad", "rep", "sep"]
_DEVICE_KINDS: tuple[Literal["cpu", "gpu", "igpu", "accelerator"], ...] = ("cpu", "gpu", "igpu", "accelerator")


class DecodeStatus(enum.Enum):
    """What became of one call of llama_decode."""

    DONE = 0
    NO_ROOM = 1
    """No free KV cells; nothing was changed."""
    ABORTED = 2
    """The abort flag was raised; whole micro-batches before it are kept (ask `Context.end_of`)."""


_complaints: deque[str] = deque(maxlen=_KEPT_ERROR_LINES)
_callbacks: list[Any] = []
"""ctypes callbacks must outlive their registration."""


def initialise(on_log: Callable[[int, str], None], on_assert: Callable[[str], None]) -> None:
    """Start the backends; call once, before anything else here.

    Parameters
    ----------
    on_log
        Gets a level of `logging` and one line. Called by llama.cpp's threads.
    on_assert
        Gets the text of a failed assertion, in the moment before the process ends.
    """
    os.environ["GGML_NO_BACKTRACE"] = "1"  # It would start a debugger, which prints our memory into the log.
    last_level = [10]

    @lib.llama_log_callback  # type: ignore[untyped-decorator]
    def log(level: int, text: bytes, _data: object) -> None:
        line = text.decode("utf-8", "replace").rstrip("\n")
        if level != _LOG_CONTINUES:
            last_level[0] = _LOG_LEVELS.get(level, 10)
        if line:
            if last_level[0] >= _LOG_LEVELS[4]:
                _complaints.append(line)
            on_log(last_level[0], line)

    asserted = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda text: on_assert(text.decode("utf-8", "replace")))
    _callbacks.extend((log, asserted))
    lib.llama_log_set(log, ctypes.c_void_p(0))
    set_abort = lib._lib.ggml_set_abort_callback  # noqa: SLF001 - llama_cpp binds no name to it
    set_abort.argtypes, set_abort.restype = [ctypes.c_void_p], ctypes.c_void_p
    set_abort(ctypes.cast(asserted, ctypes.c_void_p))
    lib.llama_backend_init()


def build() -> str:
    """Name llama.cpp's build, as the key of everything that depends on it."""
    from llama_cpp import __version__

    commit = lib._lib.ggml_commit  # noqa: SLF001 - llama_cpp binds no name to it
    commit.restype = ctypes.c_char_p
    return f"llama-cpp-python {__version__} (ggml {commit().decode()})"


def devices() -> tuple[Device, ...]:
    """List llama.cpp's compute devices with their memory in bytes, for every vendor that it was built for."""
    ggml = lib._lib  # noqa: SLF001 - llama_cpp binds no names to ggml's device functions
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.argtypes, ggml.ggml_backend_dev_get.restype = [ctypes.c_size_t], ctypes.c_void_p
    for name in ("name", "description"):
        call = getattr(ggml, f"ggml_backend_dev_{name}")
        call.argtypes, call.restype = [ctypes.c_void_p], ctypes.c_char_p
    ggml.ggml_backend_dev_type.argtypes, ggml.ggml_backend_dev_type.restype = [ctypes.c_void_p], ctypes.c_int
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
    ggml.ggml_backend_dev_memory.restype = None
    found = []
    for index in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        kind = ggml.ggml_backend_dev_type(device)
        found.append(
            Device(
                name=ggml.ggml_backend_dev_name(device).decode("utf-8", "replace"),
                description=ggml.ggml_backend_dev_description(device).decode("utf-8", "replace"),
                kind=_DEVICE_KINDS[kind] if 0 <= kind < len(_DEVICE_KINDS) else "accelerator",
                total_bytes=total.value,
                free_bytes=free.value,
            )
        )
    return tuple(found)


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


class Model:
    """The weights. Freed with the process: a worker never outlives its model."""

    def __init__(self, path: str, *, n_gpu_layers: int, use_mmap: bool, progress: Callable[[float], bool]) -> None:
        """Load a GGUF file.

        ``progress`` gets 0 to 1 and cancels by returning False.

        Raises
        ------
        ModelCorrupt
            llama.cpp refused the file; the message has its words.
        ModelDoesNotFit
            There is not enough memory for it.
        RequestCancelled
            ``progress`` returned False.
        """
        params = lib.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP if use_mmap else lib.LLAMA_LOAD_MODE_NONE
        cancelled = threading.Event()

        def report(fraction: float, _data: object) -> bool:
            if not progress(fraction):
                cancelled.set()
            return not cancelled.is_set()

        params.progress_callback = lib.llama_progress_callback(report)
        _complaints.clear()
        self.pointer = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self.pointer:
            if cancelled.is_set():
                raise RequestCancelled("loading was cancelled")
            raise _why(f"{path}: llama.cpp could not load the model", path=path)
        vocab = lib.llama_model_get_vocab(self.pointer)
        if not vocab:
            raise ModelCorrupt("the model has no vocabulary", path=path)
        self.vocab = Vocab(vocab)
        self.path = path
        self.size_bytes = int(lib.llama_model_size(self.pointer))
        self.n_params = int(lib.llama_model_n_params(self.pointer))
        self.n_ctx_train = int(lib.llama_model_n_ctx_train(self.pointer))
        self.n_layers = int(lib.llama_model_n_layer(self.pointer))
        self.n_embd = int(lib.llama_model_n_embd(self.pointer))
        self.is_recurrent = bool(lib.llama_model_is_recurrent(self.pointer) or lib.llama_model_is_hybrid(self.pointer))

    def describe(self) -> str:
        """One line of llama.cpp's: architecture, size, quantization."""
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self.pointer, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def metadata(self, key: str) -> str | None:
        """A scalar of the GGUF's metadata as text."""
        buffer = ctypes.create_string_buffer(4_096)
        count = lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        return None if count < 0 else buffer.value.decode("utf-8", "replace")

    def chat_template(self) -> str | None:
        """The Jinja template of the GGUF."""
        template = lib.llama_model_chat_template(self.pointer, None)
        return template.decode("utf-8", "replace") if template else None


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
        _complaints.clear()
        self._context = lib.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise _why(f"no context of {n_ctx} tokens could be made", otherwise=ModelDoesNotFit, path=model.path)
        self._memory = lib.llama_get_memory(self._context)
        if not self._memory:
            raise ModelCorrupt("the model has no KV cache: it cannot generate text", path=model.path)
        self.n_cells = int(lib.llama_n_ctx(self._context))
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
        _complaints.clear()
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
        _complaints.clear()
        code = lib.llama_decode(self._context, self._batch)
        if code in (0, 1, 2):
            return DecodeStatus(code)
        words = "; ".join(_complaints)
        raise BotframeworkError(f"llama_decode failed with code {code}: {words}")


_CANDIDATE = np.dtype([("id", "=i4"), ("logit", "=f4"), ("p", "=f4")])
"""llama_token_data."""


class SamplerChain:
    """How one request chooses its tokens; frees itself."""

    def __init__(self, vocab: Vocab, steps: Sequence[SamplerStep]) -> None:
        self._size = vocab.size
        self.pointer = _make_chain(vocab, steps)
        # The infill rule may answer with an end-of-generation token that is no candidate, or, in a vocabulary that has
        # none, end the process. Where the candidates are limited there is nothing to end.
        bounded = [step for step in steps if not isinstance(step, sampling.Infill)]
        self._bounded = _make_chain(vocab, bounded) if len(bounded) < len(steps) else None

    def choose(
        self, logits: np.ndarray[Any, np.dtype[np.float32]], allowed: np.ndarray[Any, np.dtype[np.int32]] | None = None
    ) -> int:
        """Choose the next token from logits, which are left as they are, and tell the chain about it.

        Parameters
        ----------
        logits
            Of the whole vocabulary, as `Context.logits` gives them.
        allowed
            The only tokens to choose from, at least one. The infill rule is left out then, or it would answer with a
            token that is not among them.

        Returns
        -------
        token
            What `Context.sample` would choose, without ``allowed``.

        Raises
        ------
        ValueError
            The logits are of another vocabulary, or ``allowed`` is empty or holds what is no token.
        """
        if logits.shape != (self._size,):
            raise ValueError(f"{logits.shape} logits for a vocabulary of {self._size}")
        pointer = self.pointer
        if allowed is None:
            candidates = np.empty(self._size, dtype=_CANDIDATE)
            candidates["id"] = np.arange(self._size, dtype=np.int32)
            candidates["logit"] = logits
        else:
            if not len(allowed) or allowed.min() < 0 or allowed.max() >= self._size:
                raise ValueError(f"{len(allowed)} tokens to choose from, in a vocabulary of {self._size}")
            pointer = self._bounded or self.pointer
            candidates = np.empty(len(allowed), dtype=_CANDIDATE)
            candidates["id"] = allowed
            candidates["logit"] = logits[allowed]
        candidates["p"] = 0.0
        data = ctypes.cast(candidates.ctypes.data, lib.llama_token_data_p)
        array = lib.llama_token_data_array(data, len(candidates), -1, False)
        lib.llama_sampler_apply(pointer, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise BotframeworkError(f"the samplers left none of {len(candidates)} candidates")
        token = int(array.data[array.selected].id)
        for chain in (self.pointer, self._bounded):
            if chain:
                lib.llama_sampler_accept(chain, token)
        return token

    def __del__(self) -> None:
        for name in ("pointer", "_bounded"):
            pointer = getattr(self, name, None)
            setattr(self, name, None)
            if pointer:
                lib.llama_sampler_free(pointer)


def _make_chain(vocab: Vocab, steps: Sequence[SamplerStep]) -> Any:
    params = lib.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = lib.llama_sampler_chain_init(params)
    if not chain:
        raise MemoryError("no memory for a sampler chain")
    for step in steps:
        sampler = _make_sampler(vocab, step)
        if not sampler:
            lib.llama_sampler_free(chain)
            raise ValueError(f"llama.cpp refused the sampler {step}")
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


_new_bytes = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.argtypes, _new_bytes.restype = [ctypes.c_void_p, ctypes.c_ssize_t], ctypes.py_object


def _address_of(data: bytes) -> Any:
    """The bytes themselves as llama.cpp wants them, without a copy; the caller keeps ``data`` alive."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))


def _strlen() -> Any:
    libc = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)  # Windows: never run.
    return libc.strlen


def _why(what: str, *, otherwise: type[ModelCorrupt | ModelDoesNotFit] = ModelCorrupt, **data: Any) -> Exception:
    """Make the error that llama.cpp's last complaints amount to."""
    words = "; ".join(_complaints)
    lacking = any(sign in words.lower() for sign in ("out of memory", "failed to allocate", "unable to allocate"))
    kind = ModelDoesNotFit if lacking else otherwise
    return kind(f"{what}: {words}" if words else what, **data)


def _make_sampler(vocab: Vocab, step: SamplerStep) -> Any:  # noqa: PLR0911 - one line per kind of step
    match step:
        case sampling.LogitBias(biases):
            entries = (lib.llama_logit_bias * len(biases))(*(lib.llama_logit_bias(*entry) for entry in biases))
            return lib.llama_sampler_init_logit_bias(vocab.size, len(biases), entries)
        case sampling.Penalties(last_n, repeat, frequency, presence):
            return lib.llama_sampler_init_penalties(vocab.size, last_n, repeat, frequency, presence)
        case sampling.TopK(k):
            return lib.llama_sampler_init_top_k(k)
        case sampling.Infill():
            return lib.llama_sampler_init_infill(vocab.pointer)
        case sampling.TopP(p):
            return lib.llama_sampler_init_top_p(p, 1)
        case sampling.MinP(p):
            return lib.llama_sampler_init_min_p(p, 1)
        case sampling.Temperature(temperature):
            return lib.llama_sampler_init_temp(temperature)
        case sampling.Draw(seed):
            return lib.llama_sampler_init_dist(seed)
        case sampling.Greedy():
            return lib.llama_sampler_init_greedy()
