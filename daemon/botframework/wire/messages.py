"""The messages between daemon and worker.

Each message is one msgpack map inside one length-prefixed frame (`wire.link`). The field ``t`` names its type.
Times are milliseconds unless the name ends in ``_s``; sizes are bytes; counts of text are tokens unless the name says
otherwise.
Request ids are chosen by the client of a connection and mean nothing on any other connection.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

PROTOCOL_VERSION = 3
"""Raised with every change that an older peer would misread."""

MAX_TOKENS_LIMIT = 32_768
"""No answer is longer; a client that wants more asks again."""
MAX_STOP_STRINGS = 16
"""Every one of them is looked for in every piece of text."""
MAX_STOP_CHARS = 256
"""Text that could be the beginning of a stop string is held back, so a long one delays the stream."""
MAX_LOGIT_BIAS = 1_024
"""Carried out at every token."""
MAX_MESSAGES = 1_024
"""Turns of a conversation; templates render all of them for every answer."""
MAX_SESSION_CHARS = 512
"""A file's URI fits; longer ones are shortened with a hash."""
MAX_DEADLINE_MS = 3_600_000
"""An hour: whoever wants to wait longer gives no deadline."""

Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Penalty = Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)]
SessionName = Annotated[str, msgspec.Meta(max_length=MAX_SESSION_CHARS)]
StopString = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_STOP_CHARS)]
Priority = Literal["completion", "edit", "chat", "background"]
"""Best first. The editor's own requests are completions and chats; the worker serves all four."""
FinishReason = Literal["stop", "stopString", "ending", "length", "deadline", "cancelled"]
Ending = Literal["", "lineEnd", "dedent", "suffixLine", "repetition", "closer", "blankLine", "time"]
"""Which rule of `worker.endings` ended a ghost text; empty: none did."""
FimOrder = Literal["psm", "spm"]
FimTyped = Literal["before", "after"]
"""Where the text since the anchor stands: in the prefix, or behind the middle's mark as its beginning."""
Whereabouts = Literal["kv", "memory", "disk"]
"""A session's state is in the KV cache, in the worker's memory, or in a snapshot file."""


class Message(msgspec.Struct, tag_field="t", frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything that crosses the local socket."""


class Sampling(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", forbid_unknown_fields=True
):
    """How to choose a token. Temperature 0 is greedy and ignores every other field but the penalties and the biases.

    The chain is: logit_bias, penalties, top_k, infill, top_p, min_p, temperature, draw. top_k comes before every other
    filter because sorting a whole 150k vocabulary costs 10 ms a token.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=5.0)] = 0.0
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 40
    """0 keeps 1,000 candidates, the largest number that later filters still handle quickly."""
    top_p: Probability = 0.95
    min_p: Probability = 0.0
    repeat_penalty: Annotated[float, msgspec.Meta(ge=0.5, le=2.0)] = 1.0
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    penalty_last_n: Annotated[int, msgspec.Meta(ge=0, le=4_096)] = 64
    """How many generated tokens the penalties look back on; the prompt is never penalised."""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] | None = None
    """None draws a fresh seed."""
    logit_bias: Annotated[
        dict[Annotated[str, msgspec.Meta(pattern="^[0-9]{1,7}$")], Annotated[float, msgspec.Meta(ge=-100.0, le=100.0)]],
        msgspec.Meta(max_length=MAX_LOGIT_BIAS),
    ] = {}
    """Token id (as a string, JSON knows no other key) to an addition to its logit; -100 forbids the token."""
    infill: bool = False
    """llama.cpp's infill sampler: merges candidates that are prefixes of one another and ends a middle earlier."""


# --- daemon to worker -------------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    """The first frame of a connection."""

    protocol: int
    version: str
    """The package version of the daemon."""
    keep_alive_s: float = 0.0
    """How long the worker outlives its last connection; the longest among its clients counts."""
    name: str = ""
    """For logs: who is this client?"""
    snapshot_dir: str = ""
    """Folder for snapshots of this connection's sessions, one per workspace; empty: nothing is written."""
    snapshot_bytes: int = 0
    """All snapshots of the folder together; the least recently used are deleted beyond it."""
    observes: bool = False
    """Only asks what the worker holds: no client, nothing that keeps the worker alive."""


