"""Encrypted connections, certificates and proxies."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from botframework.errors import ConfigError, DownloadFailed, PullRefused, RequestCancelled
from botframework.models.store.reference import WebReference
from botframework.models.store.remote import RemoteFile
from botframework.models.store.resolve import resolve
from support.certificate import self_signed
from support.connect_proxy import ConnectProxy
from support.hub_server import HubServer
from support.pulling import CONTENT, DIGEST, FILE, PATIENCE, SIZE, ask, fetch, only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ``localhost`` that nobody has signed, and its key."""
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def secure(hub: HubServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The hub by https; its certificate is trusted."""
    with HubServer(hub.folder, certificate=certificate) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        yield server


@pytest.fixture
def deaf() -> Iterator[str]:
    """A port at which a connection is neither taken nor refused: the queue of its listener is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_connecting_can_be_stopped(deaf: str, plain_surroundings: None, part: Path) -> None:
    """Whoever does not want to wait for a host that is silent has not to, before a download or in it."""
    url = f"{deaf}/model.gguf"
    source = RemoteFile(url, SIZE, "model.gguf", DIGEST, host_was_given_by_user=True)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    patience = dataclasses.replace(PATIENCE, connect_s=8.0)
    started = time.monotonic()
    with pytest.raises(RequestCancelled):
        fetch(source, part, stop=stop, patience=patience)
    with pytest.raises(RequestCancelled):
        resolve(WebReference(url), stop=stop, patience=patience)

    assert time.monotonic() - started < 3.0


def test_a_pull_by_https(secure: HubServer, part: Path) -> None:
    """With a certificate that is trusted it is as any other."""
    assert fetch(only(ask("hf:o/r")), part) == DIGEST
    assert part.read_bytes() == CONTENT


def test_a_certificate_that_nobody_trusts(secure: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked, and the message says what to do behind a proxy that opens connections."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DownloadFailed, match="SSL_CERT_FILE"):
        ask("hf:o/r")

    assert secure.asked == []


def test_a_certificate_of_another_name(secure: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for ``localhost`` and does not do for the address."""
    monkeypatch.setenv("HF_ENDPOINT", secure.address.replace("localhost", "127.0.0.1"))
    with pytest.raises(DownloadFailed, match=r"(?i)certificate.verify.failed"):
        ask("hf:o/r")


def test_certificates_that_cannot_be_read(secure: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is named; it is no error of the server."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        ask("hf:o/r")


@pytest.mark.parametrize("login", ["", "user:pass%20word@"])
def test_a_proxy_is_honoured(secure: HubServer, part: Path, monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    """Every connection goes through it, with its own credentials, which nobody else gets."""
    with ConnectProxy() as proxy:
        monkeypatch.setenv("https_proxy", f"http://{login}127.0.0.1:{proxy.port}")
        assert fetch(only(ask("hf:o/r")), part) == DIGEST

    place = secure.address.removeprefix("https://")
    expected = f"Basic {base64.b64encode(b'user:pass word').decode()}" if login else None
    assert set(proxy.asked) == {(place, expected)}
    assert {asked.authorization for asked in secure.asked} == {None}


def test_a_proxy_that_refuses(secure: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the settings."""
    with ConnectProxy(refuses=True) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(DownloadFailed, match=r"the proxy refuses .* see HTTPS_PROXY and NO_PROXY"):
            ask("hf:o/r")

    assert secure.asked == []


def test_a_proxy_is_not_asked_for_private_addresses(
    secure: HubServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be able to reach what we must not: such a redirect ends here."""
    secure.lies = {FILE: "redirect-metadata-https"}
    with ConnectProxy() as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(PullRefused, match=r"169\.254\.169\.254 is not a public address"):
            fetch(only(ask("hf:o/r")), part)

    assert {place for place, _ in proxy.asked} == {secure.address.removeprefix("https://")}
