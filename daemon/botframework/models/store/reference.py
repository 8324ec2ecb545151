"""What a user writes to name a model, read into one of four kinds.

::

    hf:owner/repo                      the repository's usual file
    hf:owner/repo:Q4_K_M               by its quantization
    hf:owner/repo/sub/model.gguf       by its name; any part of a split model names all of it
    hf:owner/repo@revision…            of a branch, tag or commit, before ``:`` or ``/``
    https://huggingface.co/…           as copied from the browser: the same as ``hf:``
    https://host/model.gguf            any other server; ``#sha256=<64 digits>`` behind it is compared
    /home/me/model.gguf                a file of this machine, by its whole path
    qwen2.5-coder-7b-instruct[:Q4_K_M] a model of the catalog

Pure: nothing is asked and nothing opened.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit, urlunsplit

from botframework.errors import PullRefused
from botframework.models.store.names import check_path, check_repository, check_revision, shown_name

DEFAULT_REVISION = "main"
HUB_HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
MAX_REFERENCE_CHARS = 2_048
"""An address longer than this is a mistake."""

_QUANTIZATION = re.compile(r"(?=.{1,32}$)[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*")
_CATALOG_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_DIGEST_FRAGMENT = re.compile(r"sha256[=:]([0-9A-Fa-f]{64})")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
FORMS = (
    "hf:owner/repo, hf:owner/repo:Q4_K_M, hf:owner/repo/file.gguf, https://host/file.gguf, the whole path of a file, "
    "or a name of the catalog"
)
"""For whoever has written none of them."""


@dataclass(frozen=True, slots=True)
class HubReference:
    """A model in a repository of the hub."""

    owner: str
    repository: str
    revision: str = DEFAULT_REVISION
    path: str | None = None
    """Of the file inside the repository."""
    quantization: str | None = None
    """In capitals, as the files' names have it. Without it and ``path`` the usual one is taken."""

    def __post_init__(self) -> None:
        check_repository(self.owner, self.repository)
        check_revision(self.revision)
        if self.path is not None:
            check_path(self.path)

    @property
    def name(self) -> str:
        """``owner/repo``."""
        return f"{self.owner}/{self.repository}"

    def __str__(self) -> str:
        revision = "" if self.revision == DEFAULT_REVISION else f"@{self.revision}"
        path = "" if self.path is None else f"/{self.path}"
        quantization = "" if self.quantization is None else f":{self.quantization}"
        return f"hf:{self.name}{revision}{path}{quantization}"


@dataclass(frozen=True, slots=True)
class WebReference:
    """A file at any other address."""

    url: str
    """Without a fragment."""
    sha256: str | None = None
    """What the user says it must be."""

    def __str__(self) -> str:
        return self.url if self.sha256 is None else f"{self.url}#sha256={self.sha256}"


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class CatalogReference:
    """A model of the catalog, by its id there."""

    name: str
    quantization: str | None = None

    def __str__(self) -> str:
        return self.name if self.quantization is None else f"{self.name}:{self.quantization}"


ModelReference = HubReference | WebReference | FileReference | CatalogReference


def parse(text: str) -> ModelReference:
    """Read what a user wrote.

    Raises
    ------
    PullRefused
        It is none of the forms above, or has a name that no file may have; the message says which form was meant.
    """
    text = text.strip()
    if not text or len(text) > MAX_REFERENCE_CHARS or not text.isprintable():
        raise PullRefused(f"{shown_name(text)} names no model; expected {FORMS}")
    if text[:3].lower() == "hf:":
        return _hub(text[3:].removeprefix("//"))
    if text[:8].lower() == "https://" or text[:7].lower() == "http://":
        return _web(text)
    if text.split("/")[0].lower() in HUB_HOSTS:
        return _web(f"https://{text}")
    if (path := _file(text)) is not None:
        return path
    return _catalog(text)


def lasting(text: str) -> str:
    """What may be kept of a reference: an address without its query, which may be the signature of a private file."""
    if text[:8].lower() != "https://" and text[:7].lower() != "http://":
        return text
    address, mark, fragment = text.partition("#")
    return address.partition("?")[0] + mark + fragment


