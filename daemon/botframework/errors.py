"""Every error that botframework raises on purpose.

::

    BotframeworkError                       code  retry
    ├── InvalidParams                      -32602
    │   └── ModelCannotInfill              -32602
    ├── InvalidRequest                     -32600
    ├── MethodNotFound                     -32601
    ├── ServerNotInitialized               -32002    yes
    ├── RequestCancelled                   -32800
    ├── ContentModified                    -32801
    ├── RequestSuperseded                  -32802
    ├── ServerBusy                         -33001    yes
    ├── DeadlineExceeded                   -33002    yes
    ├── ContextOverflow                    -33003
    ├── TemplateError                      -33004
    ├── ConfigError                        -33005
    ├── ModelError
    │   ├── ModelNotConfigured             -33100
    │   ├── ModelNotFound                  -33101
    │   ├── ModelRefused                   -33102
    │   ├── ModelCorrupt                   -33103
    │   ├── ModelDoesNotFit                -33104
    │   ├── ModelLoading                   -33105    yes
    │   └── InsufficientMemory             -33106
    ├── WorkerError
    │   ├── WorkerCrashed                  -33200    yes
    │   ├── WorkerStartFailed              -33201    yes
    │   ├── WorkerUnavailable              -33202
    │   └── RequestQuarantined             -33203
    ├── WireError                          -33300
    │   ├── FrameTooLarge                  -33301
    │   └── VersionMismatch                -33302
    └── StoreError                         -33400
        ├── DownloadFailed                 -33401    yes
        ├── DigestMismatch                 -33402
        ├── ModelGated                     -33403
        ├── RemoteNotFound                 -33404
        ├── DiskFull                       -33405
        └── PullRefused                    -33406

Codes from -32768 to -32000 are reserved by JSON-RPC and used only with the meaning that JSON-RPC 2.0 or the LSP gives
them; our own start at -33000. ``retry`` means that the same request may succeed later without being changed.
"""

from __future__ import annotations

from typing import Any, ClassVar

JSON_RPC_INTERNAL_ERROR = -32603


class BotframeworkError(Exception):
    """The root. ``data`` travels to the client as JSON-RPC ``error.data``."""

    code: ClassVar[int] = JSON_RPC_INTERNAL_ERROR
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = data


class InvalidParams(BotframeworkError):
    """A parameter is missing, of the wrong type or out of its limits; the message names the field and the limits."""

    code = -32602


class ModelCannotInfill(InvalidParams):
    """The model's vocabulary has no fill-in-the-middle tokens."""


class InvalidRequest(BotframeworkError):
    """The request is not allowed in the server's present state, or its id is already in use."""

    code = -32600


class MethodNotFound(BotframeworkError):
    """The method is neither one of the LSP's that is carried out nor one of ours."""

    code = -32601


class ServerNotInitialized(BotframeworkError):
    """A request came before ``initialize``."""

    code = -32002
    retryable = True


class RequestCancelled(BotframeworkError):
    """The client cancelled the request."""

    code = -32800


class ContentModified(BotframeworkError):
    """The document was changed where the answer would have gone, or is not in the version that the request names."""

    code = -32801


class RequestSuperseded(BotframeworkError):
    """A newer request of the same document took this one's place."""

    code = -32802


class ServerBusy(BotframeworkError):
    """A bounded queue is full. ``data.retryAfterMs`` says when to try again."""

    code = -33001
    retryable = True


class DeadlineExceeded(BotframeworkError):
    """The request's own deadline passed before its first token."""

    code = -33002
    retryable = True


class ContextOverflow(BotframeworkError):
    """The prompt does not fit. ``data.promptTokens`` and ``data.contextTokens`` give both numbers."""

    code = -33003


class TemplateError(BotframeworkError):
    """The model's chat template could not be compiled or rendered within its limits."""

    code = -33004


class ConfigError(BotframeworkError):
    """A setting has a wrong type or value, or came from a source that may not set it."""

    code = -33005


class ModelError(BotframeworkError):
    """Something about the model file or its loading."""

    code = -33100


class ModelNotConfigured(ModelError):
    """No model is chosen."""

    code = -33100


class ModelNotFound(ModelError):
    """The model file does not exist or cannot be read."""

    code = -33101


class ModelRefused(ModelError):
    """The file's header shows that it is not a whole, well-formed GGUF; llama.cpp never saw it."""

    code = -33102


class ModelCorrupt(ModelError):
    """llama.cpp refused the file or died of it; the message carries llama.cpp's own words."""

    code = -33103


class ModelDoesNotFit(ModelError):
    """Not enough memory for the weights or the KV cache."""

    code = -33104


class ModelLoading(ModelError):
    """The model is not ready yet. ``data.fraction`` tells how far it is."""

    code = -33105
    retryable = True


class InsufficientMemory(ModelError):
    """Other workers of this user hold the memory.

    ``data`` has ``neededBytes``, ``availableBytes`` and ``holders``, a list of ``{model, pid, bytes, clients, idleS}``.
    """

    code = -33106


class WorkerError(BotframeworkError):
    """Something about the worker process."""

    code = -33200


class WorkerCrashed(WorkerError):
    """The worker ended while the request was with it."""

    code = -33200
    retryable = True


class WorkerStartFailed(WorkerError):
    """The worker could not be started or did not listen in time."""

    code = -33201
    retryable = True


class WorkerUnavailable(WorkerError):
    """The worker died too often; ``botframework/restart`` tries again."""

    code = -33202


class RequestQuarantined(WorkerError):
    """The same request was alone in two fatal computations and is refused for a while (``data.retryAfterMs``)."""

    code = -33203


class WireError(BotframeworkError):
    """The local socket between daemon and worker carried something it must not."""

    code = -33300


class FrameTooLarge(WireError):
    """A frame is larger than the link allows."""

    code = -33301


class VersionMismatch(WireError):
    """Daemon and worker speak different protocol versions."""

    code = -33302


class StoreError(BotframeworkError):
    """Something about the folder of models or a download into it."""

    code = -33400


class DownloadFailed(StoreError):
    """The network or the server failed, stalled or sent another number of bytes than it had announced.

    ``data.url`` names the address without what could be secret in it. What has arrived is kept; a new attempt goes on
    there.
    """

    code = -33401
    retryable = True


class DigestMismatch(StoreError):
    """What arrived, or lies in the store, is not what was published. ``data.expected`` and ``data.found`` tell both."""

    code = -33402


class ModelGated(StoreError):
    """The hub gives the file only to accounts that may have it; the message tells where to ask and to set the token."""

    code = -33403


class RemoteNotFound(StoreError):
    """The hub has no such repository, revision or file; the message has the names that come near."""

    code = -33404


class DiskFull(StoreError):
    """Not enough room. ``data.neededBytes``, ``data.freeBytes`` and ``data.folder`` say how much, and where."""

    code = -33405


class PullRefused(StoreError):
    """The address, a redirect, a name or a size is one that we do not follow."""

    code = -33406


def _leaves(cls: type[BotframeworkError]) -> list[type[BotframeworkError]]:
    return [cls, *(leaf for sub in cls.__subclasses__() for leaf in _leaves(sub))]


def from_wire(kind: str, message: str, data: dict[str, Any]) -> BotframeworkError:
    """Rebuild an error that crossed the local socket by its class name; an unknown name becomes the root class."""
    by_name = {cls.__name__: cls for cls in _leaves(BotframeworkError)}
    error = by_name.get(kind, BotframeworkError)(message)
    error.data = dict(data)
    return error