class LoadModel(Message, frozen=True, tag="load"):
    """Load this model, or join its loading: every client sends it, the first one's is carried out.

    The manager decides all of it; the worker decides nothing about the machine but the faster of the offered thread
    counts. A client whose values differ from the loaded ones belongs to another worker key and is refused.
    """

    path: str
    n_gpu_layers: int
    n_threads: tuple[int, ...]
    """Thread counts to choose from at load, by measuring one decode each; one entry is taken as it is."""
    n_ctx_fim: int
    """KV cells of the context for completion."""
    n_ctx_chat: int
    """KV cells of the context for chat and edit."""
    n_seq_fim: int
    n_seq_chat: int
    n_ubatch_fim: int
    """Tokens of a micro-batch: the unit of preemption and of what an abort can lose."""
    n_ubatch_chat: int
    flash_attn: bool = True
    use_mmap: bool = True
    kv_type: Literal["f16", "q8_0"] = "f16"
    fim_order: Literal["auto", "psm", "spm"] = "auto"
    fim_typed: Literal["auto", "before", "after"] = "auto"
    parked_bytes: int = 1 << 30
    """Host memory for the states of sessions that have no cells; the least recently used go beyond it."""


class GenerateRequest(Message, frozen=True, kw_only=True):
    """What all requests for tokens have in common."""

    id: int
    session: SessionName = ""
    """Keeps its KV sequence under this name (per connection); empty: none is kept."""
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS_LIMIT)] = 256
    sampling: Sampling = Sampling()
    stop: Annotated[tuple[StopString, ...], msgspec.Meta(max_length=MAX_STOP_STRINGS)] = ()
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEADLINE_MS)] | None = None
    """From the arrival of the frame. At the deadline generation ends with what is there (finish reason ``deadline``);
    `DeadlineExceeded` if nothing is."""
    priority: Priority = "chat"
    stream: bool = True
    """False: no `Token` frames, the text comes with `Done`."""
    solo: bool = False
    """Compute this request in calls of its own: it is suspected of having killed a worker."""
    fingerprint: bytes = b""
    """16 bytes that name the request's content across restarts (`wire.flight`)."""


class FimRequest(GenerateRequest, frozen=True, kw_only=True, tag="fim"):
    """Fill in the middle between prefix and suffix; both are cut to fit, never refused.

    With ``max_tokens`` 0 the prompt is only read, so that the next request of the session finds it in the KV cache.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS_LIMIT)] = 256
    prefix: str
    suffix: str = ""
    ghost: bool = False
    """End where a person would look up: the rules of `worker.endings`."""
    one_line: bool = False
    """With ``ghost``: end before the first line end."""
    heal: bool = True
    """A word or a run of blanks that the cursor cuts may go on as one token (`worker.healing`)."""
    line_budget_ms: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEADLINE_MS)] | None = None
    """With ``ghost``: so long after the first token the answer ends at the next line end."""


class ChatMessage(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", forbid_unknown_fields=True
):
    """One turn."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class ChatRequest(GenerateRequest, frozen=True, tag="chat"):
    """Render the messages with the model's own template and answer."""

    messages: Annotated[tuple[ChatMessage, ...], msgspec.Meta(min_length=1, max_length=MAX_MESSAGES)]
    trim: bool = True
    """Drop the oldest whole turns (never the system message) when the messages do not fit; False: `ContextOverflow`."""


class Cancel(Message, frozen=True, tag="cancel"):
    """Stop a request of this connection. It still gets its one `Done` (``cancelled``) or `Failure`."""

    id: int


class ListSessions(Message, frozen=True, tag="sessions"):
    """Ask for this connection's sessions."""

    id: int


class CloseSession(Message, frozen=True, tag="close"):
    """Free a session's memory; answered with `Sessions`. Its snapshot stays: the file may be opened again.

    The answer lists the sessions in memory only: an editor closes many files at once, and a folder is slow to list.
    """

    id: int
    session: SessionName


