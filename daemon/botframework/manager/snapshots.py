"""Where the sessions of this window are kept on disk, and how they are taken away without a worker."""

from __future__ import annotations

import contextlib
import logging
import stat
from typing import TYPE_CHECKING

from botframework import config
from botframework.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.config import Settings

_log = logging.getLogger(__name__)


def folder(settings: Settings, root_uri: str) -> str:
    """The workspace's folder of snapshots, made if need be; empty if there are to be none. Reads the disk."""
    if not settings.workspace_trusted or not settings.sessions.snapshots:
        return ""
    try:
        return str(config.sessions_dir(root_uri))
    except ConfigError as error:
        _log.warning("sessions are not kept on disk: %s", error)
        return ""


def limit_bytes(settings: Settings) -> int:
    """What the snapshots of all workspaces may take together."""
    return settings.sessions.disk_mib << 20


def delete_all(root_uri: str) -> None:
    """Delete the workspace's snapshots, whoever wrote them. Reads the disk; never raises for its content."""
    with contextlib.suppress(OSError, ConfigError):
        where = config.cache_dir() / config.SESSIONS_NAME / config.workspace_hash(root_uri)
        if stat.S_ISLNK(where.lstat().st_mode):
            return  # not ours: we make a folder
        for path in where.iterdir():
            _delete(path)


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        _log.warning("a snapshot could not be deleted: %s", error.strerror)
