"""The connections beneath httpx: to checked addresses only, and ended from another thread at once.

A thread that waits in ``recv`` cannot be told to stop. So every socket is known here, and `Network.abort` shuts all of
them down; who waits then gets an error within a millisecond. Names and new connections have no socket yet that could be
shut down: they are waited for in a thread of their own, which is left behind.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import weakref
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from botframework.errors import ConfigError
from botframework.models.store.remote import shown_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from botframework.models.store.guard import Guard

READ_BYTES = 512 * 1024
"""Asked from a socket at once; with httpcore's own 64 KiB a fast line costs more in Python than in the kernel."""


class Stream(httpcore.NetworkStream):
    """A connection that can be ended by another thread."""

    def __init__(self, inner: httpcore.NetworkStream, network: Network) -> None:
        self._inner = inner
        self._network = network
        network.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At least one byte, or none at the end."""
        return self._inner.read(max(max_bytes, READ_BYTES), timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it."""
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Close it."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted; the certificate is checked against the name."""
        return Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._network)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of its streams."""
        return self._inner.get_extra_info(info)

    def shut_down(self) -> None:
        """End whatever waits for it."""
        found = self._inner.get_extra_info("socket")
        if isinstance(found, socket.socket):
            with contextlib.suppress(OSError):
                # Not an SSLSocket's own, which would change what the waiting thread holds.
                socket.socket.shutdown(found, socket.SHUT_RDWR)


class Network(httpcore.NetworkBackend):
    """Makes connections as the guard allows, and knows all of them."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore.SyncBackend()
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._connecting: set[Future[httpcore.NetworkStream]] = set()
        self._proxies: set[tuple[str, int]] = set()
        self.is_aborted = False

    def allow_proxy(self, host: str, port: int) -> None:
        """A proxy that the user's environment names may be anywhere."""
        self._proxies.add((host, port))

    def add(self, stream: Stream) -> None:
        """Remember a connection as long as it lives."""
        with self._lock:
            self._streams.add(stream)
            is_late = self.is_aborted
        if is_late:
            stream.shut_down()

    def abort(self) -> None:
        """End every connection; no other one is made."""
        with self._lock:
            self.is_aborted = True
            streams, connecting = list(self._streams), list(self._connecting)
        for stream in streams:
            stream.shut_down()
        for outcome in connecting:
            with contextlib.suppress(InvalidStateError):
                outcome.set_exception(_stopped())

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the host's addresses that answers."""
        outcome: Future[httpcore.NetworkStream] = Future()

        def connect() -> None:
            try:
                stream = self._connect(host, port, timeout, local_address, socket_options)
            except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
                with contextlib.suppress(InvalidStateError):
                    outcome.set_exception(error)
            else:
                try:
                    outcome.set_result(stream)
                except InvalidStateError:  # nobody waits any more
                    stream.close()

        with self._lock:
            if self.is_aborted:
                raise _stopped()
            self._connecting.add(outcome)
        threading.Thread(target=connect, name="botframework-connect", daemon=True).start()
        try:
            return outcome.result()
        finally:
            with self._lock:
                self._connecting.discard(outcome)

    def _connect(
        self,
        host: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> Stream:
        addresses = [host] if (host, port) in self._proxies else self._guard.addresses(host, port)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            if self.is_aborted:
                raise _stopped()
            try:
                stream = self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return Stream(stream, self)
        raise failure


def _stopped() -> httpcore.ConnectError:
    return httpcore.ConnectError("stopped")


class Transport(httpx.BaseTransport):
    """What httpx.HTTPTransport is, over a `Network`; proxies are those of the environment."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._pools: dict[tuple[str, str | None], httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when it is needed: reading all the certificates takes some 20 ms."""
        try:
            return httpx.create_ssl_context()
        except OSError as error:
            names = "SSL_CERT_FILE or SSL_CERT_DIR"
            raise ConfigError(f"the certificates that {names} names cannot be used: {error}") from error

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response's body is read later."""
        assert isinstance(request.stream, httpx.SyncByteStream)  # noqa: S101 - for the type; this is no async client
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent = httpcore.Request(
            request.method, target, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        with _as_httpx():
            response = self._pool(url.scheme, proxy_for(str(url))).handle_request(sent)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=dict(response.extensions),
        )

    def close(self) -> None:
        """Close the connections that nobody uses any more."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, scheme: str, proxy: str | None) -> httpcore.ConnectionPool:
        with self._lock:
            key = scheme, proxy
            if key not in self._pools:
                self._pools[key] = self._make_pool(scheme, proxy)
            return self._pools[key]

    def _make_pool(self, scheme: str, proxy: str | None) -> httpcore.ConnectionPool:
        tls = self._tls if scheme == "https" else None
        if proxy is None:
            return httpcore.ConnectionPool(ssl_context=tls, network_backend=self._network)
        parts = urlsplit(proxy)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._network.allow_proxy(host, port)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return httpcore.HTTPProxy(
            proxy_url=httpcore.URL(scheme=parts.scheme.encode(), host=host.encode(), port=port, target=b"/"),
            proxy_auth=(user, password) if user or password else None,
            ssl_context=tls,
            network_backend=self._network,
        )


def proxy_for(url: str) -> str | None:
    """The proxy that the environment (on macOS and Windows: the system) names for an address, or None.

    Raises
    ------
    ConfigError
        It is of a kind that is not spoken here.
    """
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        found = urlsplit(proxy)
        is_good = found.scheme in {"http", "https"} and bool(found.hostname) and (found.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ConfigError(f"the proxy {shown_url(proxy)} cannot be used: expected http://host:port")
    return proxy


class _Body(httpx.SyncByteStream):
    """A response's body as httpx reads it."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Httpcore's errors in httpx's classes of the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        kind = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error)) from error
