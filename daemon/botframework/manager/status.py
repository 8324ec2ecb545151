"""The heartbeat's content: one snapshot of the model, the worker and the machine."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["stopped", "starting", "loading", "ready", "paused", "restarting", "error"]
"""``paused`` is ready, with ghost text switched off by ``botframework/pause``."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why the model cannot be used."""

    kind: str
    """Class name in `errors`."""
    message: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything that an editor may show about the daemon. Sizes are bytes; null is unknown, or there is none."""

    state: State
    model_name: str = ""
    model_path: str = ""
    load_percent: int = 0
    vram_used: int | None = None
    vram_total: int | None = None
    ram_used: int = 0
    """Of the whole machine."""
    ram_total: int = 0
    daemon_rss: int = 0
    """This process."""
    worker_rss: int = 0
    """The worker, which other windows may use too; a mapped model file counts as far as it has been touched."""
    worker_pid: int = 0
    """0: there is none."""
    clients: int = 0
    """Windows that share the worker."""
    kv_tokens: int = 0
    kv_cells: int = 0
    can_cut_tail: bool | None = None
    """Whether the model's KV cache can drop its last tokens; false: a session whose text does not only grow is read
    again, from a checkpoint if there is one. Null: no model is loaded."""
    queued: int = 0
    running: int = 0
    tokens_per_second: float = 0.0
    """Of the last second in which tokens were generated."""
    last_first_token_ms: float = 0.0
    """Of this daemon's last answer; 0 when there was none."""
    prompt_tokens_read: int = 0
    """Since the worker's start, for all windows."""
    background_tokens_read: int = 0
    """Since the worker's start: tokens that nobody waited for, such as prefetch."""
    chat_tokens_discarded: int = 0
    """Since the worker's start: prompt tokens of chats that have to be read again because a completion came first."""
    tokens_generated: int = 0
    """Since the worker's start."""
    suggestions_shown_today: int = 0
    suggestions_accepted_today: int = 0
    log_file: str = ""
    error: Problem | None = None
    """Set in the states ``error`` and ``restarting``."""
