"""The user's folders on this platform."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from botframework.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

APP_NAME = "botframework"
FILE_NAME = "botframework.toml"
"""The settings file's name, in the user's folder as in a workspace's root."""
SESSIONS_NAME = "sessions"
"""In the cache folder; holds a folder of snapshots for each workspace."""
ENV_RUNTIME_DIR = "BOTFRAMEWORK_RUNTIME_DIR"
"""Overrides the folder of sockets and locks."""
ENV_CONFIG_FILE = "BOTFRAMEWORK_CONFIG_FILE"
"""Overrides the path of the user's file."""

MAX_SOCKET_PATH_BYTES = 103
"""The shortest ``sun_path`` among our systems (macOS: 104 with the final NUL)."""
LONGEST_SOCKET_NAME = len("/0123456789abcdef.sock")


def config_file() -> Path:
    """The user's own settings file; it need not exist."""
    override = os.environ.get(ENV_CONFIG_FILE)
    if override:
        return Path(override).absolute()
    import platformdirs

    return _or_runtime_dir(platformdirs.user_config_path) / FILE_NAME


def log_dir() -> Path:
    """Where the log file goes; not created here."""
    import platformdirs

    return _or_runtime_dir(platformdirs.user_log_path)


def data_dir() -> Path:
    """Where models go; not created here."""
    import platformdirs

    return _or_runtime_dir(platformdirs.user_data_path)


def cache_dir() -> Path:
    """Where goes what can be made again; not created here."""
    import platformdirs

    return _or_runtime_dir(platformdirs.user_cache_path)


def sessions_dir(root_uri: str | None) -> Path:
    """The folder of a workspace's snapshots, created for this user alone: they hold the user's source.

    ``root_uri`` is the workspace's; all windows without one share a folder.

    Raises
    ------
    ConfigError
        When the folder, or the one that holds it, could be read or changed by someone else.
    """
    above = cache_dir() / SESSIONS_NAME
    make_private(above, "the folder of snapshots")
    path = above / workspace_hash(root_uri)
    make_private(path, "the workspace's folder of snapshots")
    return path


def workspace_hash(root_uri: str | None) -> str:
    """A file name for a workspace: 32 hexadecimal digits, the same for the ways in which editors spell one URI."""
    spelled = unquote(root_uri or "", errors="surrogateescape").rstrip("/")
    spelled = re.sub(r"(?i)^file:///([a-z])(?=:)", lambda drive: drive[0].lower(), spelled)
    return hashlib.sha256(spelled.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def is_workspace_hash(name: str) -> bool:
    """Whether a folder's name was made by `workspace_hash`."""
    return re.fullmatch(r"[0-9a-f]{32}", name) is not None


def _or_runtime_dir(folder: Callable[..., Path]) -> Path:
    """That folder, or the runtime folder for a user who has no home, as in a container with a made-up user id.

    A relative path would lie in the working folder, which is an untrusted workspace.
    """
    try:
        path = folder(APP_NAME, appauthor=False)
    except RuntimeError:
        return runtime_dir()
    return path if path.is_absolute() else runtime_dir()


def runtime_dir() -> Path:
    """The folder of sockets, locks and flight recorders, created for this user alone.

    Raises
    ------
    ConfigError
        When the folder, or the one that holds it, could be changed by someone else.
    """
    override = os.environ.get(ENV_RUNTIME_DIR)
    if override:
        path = Path(override).absolute()
    else:
        import warnings

        import platformdirs

        with warnings.catch_warnings():
            # It warns when it falls back to a folder under /tmp; that folder is checked below.
            warnings.simplefilter("ignore")
            path = platformdirs.user_runtime_path(APP_NAME, appauthor=False)
    if sys.platform != "win32" and len(os.fsencode(path)) + LONGEST_SOCKET_NAME > MAX_SOCKET_PATH_BYTES:
        longest = MAX_SOCKET_PATH_BYTES - LONGEST_SOCKET_NAME
        raise ConfigError(f"the runtime folder's name is too long for a socket (at most {longest} bytes): {path}")
    make_private(path, "the runtime folder")
    return path


def make_private(path: Path, what: str) -> None:
    """Create a folder for this user alone, and refuse one that is not.

    ``what`` names the folder in messages.

    Raises
    ------
    ConfigError
        When the folder, or the one that holds it, could be changed by someone else.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.mkdir(exist_ok=True, mode=0o700)
        _refuse_shared(path, what)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{what} cannot be used: {error}") from error


def _refuse_shared(path: Path, what: str) -> None:
    """Refuse a folder in which another user could put a file of theirs in the place of ours."""
    if sys.platform == "win32":
        return  # never run; %LOCALAPPDATA% is private to the user by its access list
    us = os.geteuid()
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{what} is not a folder: {path}")
    if found.st_uid != us:
        raise ConfigError(f"{what} belongs to user {found.st_uid}, not to us ({us}): {path}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"{what} is open to others (mode {stat.S_IMODE(found.st_mode):04o}): {path}")
    above = path.parent.stat()
    writable_by_others = bool(above.st_mode & 0o022) and not above.st_mode & stat.S_ISVTX
    if above.st_uid not in {us, 0} or writable_by_others:
        raise ConfigError(f"the folder that holds {what} can be changed by others: {path.parent}")
