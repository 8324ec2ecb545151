"""The settings tree: every setting with its default, its unit and its limits.

The limits are no wider than the ones of the messages that carry the values to the worker.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Completion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Ghost text."""

    enabled: bool = True
    """Answer inline completion requests at all."""
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 256
    """Tokens of one suggestion, at most."""
    deadline_ms: Annotated[int, msgspec.Meta(ge=50, le=60_000)] = 2_000
    """Milliseconds after which a suggestion ends with what is there; later nobody looks at it any more."""
    line_budget_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 500
    """Milliseconds after the first token from which on a suggestion ends at the next line end."""
    debounce_ms: Annotated[int, msgspec.Meta(ge=0, le=2_000)] | None = None
    """Milliseconds that an answer waits for another keystroke; unset: as long as your typing rhythm suggests."""
    prefill: bool = True
    """Read what is new at every change of a document, before the editor asks for a suggestion."""
    prefetch: bool = True
    """Compute the suggestion after a shown one in the background; false saves energy."""
    min_logprob: Annotated[float, msgspec.Meta(ge=-100.0, le=0.0)] | None = None
    """Drop suggestions whose tokens have a lower mean log probability (natural logarithm); unset: drop none."""
    multiline: bool = True
    """Suggestions may go on after the end of the line."""
    replace_closers: bool = True
    """Suggestions may replace closing brackets and quotes behind the cursor; false for editors that misplace those."""
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=5.0)] = 0.0
    """0 always takes the likeliest token."""
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 40
    """Candidates kept per token; 0 keeps 1,000."""
    top_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.95
    """Keep the likeliest candidates up to this probability."""
    min_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Drop candidates less likely than this share of the likeliest."""
    repeat_penalty: Annotated[float, msgspec.Meta(ge=0.5, le=2.0)] = 1.0
    """Above 1 repeats less."""


class Chat(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Chat."""

    system_prompt: Annotated[str, msgspec.Meta(max_length=32_768)] = ""
    """Put before a conversation that brings no system message; empty: none."""
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=32_768)] = 1_024
    """Tokens of one answer, at most."""
    deadline_ms: Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)] = 600_000
    """Milliseconds after which an answer ends with what is there."""
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=5.0)] = 0.7
    """0 always takes the likeliest token."""
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 40
    """Candidates kept per token; 0 keeps 1,000."""
    top_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.95
    """Keep the likeliest candidates up to this probability."""
    min_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.05
    """Drop candidates less likely than this share of the likeliest."""
    repeat_penalty: Annotated[float, msgspec.Meta(ge=0.5, le=2.0)] = 1.0
    """Above 1 repeats less."""
    trim: bool = True
    """Drop the oldest whole turns when a conversation outgrows the context; false: report an error."""


class Edit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Changes of a selection by an instruction."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=32_768)] = 2_048
    """Tokens of the new text, at most."""
    deadline_ms: Annotated[int, msgspec.Meta(ge=1_000, le=3_600_000)] = 300_000
    """Milliseconds after which the new text ends with what is there."""
    context_chars: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 6_000
    """Characters of the file around the selection that the model reads; less if they do not fit its context."""
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=5.0)] = 0.0
    """0 always takes the likeliest token."""
    top_k: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 40
    """Candidates kept per token; 0 keeps 1,000."""
    top_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.95
    """Keep the likeliest candidates up to this probability."""
    min_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.05
    """Drop candidates less likely than this share of the likeliest."""
    repeat_penalty: Annotated[float, msgspec.Meta(ge=0.5, le=2.0)] = 1.0
    """Above 1 repeats less; an edit has to repeat what stays."""


class Models(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The user's model files, and which of them does what."""

    folder: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)] | None = None
    """Where GGUF files to choose from are looked for and pulled to, absolute or beginning with ``~``; unset: ``models``
    in the user's data folder."""
    disk_gib: Annotated[float, msgspec.Meta(ge=1.0, le=1_048_576.0)] | None = None
    """GiB of pulled models; beyond it a pull deletes those that were unused for longest, never one that a setting names
    or a worker holds. Unset: nothing is deleted."""
    fim: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)] | None = None
    """Path of the GGUF file that completes code; unset: ``model``."""
    chat: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)] | None = None
    """Path of the GGUF file that chats and edits; unset: ``model``."""
    embed: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)] | None = None
    """Path of the GGUF file for embeddings. Nothing computes them yet: it is listed and not deleted."""
    rerank: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)] | None = None
    """Path of the GGUF file that orders search results. Nothing does so yet: it is listed and not deleted."""


