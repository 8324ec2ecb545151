"""The heartbeat's content: one snapshot of the models, their workers, the downloads and the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from botframework.models.recommendation import Role  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from botframework.models import hardware

State = Literal["stopped", "sleeping", "starting", "loading", "ready", "paused", "restarting", "error"]
"""``paused`` is ready, with ghost text switched off by ``botframework/pause``. ``sleeping`` is not in memory, because
nobody asked for it yet or for a while, or because another window needed the room: the next request loads it."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why the model cannot be used."""

    kind: str
    """Class name in `errors`."""
    message: str


class DeviceMemory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The memory of one GPU."""

    name: str
    kind: Literal["gpu", "igpu"]
    """``igpu``: it shares the machine's memory."""
    vram_used: int | None
    """By all programs."""
    vram_total: int | None
    own_bytes: int | None
    """By the workers of this daemon; null where the driver does not tell."""


class Battery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The machine's battery."""

    percent: int
    plugged: bool

    @classmethod
    def of(cls, found: hardware.Battery | None) -> Battery | None:
        """As the probe found it."""
        return cls(percent=found.percent, plugged=found.plugged) if found is not None else None


class Download(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One model that some process of this user is pulling."""

    name: str
    done_bytes: int
    total_bytes: int | None
    bytes_per_second: float | None
    """Since the heartbeat before; null in the first one."""


class RoleModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one role's requests are served by."""

    role: Role
    name: str
    """Empty until its file was looked at."""
    path: str
    state: State
    load_percent: int
    worker_pid: int
    """0: there is none. Roles with the same model share a worker."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything that an editor may show about the daemon. Sizes are bytes; null is unknown, or there is none."""

    state: State
    """Of the model that completes code, as are name, path, progress, worker and error; ``models`` has all."""
    model_name: str = ""
    model_path: str = ""
    load_percent: int = 0
    models: tuple[RoleModel, ...] = ()
    """By role."""
    vram_used: int | None = None
    """Of all GPUs together, by all programs."""
    vram_total: int | None = None
    devices: tuple[DeviceMemory, ...] = ()
    ram_used: int = 0
    """Of the whole machine."""
    ram_total: int = 0
    daemon_rss: int = 0
    """This process."""
    worker_rss: int = 0
    """The workers, which other windows may use too; a mapped model file counts as far as it has been touched."""
    worker_pid: int = 0
    """0: there is none."""
    clients: int = 0
    """Windows that share the worker."""
    kv_tokens: int = 0
    """In the KV caches of this daemon's workers, as the next two."""
    kv_cells: int = 0
    kv_bytes: int | None = None
    """What their cells take, used or not; null is unknown."""
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
    battery: Battery | None = None
    """Null: there is none, or nobody can tell."""
    downloads: tuple[Download, ...] = ()
    """Of this window and of others."""
    suggestions_shown_today: int = 0
    suggestions_accepted_today: int = 0
    log_file: str = ""
    notice: str = ""
    """What a person should know of: a context that was made smaller for want of memory, a GPU that came or is gone; or
    empty."""
    error: Problem | None = None
    """Set in the states ``error`` and ``restarting``."""
