"""One recommended model: the value that the command line, the LSP and the extension show alike.

A module of its own, because the daemon's start waits for whatever the messages import.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["fim", "chat", "embed", "rerank"]
"""What a model is for: ghost text, conversations and edits, vectors of texts, the order of search results."""
Placement = Literal["gpu", "partial", "cpu", "none"]
"""Where its weights come to lie: on the GPU, some of its layers there, in main memory; ``none``: nowhere."""


class Scores(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """From 0 to 100, more is better; null is unknown."""

    size: float
    """How much memory the weights leave."""
    precision: float
    """Whether this number format has the room that it needs."""
    kv: float
    """How much context fits beside the weights."""
    performance: float | None
    """By the bandwidth of the memory that the weights come to lie in."""
    density: float | None
    """Published accuracy for its size; null where none is published."""


class Recommendation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model of the catalog for one role on this machine, and why."""

    model_id: str
    """As in the catalog."""
    name: str
    """For people."""
    role: Role
    repository: str
    """At the hub, as in ``Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF``."""
    quantization: str
    """As in ``Q4_K_M``."""
    reference: str
    """What `botframework/models/pull` takes."""
    parameters: int
    licence: str | None
    """Null where it is not known."""
    estimated_bytes: int
    """Of the weights, by parameters and bits per weight; the hub tells the true size when they are pulled."""
    placement: Placement
    context_tokens: int
    """What fits beside the weights: at most 4,096 for ghost text, 32,768 for chat, 8,192 otherwise, and what the model
    was trained for."""
    scores: Scores
    total: float
    """The scores together, 0 to 100; it orders only what is otherwise equal (place, speed, first choice)."""
    reasons: tuple[str, ...]
    """Sentences for people."""
    installed_path: str | None
    """Of its file, as in `ModelEntry`; null: it is not here."""

    @property
    def is_installed(self) -> bool:
        """Whether the file is here."""
        return self.installed_path is not None
