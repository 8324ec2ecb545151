"""What the hub says about a repository: its files with their sizes and digests, and why it does not give them.

Two requests of its HTTP interface are used: ``/api/models/OWNER/REPO/revision/REV?blobs=true`` lists the files, and
``/OWNER/REPO/resolve/COMMIT/PATH`` gives one. The commit of the list goes into the second, so that the parts of a model
are of one version.
"""

from __future__ import annotations

import difflib
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from botframework.errors import DownloadFailed, PullRefused, RemoteNotFound
from botframework.models.store import refusals
from botframework.models.store.names import check_revision
from botframework.models.store.remote import RemoteFile, Resolved, shown_url
from botframework.models.store.selection import select
from botframework.models.store.web import ENV_ENDPOINT, endpoint

if TYPE_CHECKING:
    from botframework.errors import StoreError
    from botframework.models.store.reference import HubReference
    from botframework.models.store.web import Web

ATTEMPTS = 3
"""For the list of files; the hub is sometimes busy for a moment."""
MAX_NEAR = 3
"""Names in a message about one that is not there."""
SEARCHED = 50


class Lfs(msgspec.Struct):
    """A large file's facts; ``sha256`` is that of its content."""

    sha256: str | None = None
    size: int | None = None


class Sibling(msgspec.Struct):
    """One file of a repository."""

    rfilename: str
    size: int | None = None
    lfs: Lfs | None = None


class Repository(msgspec.Struct):
    """The part of the hub's answer that is used."""

    sha: str
    siblings: list[Sibling]
    gated: bool | str = False


def resolve_hub(reference: HubReference, web: Web) -> Resolved:
    """Ask the hub which files a reference means.

    Raises
    ------
    RemoteNotFound
        No such repository, revision, file or quantization; with the names that come near.
    ModelGated
        The hub wants a token, or has to be asked for permission first.
    PullRefused
        Several files fit, or what the hub says of them is impossible.
    DownloadFailed
        The hub does not answer, or not as a hub.
    """
    found = _ask(reference, web)
    if found.gated and web.token is None:
        raise refusals.gated(reference.name, web.token)
    by_path = {sibling.rfilename: sibling for sibling in found.siblings}
    try:
        paths = select(by_path, path=reference.path, quantization=reference.quantization)
    except (RemoteNotFound, PullRefused) as error:
        raise type(error)(f"{reference}: {error.message}") from error
    commit = check_revision(found.sha)
    files = tuple(_file(reference, by_path[path], commit) for path in paths)
    origin = f"hf:{reference.name}@{commit}/{paths[0]}"
    return Resolved(files, (reference.owner, reference.repository), origin)


def _file(reference: HubReference, sibling: Sibling, commit: str) -> RemoteFile:
    lfs = sibling.lfs or Lfs()
    size = lfs.size if lfs.size is not None else sibling.size
    if size is None:
        raise PullRefused(f"{reference}: the hub does not say how large {sibling.rfilename} is")
    return RemoteFile(
        url=f"{endpoint()}/{reference.name}/resolve/{commit}/{quote(sibling.rfilename)}",
        size=size,
        filename=sibling.rfilename,
        sha256=lfs.sha256,
        host_was_given_by_user=bool(os.environ.get(ENV_ENDPOINT)),
    )


def _ask(reference: HubReference, web: Web) -> Repository:
    """The list of files, asked for again while the hub is busy."""
    url = f"{endpoint()}/api/models/{reference.name}/revision/{quote(reference.revision, safe='')}?blobs=true"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            response, content = web.answer(url)
        except DownloadFailed as error:
            failure: StoreError = error
        else:
            if response.is_success:
                return _decoded(content, url)
            failure = refusals.by_hub(response, reference.name, web.token, lambda: _near(reference, web))
        if attempt == ATTEMPTS or web.is_aborted or not isinstance(failure, DownloadFailed):
            break
        time.sleep(web.patience.pause_s * attempt)
    raise failure


def _decoded(content: Any, url: str) -> Repository:
    try:
        return msgspec.convert(content, Repository)
    except msgspec.ValidationError as error:
        raise DownloadFailed(
            f"{shown_url(url)} does not answer as a hub of models does ({error})", url=shown_url(url)
        ) from error


def _near(reference: HubReference, web: Web) -> list[str]:
    """Repositories with GGUF files whose names come near; none if nobody can say."""
    url = f"{endpoint()}/api/models?search={quote(reference.repository, safe='')}&filter=gguf&limit={SEARCHED}"
    try:
        response, content = web.answer(url)
    except (DownloadFailed, PullRefused):
        return []
    if not response.is_success or not isinstance(content, list):
        return []
    names = [str(item["id"]) for item in content if isinstance(item, dict) and str(item.get("id", "")).isprintable()]
    return difflib.get_close_matches(reference.name, names, n=MAX_NEAR, cutoff=0.5)
