"""What editor and daemon say beyond the LSP: one struct per message, and the table of methods they belong to.

Fields are camelCase on the wire. A field that is not known is refused in a request, so that a misspelt name is noticed.
Times are milliseconds, sizes bytes, counts of text tokens unless the name says otherwise. Texts have no limit of their
own but the one of a message (64 MiB): what does not fit the model is cut (completion) or trimmed (chat).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from botframework.errors import InvalidParams
from botframework.lsp.filters import Reason, Source  # noqa: TC001 - msgspec reads the annotations
from botframework.manager.advice import Advice
from botframework.manager.entry import ModelEntry  # noqa: TC001 - msgspec reads the annotations
from botframework.manager.status import Snapshot
from botframework.models.recommendation import Role  # noqa: TC001 - msgspec reads the annotations
from botframework.wire.messages import (
    MAX_DEADLINE_MS,
    MAX_MESSAGES,
    MAX_SESSION_CHARS,
    MAX_STOP_STRINGS,
    MAX_TOKENS_LIMIT,
    ChatMessage,
    Device,
    FimOrder,
    FimTyped,
    FinishReason,
    ModelInfo,
    Sampling,
    SessionInfo,
    SessionName,
    StopString,
    Timings,
    Usage,
)

MAX_URI_CHARS = 8_192
"""Of a document's URI: longer than any path of our systems."""
MAX_POSITION = 2**31 - 1
"""The LSP's ``uinteger``."""
MAX_INSTRUCTION_CHARS = 32_768
"""Of an edit: more than anybody types; a long text belongs into the document."""
MAX_PATH_CHARS = 4_096
"""Of a model file: as long as Linux allows."""
MAX_REFERENCE_CHARS = 8_192
"""Of a model to be downloaded: longer than any address that a server takes."""

PROTOCOL_VERSION = 1
"""Of everything in this module, told in the result of ``initialize``. Raised with every change that an older client
would misread; new methods and new fields of results do not raise it."""

ACCEPTED_COMMAND = "botframework.accepted"
"""The command of every suggestion; its one argument is the suggestion's id."""

_NAMED_FIELD = re.compile(r"(?:unknown|required) field `([^`]{1,200})`")

ProgressToken = int | str
Uinteger = Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITION)]
MaxTokens = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS_LIMIT)]
DeadlineMs = Annotated[int, msgspec.Meta(ge=1, le=MAX_DEADLINE_MS)]
StopStrings = Annotated[tuple[StopString, ...], msgspec.Meta(max_length=MAX_STOP_STRINGS)]


