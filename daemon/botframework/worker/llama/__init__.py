"""The only package that calls llama_cpp: llama.cpp's low-level API behind typed, guarded calls.

llama.cpp answers a wrong call by ending the process. So every index is checked here before the call, every pointer and
return code after it, and what llama.cpp says on its way out (logs, assertions) is handed to whoever asked for it. A
ctypes NULL is falsy but not None: pointers are tested for truth.

A `Context` is used by one thread at a time; a `Vocab` may be used by any thread.
"""

from __future__ import annotations

from botframework.worker.llama.backend import build, describe, devices, features, initialise
from botframework.worker.llama.context import Context, DecodeStatus
from botframework.worker.llama.model import Model
from botframework.worker.llama.samplers import SamplerChain
from botframework.worker.llama.vocab import FimName, Vocab

__all__ = [
    "Context",
    "DecodeStatus",
    "FimName",
    "Model",
    "SamplerChain",
    "Vocab",
    "build",
    "describe",
    "devices",
    "features",
    "initialise",
]
