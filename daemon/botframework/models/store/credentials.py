"""The user's token for the hub: found, never shown, never written.

It is looked for in the environment (``HF_TOKEN``), in the file where the hub's own program keeps it, and in the
system's keyring if the library for it is installed (``pip install botframework[keyring]``). `network` sends it to the
hub's own address and to nobody else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""The second is the first's old name."""
ENV_TOKEN_FILE = "HF_TOKEN_PATH"  # noqa: S105 - the name of a variable
KEYRING_SERVICE = "botframework"
KEYRING_USER = "huggingface"
MAX_TOKEN_CHARS = 1_024
"""The hub's have some forty."""
HOW_TO_SET = (
    "set HF_TOKEN in the environment that the editor starts from, or run `hf auth login`"
    f" (or `keyring set {KEYRING_SERVICE} {KEYRING_USER}` with the extra botframework[keyring])"
)

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that does not show itself."""

    value: str = field(repr=False)
    source: str
    """Where it was found, in words for a message."""

    def __str__(self) -> str:
        return f"the token from {self.source}"


def find_token(environ: Mapping[str, str] | None = None) -> Token | None:
    """The first token that is set, or None.

    May read a file and ask the keyring, which may ask the user: not for an event loop.

    Raises
    ------
    ConfigError
        One is set that can be no token; the message says where, not what.
    """
    environ = os.environ if environ is None else environ
    for name in ENV_TOKENS:
        if text := environ.get(name, "").strip():
            return _checked(text, f"the environment variable {name}")
    path = token_file(environ)
    if path is not None and (text := _read(path)):
        return _checked(text, f"the file {path}")
    if text := _from_keyring():
        return _checked(text, "the keyring")
    return None


def token_file(environ: Mapping[str, str]) -> Path | None:
    """Where the hub's own program keeps the token; None for a user without a home."""
    if path := environ.get(ENV_TOKEN_FILE):
        return Path(path)
    if folder := environ.get("HF_HOME"):
        return Path(folder) / "token"
    if folder := environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "huggingface" / "token"
    try:
        return Path.home() / ".cache" / "huggingface" / "token"
    except RuntimeError:
        return None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_TOKEN_CHARS + 2).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _from_keyring() -> str:
    """What the keyring has for us; empty without the library, a keyring or an entry."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return ""
    try:
        return (keyring.get_password(KEYRING_SERVICE, KEYRING_USER) or "").strip()
    except (KeyringError, OSError, RuntimeError):
        return ""


def _checked(text: str, source: str) -> Token:
    if len(text) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(text):
        raise ConfigError(
            f"{source} holds no token of the hub: expected one word of at most {MAX_TOKEN_CHARS} characters"
        )
    return Token(text, source)