class Engine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How llama.cpp is set up. Any difference here makes another worker."""

    n_gpu_layers: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    """Layers on the GPU; unset: as many as fit."""
    n_threads: Annotated[int, msgspec.Meta(ge=1, le=512)] | None = None
    """CPU threads; unset: physical cores minus one."""
    n_ctx_fim: Annotated[int, msgspec.Meta(ge=256, le=131_072)] = 4_096
    """KV cells of the completion context; attention costs grow with them, so it is small."""
    n_ctx_chat: Annotated[int, msgspec.Meta(ge=256, le=1_048_576)] = 8_192
    """KV cells of the chat context."""
    n_seq_fim: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    """Sequences in the completion context; llama.cpp allows 256."""
    n_seq_chat: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4
    """Sequences in the chat context."""
    n_ubatch_fim: Annotated[int, msgspec.Meta(ge=1, le=8_192)] = 64
    """Tokens per micro-batch of completion: what an abort can lose; 64 costs 6 % of the prompt speed on a CPU."""
    n_ubatch_chat: Annotated[int, msgspec.Meta(ge=1, le=8_192)] = 128
    """Tokens per micro-batch of chat: how long a completion may wait for a running chat."""
    flash_attention: bool = True
    """Part of every saved state, therefore never left to llama.cpp's choice."""
    kv_type: Literal["f16", "q8_0"] = "f16"
    """Number format of the KV cache; ``q8_0`` halves it and needs flash attention."""
    mmap: bool = True
    """Map the model file instead of copying it."""
    fim_order: Literal["auto", "psm", "spm"] = "auto"
    """Prefix-suffix-middle or suffix-first; ``auto`` asks the model file."""
    fim_typed: Literal["auto", "before", "after"] = "auto"
    """Where text typed since the anchor stands: before the middle's mark or after it; ``auto`` asks the model file."""
    parked_mib: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)] = 1_024
    """MiB of host memory for the states of sessions that have no KV cells; the least recently used go beyond it."""


class Worker(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The process that holds the model."""

    keep_alive_s: Annotated[float, msgspec.Meta(ge=0.0, le=86_400.0)] = 0.0
    """Seconds that it outlives its last client; 0: it goes with the editor."""
    preload: bool = True
    """Load a model when the editor starts; false: at the first request for it."""
    idle_unload_minutes: Annotated[float, msgspec.Meta(ge=0.0, le=10_080.0)] = 0.0
    """Minutes without a request after which a model is let go of, to be loaded again by the next one; 0: never."""


class Sessions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is kept of a session on disk."""

    snapshots: bool = True
    """Write the states of sessions to disk, so that a file is not read again after a restart. They hold its text."""
    disk_mib: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 2_048
    """MiB of snapshots of all workspaces together; the least recently used are deleted beyond it."""


class Log(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The log file and stderr."""

    level: Literal["error", "warning", "info", "debug"] = "info"
    """Least level that is written. Texts of the user are never written, whatever the level."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything that can be set."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)] | None = None
    """Path of the GGUF file that does everything for which ``models.fim`` and its like name no other, absolute or
    beginning with ``~``; unset: the embedded demonstration model."""
    workspace_trusted: bool = True
    """Whether the user trusts the workspace, as far as the editor knows; false: no snapshots are read or written."""
    heartbeat_s: Annotated[float, msgspec.Meta(ge=0.1, le=3_600.0)] = 2.0
    """Seconds between two heartbeats when nothing changes."""
    completion: Completion = Completion()
    chat: Chat = Chat()
    edit: Edit = Edit()
    models: Models = Models()
    engine: Engine = Engine()
    worker: Worker = Worker()
    sessions: Sessions = Sessions()
    log: Log = Log()


MODEL_FILES = frozenset({"model", "models.fim", "models.chat", "models.embed", "models.rerank"})
"""Settings that name a model: one that is refused is not replaced by another."""
PATHS = MODEL_FILES | {"models.folder"}
"""Settings that are paths: absolute, since the working folder is usually an untrusted workspace."""
MACHINE_SETTINGS = ("model", "workspaceTrusted", "engine.", "worker.", "sessions.diskMib")
"""Names, and beginnings of names, of what no workspace may set: it chooses files or decides what stays in memory."""
ONLY_OFF = frozenset({"sessions.snapshots"})
"""What a workspace may switch off but not on, since it writes the user's text to disk."""