def _hub(text: str) -> HubReference:
    """``owner/repo[@revision][:quantization | /path]``."""
    owner, _, rest = text.partition("/")
    name, slash, path = rest.partition("/")
    if not slash:
        name, colon, quantization = name.partition(":")
        repository, at, revision = name.partition("@")
        return HubReference(
            owner,
            repository,
            revision if at else DEFAULT_REVISION,
            quantization=_quantization(quantization) if colon else None,
        )
    repository, at, revision = name.partition("@")
    return HubReference(owner, repository, revision if at else DEFAULT_REVISION, path=path)


def _web(text: str) -> HubReference | WebReference:
    """An address; one of the hub's pages becomes what it shows."""
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
        _ = parts.port  # raises when it is none
    except ValueError as error:
        raise PullRefused(f"{shown_name(text)} is no address: {error}") from error
    if not host:
        raise PullRefused(f"{shown_name(text)} is no address: it names no host")
    if parts.username is not None or parts.password is not None:
        raise PullRefused(f"an address with a user or password in it is refused (host {host}): it would stand in logs")
    if host in HUB_HOSTS:
        return _hub_page(parts.path)
    digest = _DIGEST_FRAGMENT.fullmatch(parts.fragment)
    if parts.fragment and digest is None:
        raise PullRefused(f"{shown_name('#' + parts.fragment)} behind the address: expected #sha256= and 64 digits")
    if not parts.path.strip("/"):
        raise PullRefused(f"{shown_name(text)} names no file")
    url = urlunsplit((parts.scheme.lower(), parts.netloc, parts.path, parts.query, ""))
    return WebReference(url, digest[1].lower() if digest else None)


def _hub_page(path: str) -> HubReference:
    """``/owner/repo``, ``/owner/repo:Q4_K_M`` or ``/owner/repo/{blob,resolve,raw,tree}/revision/path``."""
    match [unquote(part) for part in path.strip("/").split("/")]:
        case [owner, repository]:
            return _hub(f"{owner}/{repository}")
        case [owner, repository, "tree", revision]:
            return HubReference(owner, repository, revision)
        case [owner, repository, "blob" | "resolve" | "raw", revision, *inner] if inner:
            return HubReference(owner, repository, revision, path="/".join(inner))
        case _:
            raise PullRefused(
                f"the hub's page {shown_name(path)} shows no model file; expected https://huggingface.co/owner/repo "
                "or the page of one file"
            )


def _file(text: str) -> FileReference | None:
    """A path, or None if it does not look like one.

    Raises
    ------
    PullRefused
        It is relative: in an editor's workspace that would be a file which somebody else brought.
    """
    if text[:7].lower() == "file://":
        text = unquote(text[7:]).removeprefix("localhost")
        if sys.platform == "win32" and re.match(r"/[A-Za-z]:", text):  # never run
            text = text[1:]
    path = PurePath(text)
    if path.is_absolute() or _DRIVE.match(text):
        return FileReference(Path(text))
    if text.startswith(("~/", "~\\")):
        try:
            return FileReference(Path(text).expanduser())
        except RuntimeError as error:
            raise PullRefused(
                f"{shown_name(text)}: there is no home folder; give the whole path of the file"
            ) from error
    looks_relative = text.startswith(("./", "../", ".\\", "..\\"))
    if looks_relative or ("/" not in text and text.lower().endswith(".gguf")):
        raise PullRefused(f"{shown_name(text)} is a relative path; give the whole path of the file")
    return None


def _catalog(text: str) -> CatalogReference:
    """``name[:quantization]``."""
    name, colon, quantization = text.partition(":")
    if _CATALOG_NAME.fullmatch(name.lower()) and "/" not in quantization:
        return CatalogReference(name.lower(), _quantization(quantization) if colon else None)
    hint = f"did you mean hf:{text}?" if re.fullmatch(r"[\w.-]+/[\w.-]+(?:[:/@].*)?", text) else f"expected {FORMS}"
    raise PullRefused(f"{shown_name(text)} names no model; {hint}")


def _quantization(text: str) -> str:
    if not _QUANTIZATION.fullmatch(text):
        raise PullRefused(f"{shown_name(text)} is no quantization; expected a name such as Q4_K_M, Q8_0 or F16")
    return text.upper()