class Params(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of what the client sends."""


class Echo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what the client sends back to us. It may hold more than we sent: other fields are ignored."""


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what the daemon sends."""


class NoParams(Params, frozen=True, kw_only=True):
    """Nothing."""


class TextDocumentIdentifier(Params, frozen=True, kw_only=True):
    """An open document."""

    uri: Annotated[str, msgspec.Meta(max_length=MAX_URI_CHARS)]


class Position(Params, frozen=True, kw_only=True):
    """A place in a document: zero-based line, and UTF-16 code units from its start. Beyond the end is the end."""

    line: Uinteger
    character: Uinteger


class Range(Params, frozen=True, kw_only=True):
    """Two places in a document; the end is not part of it."""

    start: Position
    end: Position


class GenerateParams(Params, frozen=True, kw_only=True):
    """What completion, chat and edit have in common. What is left out comes from the settings."""

    session: SessionName = ""
    """Keeps what the model has read under this name, so that the next request with it only reads what is new; at most
    512 characters. Empty: nothing is kept."""
    sampling: Sampling | None = None
    max_tokens: MaxTokens | None = None
    """1 to 32,768."""
    stop: StopStrings = ()
    """At most 16 strings of 1 to 256 characters; the answer ends before the first of them."""
    deadline_ms: DeadlineMs | None = None
    """1 to 3,600,000; then the answer ends with what is there."""
    partial_result_token: ProgressToken | None = None
    """With it, text comes as ``$/progress`` values of `StreamValue`, and the final ``text`` is empty."""
    work_done_token: ProgressToken | None = None
    """With it, ``$/progress`` reports the beginning and the end of the work."""


class CompleteParams(GenerateParams, frozen=True, kw_only=True):
    """Fill in the middle: at a position of an open document, or between a given prefix and suffix."""

    text_document: TextDocumentIdentifier | None = None
    position: Position | None = None
    prefix: str | None = None
    suffix: str | None = None

    def __post_init__(self) -> None:
        by_document = self.text_document is not None or self.position is not None
        by_text = self.prefix is not None or self.suffix is not None
        if by_document == by_text:
            raise ValueError("give either textDocument and position, or prefix (and suffix)")
        if by_document and (self.text_document is None or self.position is None):
            raise ValueError("textDocument and position belong together")


class ChatParams(GenerateParams, frozen=True, kw_only=True):
    """Answer a conversation."""

    messages: Annotated[tuple[ChatMessage, ...], msgspec.Meta(min_length=1, max_length=MAX_MESSAGES)]
    """1 to 1,024 messages, oldest first."""
    trim: bool | None = None
    """Drop the oldest whole turns (never the system message) when the conversation does not fit."""


class CompleteResult(Result, frozen=True, kw_only=True):
    """The end of an answer."""

    text: str
    """The whole answer; empty if it was streamed."""
    finish_reason: FinishReason
    usage: Usage
    timings: Timings


class ChatResult(CompleteResult, frozen=True, kw_only=True):
    """The end of a chat answer."""

    dropped_messages: int
    """Messages that were left out because the conversation did not fit."""


class StreamValue(Result, frozen=True, kw_only=True):
    """The ``value`` of a ``$/progress`` notification for a ``partialResultToken``."""

    kind: Literal["token"]
    text: str
    """Whole characters; of several tokens when the client reads more slowly than the model writes."""
    index: int
    """The number of the first token in ``text`` within the answer, from 0; a gap to the one before tells how many came
    together."""


class EditParams(GenerateParams, frozen=True, kw_only=True):
    """Change a part of an open document as an instruction says."""

    text_document: TextDocumentIdentifier
    range: Range
    """What is to be changed; an empty range asks for new text at its place."""
    instruction: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_INSTRUCTION_CHARS)]
    """1 to 32,768 characters."""
    version: Annotated[int, msgspec.Meta(ge=-MAX_POSITION - 1, le=MAX_POSITION)] | None = None
    """The document's version that the range belongs to. If the daemon knows another one, the request is refused with
    ``ContentModified``. Null: the version that the daemon knows."""


class VersionedTextDocumentIdentifier(Result, frozen=True, kw_only=True):
    """A document in one of its versions."""

    uri: str
    version: int


class TextEdit(Result, frozen=True, kw_only=True):
    """New text for a range."""

    range: Range
    new_text: str


class TextDocumentEdit(Result, frozen=True, kw_only=True):
    """Edits of one version of one document."""

    text_document: VersionedTextDocumentIdentifier
    edits: tuple[TextEdit, ...]


class WorkspaceEdit(Result, frozen=True, kw_only=True):
    """The LSP's ``WorkspaceEdit``, as far as the daemon uses it."""

    document_changes: tuple[TextDocumentEdit, ...]
    """Of one document; empty when the new text is the old one."""


class EditResult(CompleteResult, frozen=True, kw_only=True):
    """The end of an edit. Nothing is applied: that is the client's to do, once the user has agreed."""

    edit: WorkspaceEdit
    """One edit with the whole new text, streamed or not, of the document's present version: what was typed outside the
    range meanwhile has moved it. Unless ``finishReason`` is ``stop`` the new text is not complete."""


class ModelsResult(Result, frozen=True, kw_only=True):
    """The model files that can be chosen from."""

    models: tuple[ModelEntry, ...]
    """The embedded one, the configured one, the loaded one, then those of the folder by their paths."""
    folder: str
    """Where the user's model files are looked for; it need not exist."""
    has_more: bool
    """Whether the folder holds more files than are listed."""


class LoadModelParams(Params, frozen=True, kw_only=True):
    """Which model file to load in the place of the present one."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH_CHARS)]
    """Absolute, or beginning with ``~``; as in `ModelEntry`."""
    roles: Annotated[tuple[Literal["fim", "chat"], ...], msgspec.Meta(max_length=2)] = ()
    """Which requests it shall serve; empty: all."""
    work_done_token: ProgressToken | None = None
    """With it, ``$/progress`` reports the loading in percent; without, the daemon's own progress of loading does."""


class RecommendParams(Params, frozen=True, kw_only=True):
    """What a model is wanted for."""

    roles: Annotated[tuple[Role, ...], msgspec.Meta(max_length=4)] = ()
    """Empty: everything."""


class PullModelParams(Params, frozen=True, kw_only=True):
    """Which model to download."""

    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REFERENCE_CHARS)]
    """As in `Recommendation`, or ``hf:owner/repository:quantization``, ``hf:owner/repository/file.gguf``, an https
    address, an absolute path; 1 to 8,192 characters."""
    work_done_token: ProgressToken | None = None
    """With it, ``$/progress`` reports the download."""


