"""Names that come from outside, before they become part of a path or an address here.

A repository lists whatever names its owner chose, and a user pastes what somebody else wrote. Both become the local
names of files, so they are held to what every one of our systems can store and no program reads as anything else.
"""

from __future__ import annotations

import re

from botframework.errors import PullRefused

MAX_NAME_BYTES = 200
"""Of one part of a path. File systems allow 255, and the store adds endings of its own."""
MAX_PATH_BYTES = 600
"""Of a whole path inside a repository; macOS allows 1,024 with the store's own folders before it."""
MAX_PATH_PARTS = 8
"""Folders in a repository of models are one or two deep."""

_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
"""Windows opens a device by these names in any folder, whatever ending they have."""
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\%\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]')
"""Controls, what Windows forbids, what turns the direction of the text around a name, and the percent sign: a name that
has one is a different name to whoever decodes it once more."""
_REPOSITORY_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_path(path: str) -> str:
    """The path of a file inside a repository, as it was given.

    Raises
    ------
    PullRefused
        It is absolute, leaves its folder, or could mean something else on one of our systems.
    """
    parts = path.split("/")
    if len(parts) > MAX_PATH_PARTS or len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        raise PullRefused(
            f"the file name {shown_name(path)} is too long: at most {MAX_PATH_BYTES} bytes in {MAX_PATH_PARTS} parts"
        )
    for part in parts:
        if problem := _problem(part):
            raise PullRefused(f"the file name {shown_name(path)} is refused: {problem}")
    return path


def check_repository(owner: str, repository: str) -> None:
    """Refuse what cannot be a repository at the hub.

    Raises
    ------
    PullRefused
        With what such a name may consist of.
    """
    for part in (owner, repository):
        if not _REPOSITORY_PART.fullmatch(part) or ".." in part or _DEVICES.fullmatch(part):
            raise PullRefused(
                f"{shown_name(f'{owner}/{repository}')} is no repository: expected owner/name of letters, digits, "
                "'.', '_' and '-'"
            )


def check_revision(revision: str) -> str:
    """A branch, tag or commit, as it was given.

    Raises
    ------
    PullRefused
        With what such a name may consist of.
    """
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise PullRefused(
            f"{shown_name(revision)} is no revision: expected a branch, tag or commit of letters, digits, '.', '_', '-'"
        )
    return revision


def is_digest(text: str) -> bool:
    """Whether this is a SHA-256 as the hub and the store write it."""
    return _DIGEST.fullmatch(text) is not None


def shown_name(name: str) -> str:
    """A name in quotes for a message: short, and without what would disturb a terminal or a JSON message."""
    return ascii(name if len(name) <= MAX_NAME_BYTES else f"{name[:MAX_NAME_BYTES]}…")


def _problem(part: str) -> str:
    """What is wrong with one part of a path; empty if nothing is."""
    problem = ""
    if part in {"", ".", ".."}:
        problem = "it must stay in its folder"
    elif len(part.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        problem = f"a part of it has more than {MAX_NAME_BYTES} bytes"
    elif found := _FORBIDDEN.search(part):
        problem = f"it has the character {found[0]!a}"
    elif part[0] in ".-~ ":
        problem = f"a part of it begins with {part[0]!r}"
    elif part[-1] in ". ":
        problem = "a part of it ends with a dot or a space"
    elif _DEVICES.fullmatch(part):
        problem = "Windows has a device of that name"
    return problem
