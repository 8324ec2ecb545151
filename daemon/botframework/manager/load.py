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
from botframework.manager import embedded, machine
from botframework.models import gguf, parts
from botframework.models.fit import ContextPlan, divide, fit, fit_as_told, plan_contexts
from botframework.models.shape import shape_of, with_weights
from botframework.wire.messages import LoadModel

if TYPE_CHECKING:
    import os

    from botframework.config import Settings
    from botframework.models.fit import Fit
    from botframework.models.gguf import GgufHeader
    from botframework.models.hardware import Hardware
    from botframework.models.shape import ModelShape

EMBEDDED_MODEL = Path(botframework.__file__).parent / "embedded" / "model.gguf"
"""What completes code when nothing is configured, as the package has it; it is opened at `embedded_path`."""
KEY_CHARS = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that can be asked for."""

    key: str
    load: LoadModel
    name: str
    """What the model calls itself."""
    shape: ModelShape
    fit: Fit
    """Where it goes on this machine, if nothing else is there, and why."""
    begins_with_thoughts: bool = False
    """As `GgufHeader.begins_with_thoughts`."""

    @property
    def bytes_by_place(self) -> tuple[int, int]:
        """What it takes of the machine's memory, and of that of GPUs: weights, caches and working memory."""
        n_gpu_layers = min(self.load.n_gpu_layers, self.fit.n_gpu_layers)
        on_host, on_gpus = divide(self.shape, plan_of(self.load), n_gpu_layers)
        return (on_host + on_gpus, 0) if self.fit.is_shared else (on_host, on_gpus)

    @property
    def given_up(self) -> str:
        """What this machine's memory does not allow, in a sentence or two; empty: nothing."""
        return f"{self.name}: {' '.join(self.fit.given_up)}" if self.fit.given_up else ""


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
    shape = whole_shape(header)
    here = machine.present()
    how = find_fit(settings, here, shape)
    load = decide_load(settings, here, header, how)
    return Choice(worker_key(load, status), load, header.name, shape, how, header.begins_with_thoughts)


def plan_of(load: LoadModel) -> ContextPlan:
    """The contexts of a load."""
    return ContextPlan(
        n_ctx_fim=load.n_ctx_fim,
        n_ctx_chat=load.n_ctx_chat,
        n_seq_fim=load.n_seq_fim,
        n_seq_chat=load.n_seq_chat,
        n_ubatch_fim=load.n_ubatch_fim,
        n_ubatch_chat=load.n_ubatch_chat,
        kv_type=load.kv_type,
        flash_attention=load.flash_attn,
    )


def embedded_path() -> Path:
    """Where the embedded model is opened, if there is one: the same file at every start of the program."""
    return embedded.lasting(EMBEDDED_MODEL)


def embedded_model() -> Path:
    """The embedded model's file.

    Raises
    ------
    ModelNotConfigured
        There is none.
    """
    if not EMBEDDED_MODEL.is_file():
        raise ModelNotConfigured("no model is set: use --model or the setting 'model'")
    return embedded_path()


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
        path = _canonical(path)
        str(path).encode()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelNotFound(f"the path of the model cannot be used: {error}") from error
    # The worker of who names the embedded model is the worker of who names none.
    ours = embedded_path()
    return ours if path == ours.resolve() else path


def _canonical(path: Path) -> Path:
    """One name for a file, whatever links lead to it: a worker is shared by those who mean the same.

    A part of a split model keeps its own name, by which the others are found; in the cache of Hugging Face it is a link
    to a file that is called after its content.
    """
    real = path.resolve()
    if parts.number(path) is not None and parts.number(real) is None:
        return path.parent.resolve() / path.name
    return real


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"{path}: {error.strerror if isinstance(error, OSError) else error}", path=str(path)
        ) from error


def whole_shape(header: GgufHeader) -> ModelShape:
    """Shape a model with the weights of all its files. Looks at the sizes of the other parts.

    Raises
    ------
    ModelNotFound
        A part is missing.
    """
    return with_parts(shape_of(header), Path(header.path), header.n_files)


def with_parts(shape: ModelShape, path: Path, n_files: int) -> ModelShape:
    """Give a shape that was made from the first file of a model the weights of all of them; raises as `whole_shape`."""
    others = parts.others(path, n_files)
    if not others:
        return shape
    # Each part has a header of its own beside its weights, which is little.
    return with_weights(shape, shape.weights_bytes + sum(_status(part).st_size for part in others))


def find_fit(settings: Settings, here: Hardware, shape: ModelShape) -> Fit:
    """Find a model's place on a machine, judged by the memory that there is and not by what is free. Pure.

    A number of GPU layers that the user has set is taken as it is, and the contexts with it.

    Raises
    ------
    ModelRefused
        The settings do not go together.
    """
    engine = settings.engine
    if engine.kv_type != "f16" and not engine.flash_attention:
        raise ModelRefused(f"kvType {engine.kv_type} needs flashAttention")
    plan = plan_contexts(engine, shape.n_ctx_train)
    if engine.n_gpu_layers is not None:
        return fit_as_told(shape, plan, here, engine.n_gpu_layers)
    return fit(shape, plan, here)


def decide_load(settings: Settings, here: Hardware, header: GgufHeader, how: Fit) -> LoadModel:
    """Decide how to load a model that fits like this: every daemon on this machine decides the same. Pure."""
    engine, plan = settings.engine, how.plan
    told = engine.n_gpu_layers
    return LoadModel(
        path=header.path,
        n_gpu_layers=how.n_gpu_layers if told is None else told,
        n_threads=_threads(settings, here),
        n_ctx_fim=plan.n_ctx_fim,
        n_ctx_chat=plan.n_ctx_chat,
        n_seq_fim=plan.n_seq_fim,
        n_seq_chat=plan.n_seq_chat,
        n_ubatch_fim=plan.n_ubatch_fim,
        n_ubatch_chat=plan.n_ubatch_chat,
        flash_attn=plan.flash_attention,
        use_mmap=engine.mmap,
        kv_type=engine.kv_type,
        fim_order=engine.fim_order,
        fim_typed=engine.fim_typed,
        parked_bytes=engine.parked_mib << 20,
    )


def _threads(settings: Settings, here: Hardware) -> tuple[int, ...]:
    """Physical cores minus one, for the editor. Where that is one, two may still be faster: the worker measures."""
    if settings.engine.n_threads is not None:
        return (settings.engine.n_threads,)
    cores = max(1, here.physical_cores)
    return (1, 2) if cores == 2 else (max(1, cores - 1),)


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
