"""The user's folders on this platform."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

APP_NAME = "botframework"
FILE_NAME = "botframework.toml"
"""The settings file's name, in the user's folder as in a workspace's root."""
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
    """Where models and snapshots go; not created here."""
    import platformdirs

    return _or_runtime_dir(platformdirs.user_data_path)


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.mkdir(exist_ok=True, mode=0o700)
        _refuse_shared(path)
    except OSError as error:
        raise ConfigError(f"the runtime folder cannot be used: {error}") from error
    return path


def _refuse_shared(path: Path) -> None:
    """Refuse a folder in which another user could put a socket of theirs in the place of ours."""
    if sys.platform == "win32":
        return  # never run; %LOCALAPPDATA% is private to the user by its access list
    us = os.geteuid()
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"the runtime folder is not a folder: {path}")
    if found.st_uid != us:
        raise ConfigError(f"the runtime folder belongs to user {found.st_uid}, not to us ({us}): {path}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"the runtime folder is open to others (mode {stat.S_IMODE(found.st_mode):04o}): {path}")
    above = path.parent.stat()
    writable_by_others = bool(above.st_mode & 0o022) and not above.st_mode & stat.S_ISVTX
    if above.st_uid not in {us, 0} or writable_by_others:
        raise ConfigError(f"the folder that holds the runtime folder can be changed by others: {path.parent}")
