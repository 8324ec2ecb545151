"""Where the user's model files are, and how much they may take. A module of its own: every heartbeat asks it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from botframework import config

if TYPE_CHECKING:
    from botframework.config import Settings

FOLDER_NAME = "models"
"""In the user's data folder."""


def models_folder(settings: Settings) -> Path:
    """Where models are looked for and pulled to; it need not exist."""
    chosen = settings.models.folder
    return Path(chosen).expanduser() if chosen is not None else config.data_dir() / FOLDER_NAME


def limit_bytes(settings: Settings) -> int | None:
    """Of all pulled models together; None: there is no limit."""
    gib = settings.models.disk_gib
    return None if gib is None else int(gib * (1 << 30))