class PullModelResult(Result, frozen=True, kw_only=True):
    """A model that is on the disk, whole and verified."""

    model: ModelEntry


class RemoveModelParams(Params, frozen=True, kw_only=True):
    """Which model to delete."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH_CHARS)]
    """Of one that was downloaded by botframework; as in `ModelEntry`."""


class SessionsResult(Result, frozen=True, kw_only=True):
    """The sessions of this client."""

    sessions: tuple[SessionInfo, ...]


class CloseSessionParams(Params, frozen=True, kw_only=True):
    """Which session to forget."""

    session: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SESSION_CHARS)]


class InspectParams(Params, frozen=True, kw_only=True):
    """Which document's last suggestion to explain."""

    text_document: TextDocumentIdentifier


class InspectResult(Result, frozen=True, kw_only=True):
    """How the last completion of a document was asked, and what became of it."""

    shown: bool
    """Whether a suggestion was sent for the last request."""
    reason: Reason
    """Why not; empty if one was sent."""
    detail: str
    """More about the reason, such as the kind of an error; may be empty."""
    source: Source
    """Where the suggestion came from; empty if there was none."""
    timings: Timings | None
    """Of the model's last answer; null if it was not asked."""
    visits: int
    """How often `botframework/didVisit` named the document since it was opened."""
    found: bool
    """False: the worker knows no completion of the document; every field below is empty."""
    order: FimOrder
    typed: FimTyped
    """Where the text since the anchor stands: before the middle's mark or after it."""
    prompt: str
    """The exact prompt, special tokens by their names, without what healing held back."""
    head: str
    """The window's text before the anchor."""
    suffix: str
    """The frozen text after the cursor."""
    middle: str
    """The text between anchor and cursor."""
    held: str
    """The end of the middle that healing took out of the prompt and demanded back from the model."""
    prompt_tokens: int
    cached_tokens: int
    evaluated_tokens: int
    is_short: bool
    """Whether the window is the short one after a jump."""
    reanchors: int
    """How often this session's window was laid anew in the background."""


class ItemCommand(Echo, frozen=True, kw_only=True):
    """The command of a suggestion, as it was sent to the client."""

    command: str = ""
    arguments: tuple[Any, ...] | None = None


class ShownItem(Echo, frozen=True, kw_only=True):
    """A suggestion, as it was sent to the client."""

    insert_text: str = ""
    range: Range | None = None
    command: ItemCommand | None = None

    @property
    def suggestion_id(self) -> str:
        """The id in the item's command; empty when the item is none of ours."""
        if self.command is None or self.command.command != ACCEPTED_COMMAND or not self.command.arguments:
            return ""
        first = self.command.arguments[0]
        return first if isinstance(first, str) else ""


class DidShowCompletionParams(Echo, frozen=True, kw_only=True):
    """A suggestion is on the screen."""

    item: ShownItem


class DidPartiallyAcceptCompletionParams(Echo, frozen=True, kw_only=True):
    """A part of a suggestion was taken over."""

    item: ShownItem
    accepted_length: Uinteger
    """UTF-16 code units of ``insertText``, counted from its beginning."""


class DidVisitParams(Params, frozen=True, kw_only=True):
    """A region that the user looked at."""

    text_document: TextDocumentIdentifier
    range: Range


class ModelReady(Result, frozen=True, kw_only=True):
    """A model was loaded."""

    model: ModelInfo
    devices: tuple[Device, ...]
    n_threads: int
    n_ctx_fim: int
    n_ctx_chat: int
    load_ms: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    llama_build: str


class ServerStatus(Result, frozen=True, kw_only=True):
    """What several editors show beside the server's name."""

    health: Literal["ok", "warning", "error"]
    quiescent: bool
    """Whether nothing is going on in the background: false while the model loads."""
    message: str


