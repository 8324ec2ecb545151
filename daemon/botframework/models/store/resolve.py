"""From a reference to the files it means now: sizes and digests are asked from the server, never known beforehand."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from botframework.errors import PullRefused
from botframework.models.store import refusals
from botframework.models.store.credentials import find_token
from botframework.models.store.guard import origin
from botframework.models.store.hub import resolve_hub
from botframework.models.store.reference import HubReference, WebReference
from botframework.models.store.remote import RemoteFile, Resolved, shown_url
from botframework.models.store.selection import parts_of
from botframework.models.store.web import ENV_ENDPOINT, Web, endpoint, is_strong, refuse_packed

if TYPE_CHECKING:
    import threading

    import httpx

    from botframework.models.store.web import Patience

_CONTENT_RANGE = re.compile(r"bytes (?:\d+-\d+|\*)/(\d{1,15})")


def resolve(
    reference: HubReference | WebReference, *, stop: threading.Event | None = None, patience: Patience | None = None
) -> Resolved:
    """Ask the server which files a reference means, how large they are and what their digests are.

    Blocks for as long as the server takes, or until another thread sets ``stop``.

    Raises
    ------
    RemoteNotFound, ModelGated, PullRefused, DownloadFailed
        As `hub.resolve_hub` says; for other servers accordingly.
    ConfigError
        The token or the proxy that is set cannot be used.
    RequestCancelled
        ``stop`` was set.
    """
    if isinstance(reference, HubReference):
        places = {origin(endpoint()).place} if os.environ.get(ENV_ENDPOINT) else set()
        with Web(frozenset(places), find_token(), patience) as web, web.stopped_by(stop):
            return resolve_hub(reference, web)
    with Web(frozenset({origin(reference.url).place}), None, patience) as web, web.stopped_by(stop):
        return _resolve_web(reference, web)


def _resolve_web(reference: WebReference, web: Web) -> Resolved:
    parts = urlsplit(reference.url)
    paths = parts_of(parts.path)
    if len(paths) > 1 and reference.sha256 is not None:
        raise PullRefused("one digest is given for a model of several files; leave it out")
    urls = [urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")) for path in paths]
    files = tuple(_describe(url, reference.sha256, web) for url in urls)
    return Resolved(files, (origin(reference.url).host.replace(":", "_"),), str(reference))


def _describe(url: str, sha256: str | None, web: Web) -> RemoteFile:
    """Ask for the first byte: some servers do not answer HEAD, and those of signed addresses refuse it."""
    with web.open(url, {"Range": "bytes=0-0"}) as response:
        if not response.is_success:
            raise refusals.by_server(response, url)
        refuse_packed(response, url)
        size = _announced_size(response)
        etag = response.headers.get("etag", "")
    if size is None:
        raise PullRefused(f"{shown_url(url)} does not say how large the file is", url=shown_url(url))
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    name = name if name.lower().endswith(".gguf") else f"{name}.gguf"
    return RemoteFile(url, size, name, sha256, etag if is_strong(etag) else None, host_was_given_by_user=True)


def _announced_size(response: httpx.Response) -> int | None:
    if response.status_code == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        return int(found[1]) if found else None
    length = response.headers.get("content-length", "")
    return int(length) if re.fullmatch(r"\d{1,15}", length) else None