class ClearSessions(Message, frozen=True, tag="clear"):
    """Forget every session of this connection and delete its snapshots; answered with `Sessions`."""

    id: int


class Inspect(Message, frozen=True, tag="inspect"):
    """Ask for the prompt of a session's last completion; answered with `Inspection`."""

    id: int
    session: SessionName


class GetStats(Message, frozen=True, tag="stats"):
    """Ask for `Stats`. Answered by the connection's own thread, even while llama.cpp computes."""

    id: int


class Drain(Message, frozen=True, tag="drain"):
    """Somebody needs the memory: ask the clients to leave, if nothing was asked of the worker for a while.

    Answered with `DrainAnswer`. Each client decides for itself; the worker ends with the last of them, at once.
    """

    id: int
    idle_s: Annotated[float, msgspec.Meta(ge=0.0)]
    """Since the last request of any client; a worker that was used later is left alone."""


# --- worker to daemon -------------------------------------------------------------------------------------------------


class Welcome(Message, frozen=True, tag="welcome"):
    """The answer to `Hello`."""

    protocol: int
    version: str
    pid: int


class LoadProgress(Message, frozen=True, tag="progress"):
    """0 to 1; at most ten a second."""

    fraction: float


class Device(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One compute device as llama.cpp sees it."""

    name: str
    description: str
    kind: Literal["cpu", "gpu", "igpu", "accelerator"]
    total_bytes: int
    free_bytes: int


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the loaded model is."""

    name: str
    architecture: str
    description: str
    path: str
    size_bytes: int
    n_params: int
    n_vocab: int
    n_ctx_train: int
    n_layers: int
    n_embd: int
    can_infill: bool
    fim_order: Literal["psm", "spm", "none"]
    fim_typed: FimTyped = "before"
    has_chat_template: bool
    can_cut_tail: bool
    """Whether the KV cache can drop its last tokens. False for recurrent models, whose sessions need checkpoints."""


class Loaded(Message, frozen=True, tag="loaded"):
    """The model is ready."""

    model: ModelInfo
    devices: tuple[Device, ...]
    n_threads: int
    n_ctx_fim: int
    n_ctx_chat: int
    load_ms: float
    prefill_tokens_per_s: float
    """Measured while choosing the threads."""
    decode_tokens_per_s: float
    llama_build: str


class DeviceShare(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one device would hold beside the weights; ``CPU`` is the machine's memory."""

    device: str
    """llama.cpp's name."""
    kv_bytes: int
    recurrent_bytes: int
    compute_bytes: int


class Measured(Message, frozen=True, tag="measured"):
    """What a load would take, as llama.cpp itself says without carrying it out (``botframework worker --measure``)."""

    weights_bytes: int = 0
    kv_bytes: int = 0
    """Of both contexts, to the nearest hundredth of a MiB, as all that follows."""
    recurrent_bytes: int = 0
    compute_bytes: int = 0
    shares: tuple[DeviceShare, ...] = ()
    layer_devices: tuple[str, ...] = ()
    """Where the weights of each block would go, and behind them those of the output."""
    devices: tuple[Device, ...] = ()
    """All that llama.cpp sees, used or not."""
    engine: str = ""
    """Which llama.cpp this is; told where no load was asked about, as ``features`` is."""
    features: str = ""
    """What it was built with and uses on this machine, in llama.cpp's own words."""


class LoadFailed(Message, frozen=True, tag="load_failed"):
    """The model could not be loaded; the worker ends after it has told every client."""

    kind: str
    """Class name in `errors`."""
    message: str
    data: dict[str, Any] = {}


class Token(Message, frozen=True, tag="token"):
    """Some more text of an answer: whole characters only, perhaps of several tokens."""

    id: int
    text: str
    index: int
    """0, 1, 2, … within the answer."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Token counts of one answer."""

    prompt_tokens: int
    cached_tokens: int
    """Prompt tokens that were already in the KV cache."""
    evaluated_tokens: int
    """Prompt tokens read for this session since its previous answer, whoever asked for them."""
    completion_tokens: int


class Timings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Milliseconds of one answer, from the arrival of its request at the worker."""

    queue_ms: float
    first_token_ms: float
    """To the first token; 0 when there was none."""
    prompt_ms: float
    """Spent in reading the prompt."""
    decode_ms: float
    """Spent in generating."""


class Done(Message, frozen=True, tag="done"):
    """The one successful end of a request."""

    id: int
    text: str
    """The whole answer; empty if it was streamed."""
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    dropped_messages: int = 0
    ending: Ending = ""
    """The rule that ended it, with finish reason ``ending``."""
    mean_logprob: float = 0.0
    """Of the generated tokens of a completion, natural logarithm; 0 when there are none."""


class Failure(Message, frozen=True, tag="failure"):
    """The one unsuccessful end of a request."""

    id: int
    kind: str
    """Class name in `errors`."""
    message: str
    data: dict[str, Any] = {}


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One KV session."""

    session: str
    context: Literal["fim", "chat"]
    tokens: int
    busy: bool
    idle_s: float
    where: Whereabouts = "kv"
    bytes: int = 0
    """Of the state; for one in the KV cache, of its share of the cells."""


class Sessions(Message, frozen=True, tag="session_list"):
    """The answer to `ListSessions` and `CloseSession`."""

    id: int
    sessions: tuple[SessionInfo, ...]


class Inspection(Message, frozen=True, tag="inspection"):
    """How a session's last completion was asked."""

    id: int
    found: bool
    """False: the session has had no completion; every other field is empty."""
    order: FimOrder = "psm"
    typed: FimTyped = "before"
    prompt: str = ""
    """The exact prompt, special tokens by their names, without what healing held back."""
    head: str = ""
    """The window's text before the anchor."""
    suffix: str = ""
    """The frozen text after the cursor."""
    middle: str = ""
    """The text between anchor and cursor."""
    held: str = ""
    """The end of the middle that healing took out of the prompt and demanded back from the model."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    evaluated_tokens: int = 0
    is_short: bool = False
    """The window after a jump: it is widened when nobody types."""
    reanchors: int = 0
    """How often this session's window was laid anew in the background."""


class Stats(Message, frozen=True, tag="stats_now"):
    """The worker at this moment; other clients' work is in the sums only."""

    id: int
    rss_bytes: int
    kv_tokens: int
    kv_cells: int
    queued: int
    running: int
    tokens_per_s: float
    """Of the last second in which tokens were generated."""
    last_first_token_ms: float
    """Of this connection's last answer; 0 when there was none."""
    n_threads: int
    clients: int
    devices: tuple[Device, ...] = ()
    prompt_tokens_read: int = 0
    """Since the start, for requests of all clients."""
    background_tokens_read: int = 0
    """Since the start: re-anchoring and prefetch, whose tokens nobody waited for."""
    chat_tokens_discarded: int = 0
    """Since the start: prompt tokens of chats in micro-batches that a completion ended; they are read again."""
    tokens_generated: int = 0
    """Since the start."""
    model_path: str = ""
    """Empty before anybody has asked for one."""
    is_loading: bool = False
    """Whether the model is not in memory yet, or not whole."""
    file_bytes: int = 0
    """Of the model's file; of one in several parts, of the first."""
    idle_s: float = 0.0
    """Since the last request of any client was answered; 0 while one is not, and while the model is loading."""


class DrainAnswer(Message, frozen=True, tag="drain_answer"):
    """The answer to `Drain`."""

    id: int
    is_agreed: bool
    """Whether the clients were asked; whether they leave is seen by the worker's end."""


class LeaveAsked(Message, frozen=True, tag="leave"):
    """Another daemon needs the worker's memory: let go of the worker, unless it is in use."""

    idle_s: float
    """As in `Drain`."""


ToWorker = (
    Hello
    | LoadModel
    | FimRequest
    | ChatRequest
    | Cancel
    | ListSessions
    | CloseSession
    | ClearSessions
    | Inspect
    | GetStats
    | Drain
)
ToDaemon = (
    Welcome
    | LoadProgress
    | Loaded
    | LoadFailed
    | Token
    | Done
    | Failure
    | Sessions
    | Inspection
    | Stats
    | DrainAnswer
    | LeaveAsked
)
