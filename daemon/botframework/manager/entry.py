"""One model file, as a client sees it before it is loaded.

A module of its own, because the daemon's start waits for whatever the messages import.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from botframework.manager.status import Problem  # noqa: TC001 - msgspec reads the annotations

Source = Literal["embedded", "pulled", "folder", "ollama", "lmStudio", "huggingFace", "llamaCpp", "file"]


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One model file."""

    name: str
    """What the model calls itself, else its file's name."""
    path: str
    size_bytes: int
    architecture: str
    """As in ``llama``; empty when the header cannot be read."""
    quantization: str | None
    """As in ``Q4_K_M``; null when the header cannot be read."""
    parameters: int | None
    """Null when the header cannot be read."""
    n_ctx_train: int | None
    """Tokens of context that the model was trained for; null when the header cannot be read."""
    can_infill: bool | None
    """Whether the vocabulary has fill-in-the-middle tokens, without which there is no ghost text; null when the header
    cannot be read."""
    has_chat_template: bool | None
    """False: the model was hardly trained for chat and edits. Null when the header cannot be read."""
    fits: bool | None
    """Whether weights, KV cache and working memory fit this machine's GPU or memory, with the settings in force, when
    nothing else is in it; null when the header cannot be read, or when it does not tell of the model's other files."""
    loaded: bool
    embedded: bool
    """The demonstration model inside the package."""
    configured: bool
    """A setting names it, or it is the embedded one and takes the place of a setting that is not there."""
    source: Source
    """Where it is from: the package, a download of ours, the user's own hands, another program's folder; ``file``: it
    lies in none of them and was named by its path."""
    problem: Problem | None
    """Why the file cannot be loaded, as far as its header tells."""
