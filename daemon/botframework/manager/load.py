"""Which file is loaded, how, and under which worker key: everything that is decided before a worker is asked."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import botframework
from botframework.config import shown
from botframework.errors import ConfigError, ModelNotConfigured, ModelNotFound, ModelRefused
from botframework.models import gguf, hardware
from botframework.wire.messages import LoadModel

if TYPE_CHECKING:
    import os

    from botframework.config import Settings
    from botframework.models.gguf import GgufHeader
    from botframework.models.hardware import Hardware

EMBEDDED_MODEL = Path(botframework.__file__).parent / "embedded" / "model.gguf"
"""What completes code when nothing is configured."""
LEAST_CTX_FIM = 1_024
"""Cells; with fewer there is no room for a suffix beside a useful prefix."""
VRAM_SHARE = 0.9
"""Of a device's whole memory that the model may take: the desktop needs some, and llama.cpp its compute buffers. Never
judged by what is free at the moment, or the second window would decide otherwise than the first and load a copy."""
COMPUTE_BYTES = 512 * 1024 * 1024
"""What llama.cpp allocates beside weights and KV cache, generously."""
KEY_CHARS = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that can be asked for."""

    key: str
    load: LoadModel
    name: str
    """What the model calls itself."""
    memory_bytes: int
    """That it will take, generously."""
    begins_with_thoughts: bool = False
    """As `GgufHeader.begins_with_thoughts`."""


def choose(settings: Settings) -> Choice:
    """Look at the configured model's file and decide how to load it. Reads the disk: not for an event loop.

    Raises
    ------
    ModelNotConfigured
        No model is set, and there is none in the package.
    ConfigError
        The setting is no absolute path.
    ModelNotFound
        There is no such file.
    ModelRefused
        Its header shows that llama.cpp could not load it.
    """
    path = embedded_model() if settings.model is None else model_path(settings.model)
    # The identity first: a file that changes under the reading gets another key next time.
    status = _status(path)
    header = gguf.read_header(path)
    load = decide_load(settings, hardware.probe(), header)
    memory = memory_bytes(header, load.n_ctx_fim + load.n_ctx_chat, load.kv_type)
    return Choice(worker_key(load, status), load, header.name, memory, header.begins_with_thoughts)


def fits_beside(choice: Choice) -> bool:
    """Whether a model finds room beside what is in memory now. Asks the system: not for an event loop."""
    memory = hardware.sample()
    if choice.load.n_gpu_layers == 0:
        return choice.memory_bytes <= memory.ram_available
    if memory.vram_total is None or memory.vram_used is None:
        return False  # Nobody knows: better one model after the other than none.
    return choice.memory_bytes <= memory.vram_total - memory.vram_used


def embedded_model() -> Path:
    """The file in the package.

    Raises
    ------
    ModelNotConfigured
        There is none.
    """
    if not EMBEDDED_MODEL.is_file():
        raise ModelNotConfigured("no model is set: use --model or the setting 'model'")
    return EMBEDDED_MODEL


def model_path(chosen: str) -> Path:
    """The file that somebody means, without a look at it.

    Raises
    ------
    ConfigError
        It is no absolute path.
    ModelNotFound
        No file can have such a name.
    """
    try:
        path = Path(chosen).expanduser()
        if not path.is_absolute():
            # Relative to the working folder it would be chosen by the workspace.
            raise ConfigError(f"the model {shown(chosen)!r} is not an absolute path, nor one that begins with ~")
        path = path.resolve()
        str(path).encode()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelNotFound(f"the path of the model cannot be used: {error}") from error
    # The worker of who names the embedded model is the worker of who names none.
    return EMBEDDED_MODEL if path == EMBEDDED_MODEL.resolve() else path


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"{path}: {error.strerror if isinstance(error, OSError) else error}", path=str(path)
        ) from error


def decide_load(settings: Settings, machine: Hardware, header: GgufHeader) -> LoadModel:
    """Decide how to load a model on a machine. Pure: every daemon on this machine decides the same."""
    engine = settings.engine
    if engine.kv_type != "f16" and not engine.flash_attention:
        raise ModelRefused(f"kvType {engine.kv_type} needs flashAttention")
    n_ctx_fim, n_ctx_chat = engine.n_ctx_fim, engine.n_ctx_chat
    if header.n_ctx_train > 0:
        # More cells than all sequences can use are memory and time for nothing.
        n_ctx_fim = min(n_ctx_fim, max(LEAST_CTX_FIM, header.n_ctx_train * engine.n_seq_fim))
        n_ctx_chat = min(n_ctx_chat, header.n_ctx_train * engine.n_seq_chat)
    return LoadModel(
        path=header.path,
        n_gpu_layers=_gpu_layers(settings, machine, header, n_ctx_fim + n_ctx_chat),
        n_threads=_threads(settings, machine),
        n_ctx_fim=n_ctx_fim,
        n_ctx_chat=n_ctx_chat,
        n_seq_fim=engine.n_seq_fim,
        n_seq_chat=engine.n_seq_chat,
        n_ubatch_fim=engine.n_ubatch_fim,
        n_ubatch_chat=engine.n_ubatch_chat,
        flash_attn=engine.flash_attention,
        use_mmap=engine.mmap,
        kv_type=engine.kv_type,
        fim_order=engine.fim_order,
        fim_typed=engine.fim_typed,
        parked_bytes=engine.parked_mib << 20,
    )


def _threads(settings: Settings, machine: Hardware) -> tuple[int, ...]:
    """Physical cores minus one, for the editor. Where that is one, two may still be faster: the worker measures."""
    if settings.engine.n_threads is not None:
        return (settings.engine.n_threads,)
    cores = max(1, machine.physical_cores)
    return (1, 2) if cores == 2 else (max(1, cores - 1),)


def _gpu_layers(settings: Settings, machine: Hardware, header: GgufHeader, n_cells: int) -> int:
    if settings.engine.n_gpu_layers is not None:
        return settings.engine.n_gpu_layers
    # A GPU without memory of its own uses the machine's.
    largest = max((gpu.vram_total or machine.ram_total for gpu in machine.gpus), default=0)
    needed = memory_bytes(header, n_cells, settings.engine.kv_type)
    # One more than there are blocks: the output layer counts too.
    return header.n_layers + 1 if needed <= largest * VRAM_SHARE else 0


def memory_bytes(header: GgufHeader, n_cells: int, kv_type: str) -> int:
    """Bytes that a loaded model takes, generously: weights, KV cache and working memory."""
    return header.weights_bytes + kv_bytes(header, n_cells, kv_type) + COMPUTE_BYTES


def kv_bytes(header: GgufHeader, n_cells: int, kv_type: str) -> int:
    """Bytes of the KV cache, as if every layer had full attention."""
    head = header.n_embd // max(1, header.n_head)
    keys = header.integer("attention.key_length", head)
    values = header.integer("attention.value_length", head)
    bits = 16 if kv_type == "f16" else 8.5
    return int(n_cells * header.n_layers * header.n_head_kv * (keys + values) * bits / 8)


def worker_key(load: LoadModel, status: os.stat_result) -> str:
    """Name the worker that serves exactly this: file identity, load parameters, llama.cpp build, package version."""
    parts = (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        msgspec.to_builtins(load),
        engine_version(),
        botframework.__version__,
    )
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()[:KEY_CHARS]


@functools.cache
def engine_version() -> str:
    """The version of llama-cpp-python, without importing it."""
    import importlib.metadata  # on use, in the thread that looks at the model: it brings the email package along

    try:
        return importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # a frozen program carries no metadata; the package's version stands for it
