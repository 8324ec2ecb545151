"""A smaller load of the same model, for when there was not enough memory for the first."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from botframework.manager.load import worker_key
from botframework.models.fit import LEAST_CTX_CHAT

if TYPE_CHECKING:
    from botframework.manager.load import Choice

LEAST_CTX_FIM = 2_048
"""Cells that completion keeps."""
LAYERS_KEPT = 3 / 4
"""Of the layers on the GPU: one try has to be enough, and a layer more or less is not felt."""


def shrunk(choice: Choice) -> Choice | None:
    """Half the contexts, down to what is of use, and fewer layers on the GPU; None if nothing can be taken away.

    Reads the file's status: not for an event loop.
    """
    load = choice.load
    smaller = msgspec.structs.replace(
        load,
        n_ctx_chat=_halved(load.n_ctx_chat, LEAST_CTX_CHAT),
        n_ctx_fim=_halved(load.n_ctx_fim, LEAST_CTX_FIM),
        n_gpu_layers=int(load.n_gpu_layers * LAYERS_KEPT),
    )
    if smaller == load:
        return None
    return dataclasses.replace(choice, load=smaller, key=worker_key(smaller, Path(load.path).stat()))


def explained(before: Choice, after: Choice) -> str:
    """What was made smaller, for people."""
    old, new = before.load, after.load
    parts = [
        f"{now:,} instead of {was:,} {what}"
        for was, now, what in (
            (old.n_ctx_chat, new.n_ctx_chat, "tokens of chat context"),
            (old.n_ctx_fim, new.n_ctx_fim, "tokens of completion context"),
            (old.n_gpu_layers, new.n_gpu_layers, "layers on the GPU"),
        )
        if was != now
    ]
    return f"There was not enough memory for {before.name}: it was loaded with {', '.join(parts)}."


def _halved(value: int, least: int) -> int:
    return min(value, max(least, value // 2))
