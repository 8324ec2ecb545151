"""A model's weights."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

import llama_cpp.llama_cpp as lib

from botframework.errors import ModelCorrupt, RequestCancelled
from botframework.worker.llama.backend import complaints, refusal
from botframework.worker.llama.vocab import Vocab

if TYPE_CHECKING:
    from collections.abc import Callable


class Model:
    """The weights. Freed with the process: a worker never outlives its model."""

    def __init__(
        self,
        path: str,
        *,
        n_gpu_layers: int,
        use_mmap: bool,
        progress: Callable[[float], bool],
        weights: bool = True,
    ) -> None:
        """Load a GGUF file.

        ``progress`` gets 0 to 1 and cancels by returning False. Without ``weights`` nothing is read but the header, and
        neither this model nor its contexts can compute: llama.cpp only lays out what they would take.

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
        params.load_mode = lib.LLAMA_LOAD_MODE_MMAP if use_mmap and weights else lib.LLAMA_LOAD_MODE_NONE
        params.no_alloc = not weights
        cancelled = threading.Event()

        def report(fraction: float, _data: object) -> bool:
            if not progress(fraction):
                cancelled.set()
            return not cancelled.is_set()

        params.progress_callback = lib.llama_progress_callback(report)
        complaints.clear()
        self.pointer = lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self.pointer:
            if cancelled.is_set():
                raise RequestCancelled("loading was cancelled")
            raise refusal(f"{path}: llama.cpp could not load the model", path=path)
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