class Method(NamedTuple):
    """One method beyond the LSP."""

    name: str
    sender: Literal["client", "server"]
    kind: Literal["request", "notification"]
    params: type[msgspec.Struct]
    result: type[msgspec.Struct] | None = None


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("botframework/complete", "client", "request", CompleteParams, CompleteResult),
        Method("botframework/chat", "client", "request", ChatParams, ChatResult),
        Method("botframework/edit", "client", "request", EditParams, EditResult),
        Method("botframework/status", "client", "request", NoParams, Snapshot),
        Method("botframework/inspect", "client", "request", InspectParams, InspectResult),
        Method("botframework/pause", "client", "request", NoParams, Snapshot),
        Method("botframework/resume", "client", "request", NoParams, Snapshot),
        Method("botframework/restart", "client", "request", NoParams, Snapshot),
        Method("botframework/models/list", "client", "request", NoParams, ModelsResult),
        Method("botframework/models/load", "client", "request", LoadModelParams, Snapshot),
        Method("botframework/models/unload", "client", "request", NoParams, Snapshot),
        Method("botframework/models/recommend", "client", "request", RecommendParams, Advice),
        Method("botframework/models/pull", "client", "request", PullModelParams, PullModelResult),
        Method("botframework/models/remove", "client", "request", RemoveModelParams, ModelsResult),
        Method("botframework/sessions/list", "client", "request", NoParams, SessionsResult),
        Method("botframework/sessions/close", "client", "request", CloseSessionParams, SessionsResult),
        Method("botframework/sessions/clear", "client", "request", NoParams, SessionsResult),
        Method("botframework/didVisit", "client", "notification", DidVisitParams),
        Method("textDocument/didShowCompletion", "client", "notification", DidShowCompletionParams),
        Method(
            "textDocument/didPartiallyAcceptCompletion", "client", "notification", DidPartiallyAcceptCompletionParams
        ),
        Method("$/botframework/heartbeat", "server", "notification", Snapshot),
        Method("$/botframework/modelReady", "server", "notification", ModelReady),
        Method("experimental/serverStatus", "server", "notification", ServerStatus),
    )
}


def read_params(raw: Any, kind: type[msgspec.Struct]) -> Any:
    """Check a request's parameters.

    Raises
    ------
    InvalidParams
        Naming the field as a JSON pointer, and its limits.
    """
    try:
        return msgspec.convert({} if raw is None else raw, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `")
        pointer = _pointer(path)
        if (named := _NAMED_FIELD.search(reason)) is not None:
            pointer = f"{pointer}/{named[1]}"
        limits = _limits(kind, pointer)
        told = ", ".join(f"{name} {value}" for name, value in limits.items())
        message = f"{pointer or '/'}: {reason}{f' ({told})' if told else ''}"
        raise InvalidParams(message, pointer=pointer, limits=limits) from None
    except RecursionError:
        raise InvalidParams("/: nested too deeply", pointer="", limits={}) from None


def _pointer(path: str) -> str:
    """``$.messages[3].role`` as ``/messages/3/role``.

    For a key or a value of a map msgspec writes `` `key` in `$.map` `` and ``$.map[...]``, not which one it is.
    """
    path = path[path.find("$") + 1 :].removesuffix("`")
    return path.replace("[...]", ".*").replace("[", ".").replace("]", "").replace(".", "/")


def _limits(kind: type[msgspec.Struct], pointer: str) -> dict[str, Any]:
    """The limits that the schema gives to the field at a pointer."""
    (node,), components = msgspec.json.schema_components([kind], ref_template="{name}")
    for step in pointer.split("/")[1:]:
        node = _below(_resolve(node, components), step, components)
    node = _resolve(node, components)
    names = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "enum", "pattern")
    return {name: node[name] for name in names if name in node}


def _resolve(node: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """Follow references, and out of ``X | null`` take X."""
    while True:
        if "$ref" in node:
            node = components[node["$ref"]]
        elif "anyOf" in node:
            node = next(choice for choice in node["anyOf"] if choice.get("type") != "null")
        else:
            return node


def _below(node: dict[str, Any], step: str, components: dict[str, Any]) -> dict[str, Any]:
    found = node.get("properties", {}).get(step) or node.get("items") or node.get("additionalProperties") or {}
    return _resolve(found, components) if isinstance(found, dict) else {}
