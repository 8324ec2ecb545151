"""Requests by the guard's rules: redirects one by one, the token to the hub alone, every failure in our words."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urljoin

import httpx

from botframework import __version__
from botframework.errors import DownloadFailed, PullRefused, RequestCancelled
from botframework.models.store.guard import MAX_REDIRECTS, Guard, Origin, origin
from botframework.models.store.network import Network, Transport
from botframework.models.store.remote import shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from botframework.models.store.credentials import Token

ENV_ENDPOINT = "HF_ENDPOINT"
"""Another hub, or a mirror of it; the variable of the hub's own program."""
DEFAULT_ENDPOINT = "https://huggingface.co"
MAX_ANSWER_BYTES = 32 << 20
"""Of a JSON answer: the list of the largest repository has about a megabyte."""
ANSWER_S = 60.0
"""For a whole JSON answer, however slowly it comes."""
DOWNLOAD_STALL_S = 30.0
"""Without progress a download is given up: a line that comes back after more has lost its connections anyway."""
CONNECT_S = 10.0
"""For a connection; half the world's circumference takes a third of a second."""
WATCH_S = 0.05
"""How often the user's wish to stop is looked at while a server is asked."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what."""

    stall_s: float = DOWNLOAD_STALL_S
    """Without progress: then the download is given up."""
    connect_s: float = CONNECT_S
    """For a connection."""
    attempts: int = 7
    """In a row without a single new block: with their pauses they outlast a network that is away for half a minute."""
    pause_s: float = 0.5
    """Before the second attempt; doubled each time."""


def endpoint() -> str:
    """The hub's address.

    Raises
    ------
    PullRefused
        ``HF_ENDPOINT`` is none.
    """
    url = os.environ.get(ENV_ENDPOINT, "").strip().rstrip("/") or DEFAULT_ENDPOINT
    origin(url)
    return url


class Web:
    """The connections of one pull. Its methods may be called by several threads."""

    def __init__(
        self, trusted: frozenset[tuple[str, int]], token: Token | None = None, patience: Patience | None = None
    ) -> None:
        self.patience = patience or Patience()
        self.token = token
        # At INFO httpx writes every address, and storage services sign theirs.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.endpoint = endpoint()
        self.hub = origin(self.endpoint)
        self._guard = Guard(trusted)
        self._network = Network(self._guard)
        self._client = httpx.Client(
            transport=Transport(self._network),
            # A third, so that one connection that hangs is tried anew before the whole is given up.
            timeout=httpx.Timeout(self.patience.stall_s / 3, connect=self.patience.connect_s, pool=None),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def abort(self) -> None:
        """End everything that is under way; whoever waits gets `DownloadFailed`."""
        self._network.abort()

    @property
    def is_aborted(self) -> bool:
        """Whether nothing more will be answered."""
        return self._network.is_aborted

    @contextlib.contextmanager
    def stopped_by(self, stop: threading.Event | None) -> Iterator[None]:
        """End what is under way when ``stop`` is set.

        Raises
        ------
        RequestCancelled
            For whatever that has ended.
        """
        over = threading.Event()

        def watch() -> None:
            while not over.wait(WATCH_S):
                if stop is not None and stop.is_set():
                    self.abort()
                    return

        watcher = threading.Thread(target=watch, name="botframework-stop", daemon=True)
        watcher.start()
        try:
            yield
        except DownloadFailed as error:
            if self.is_aborted:
                raise RequestCancelled("the pull was stopped before the download had begun") from error
            raise
        finally:
            over.set()
            watcher.join()

    @contextlib.contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """Ask for an address and follow its redirects; the answer, whatever its status, with its body unread.

        Raises
        ------
        PullRefused
            The address, or one that it redirects to, may not be asked.
        DownloadFailed
            There is no answer.
        """
        sent = {"User-Agent": f"botframework/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        sent |= headers or {}
        for _ in range(MAX_REDIRECTS + 1):
            target = self._guard.check(url)
            with in_our_words(url):
                request = self._client.build_request("GET", url, headers=sent | self._authorization(target))
                if origin(str(request.url)) != target:
                    # Two readers of one address that do not agree: somebody tries to slip past one of them.
                    raise PullRefused(f"{shown_url(url)} can be read in two ways", url=shown_url(url))
                response = self._client.send(request, stream=True)
            try:
                if response.status_code not in REDIRECTS:
                    yield response
                    return
                location = response.headers.get("location", "")
            finally:
                response.close()
            if not location:
                raise DownloadFailed(f"{shown_url(url)} redirects to nowhere", url=shown_url(url))
            try:
                url = urljoin(url, location)
            except ValueError as error:
                shown = shown_url(url)
                raise PullRefused(f"{shown} redirects to something that is no address: {error}", url=shown) from error
        raise PullRefused(f"more than {MAX_REDIRECTS} redirects, the last to {shown_url(url)}", url=shown_url(url))

    def answer(self, url: str) -> tuple[httpx.Response, Any]:
        """A small answer: its head, and its JSON (None where it is none).

        Raises
        ------
        DownloadFailed
            There is no answer, or it is too long, too slow or packed.
        """
        deadline = time.monotonic() + ANSWER_S
        body = bytearray()
        with self.open(url, {"Accept": "application/json"}) as response, in_our_words(url):
            refuse_packed(response, url)
            for piece in response.iter_raw():
                body += piece
                if len(body) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                    limits = f"{MAX_ANSWER_BYTES >> 20} MiB in {ANSWER_S:.0f} s"
                    raise DownloadFailed(f"{shown_url(url)} answers with more than {limits}", url=shown_url(url))
        try:
            return response, json.loads(body)
        except (ValueError, RecursionError):
            return response, None

    def _authorization(self, target: Origin) -> dict[str, str]:
        """The token, for the hub alone: a redirect to a storage service must not carry it."""
        if self.token is None or target != self.hub:
            return {}
        return {"Authorization": f"Bearer {self.token.value}"}


def is_strong(etag: str) -> bool:
    """Whether equal tags mean equal bytes (RFC 9110, 8.8.3)."""
    return re.fullmatch(r'"[\x21\x23-\x7e]{1,256}"', etag) is not None


def refuse_packed(response: httpx.Response, url: str) -> None:
    """Refuse a body that would have to be unpacked: a few bytes of it can become any number."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise DownloadFailed(f"{shown_url(url)} answers packed ({coding[:40]!a}), unasked", url=shown_url(url))


@contextlib.contextmanager
def in_our_words(url: str) -> Iterator[None]:
    """Say `DownloadFailed` for whatever httpx says."""
    try:
        yield
    except httpx.TimeoutException as error:
        kind = "cannot be reached" if isinstance(error, httpx.ConnectTimeout) else "has stopped sending"
        raise DownloadFailed(f"{shown_url(url)} {kind}", url=shown_url(url)) from error
    except httpx.ProxyError as error:
        raise DownloadFailed(
            f"the proxy refuses {shown_url(url)} ({error}); see HTTPS_PROXY and NO_PROXY", url=shown_url(url)
        ) from error
    except httpx.HTTPError as error:
        hint = ""
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            hint = "; behind a proxy that opens connections name its certificate with SSL_CERT_FILE"
        raise DownloadFailed(
            f"{shown_url(url)}: {error or 'the connection ended'}{hint}", url=shown_url(url)
        ) from error
    except (httpx.InvalidURL, UnicodeError) as error:
        raise PullRefused(f"{shown_url(url)} is no address: {error}", url=shown_url(url)) from error
