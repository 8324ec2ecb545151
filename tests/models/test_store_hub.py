"""What the hub and other servers say, also when they lie."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from botframework.errors import (
    DigestMismatch,
    DownloadFailed,
    ModelGated,
    PullRefused,
    RemoteNotFound,
    RequestCancelled,
    StoreError,
)
from botframework.models.store import HubReference, WebReference, parse
from botframework.models.store.journal import journal_of
from botframework.models.store.resolve import resolve
from support.hub_answers import COMMIT
from support.hub_server import LIES, HubServer
from support.pulling import CONTENT, DIGEST, FILE, SIZE, ask, fetch, only

if TYPE_CHECKING:
    from pathlib import Path

REFUSED_LIES: dict[str, tuple[type[StoreError], str]] = {
    "wrong-digest": (DigestMismatch, "not what was published"),
    "bad-digest": (PullRefused, "a SHA-256 that is none"),
    "no-size": (PullRefused, "does not say how large"),
    "negative-size": (PullRefused, "-1 bytes"),
    "huge-size": (PullRefused, "100000000000000000 bytes"),
    "smaller-size": (DownloadFailed, f"has {SIZE} bytes, but {SIZE - 1}"),
    "larger-size": (DownloadFailed, f"has {SIZE} bytes, but"),
    "bad-names": (RemoteNotFound, "no GGUF file"),
    "api-page": (DownloadFailed, "does not answer as a hub"),
    "api-endless": (DownloadFailed, "more than 32 MiB"),
    "api-deep": (DownloadFailed, "does not answer as a hub"),
    "api-packed": (DownloadFailed, "packed"),
    "api-error": (DownloadFailed, "answers 500"),
    "gated": (ModelGated, "accept it at https://huggingface.co/o/r, then set HF_TOKEN"),
    "gated-later": (ModelGated, "accept it at https://huggingface.co/o/r, then set HF_TOKEN"),
    "disabled": (RemoteNotFound, "to nobody any more"),
    "not-found": (RemoteNotFound, "no such file"),
    "redirect-metadata": (PullRefused, "169.254.169.254 is not a public address"),
    "redirect-metadata-https": (PullRefused, "169.254.169.254 is not a public address"),
    "redirect-localhost": (PullRefused, "localhost is not a public address"),
    "redirect-number": (PullRefused, "2130706433 is not a public address"),
    "redirect-plain": (PullRefused, "http://example.com/model.gguf is not https"),
    "redirect-file": (PullRefused, "no https address"),
    "redirect-password": (PullRefused, "user or password"),
    "redirect-loop": (PullRefused, "more than 5 redirects"),
    "redirect-nowhere": (DownloadFailed, "redirects to nowhere"),
    "redirect-broken": (PullRefused, "redirects to something that is no address"),
    "changed-byte": (DigestMismatch, "not what was published"),
    "short-body": (DownloadFailed, "peer closed connection"),
    "endless-body": (DownloadFailed, "sends more"),
    "longer-body": (DownloadFailed, "sends more"),
    "other-total": (DownloadFailed, f"has {SIZE + 1} bytes"),
    "wrong-range": (DownloadFailed, "not 0-"),
    "packed": (DownloadFailed, "packed"),
    "login-page": (DownloadFailed, "sends '27' bytes"),
    "server-error": (DownloadFailed, "answers 500"),
    "stall": (DownloadFailed, "has stopped sending"),
    "drip": (DownloadFailed, "has stopped sending"),
    "silent": (DownloadFailed, "has stopped sending"),
}
"""What comes of each lie: the error, and words of its message."""
HARMLESS_LIES = {
    "no-digest",
    "short-once",
    "no-ranges",
    "no-length",
    "etag-changes",
    "busy-once",
    "stall-once",
}
"""Those that a download gets over by itself."""
ELSEWHERE = {"bad-token", "one-at-a-time", "expired-once"}
"""Those with a test of their own."""


def test_what_a_reference_means(hub: HubServer) -> None:
    """Size, digest and commit are the hub's; the address has the commit, so parts are of one version."""
    found = ask("hf:o/r:Q4_K_M")

    assert (only(found).size, only(found).sha256, only(found).filename) == (SIZE, DIGEST, "model-q4_k_m.gguf")
    assert only(found).url == f"{hub.address}/o/r/resolve/{COMMIT}/model-q4_k_m.gguf"
    assert (found.folder, found.origin) == (("o", "r"), f"hf:o/r@{COMMIT}/model-q4_k_m.gguf")
    assert ask(found.origin).files == found.files


def test_a_split_model(hub: HubServer, part: Path) -> None:
    """Any part's name gives all parts, in order and of one commit."""
    folder = hub.folder / "o" / "split" / "Q8_0"
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        (folder / f"m-Q8_0-0000{number}-of-00003.gguf").write_bytes(CONTENT[: number * 1_000])
    found = ask("hf:o/split/Q8_0/m-Q8_0-00002-of-00003.gguf")

    assert [file.size for file in found.files] == [1_000, 2_000, 3_000]
    assert [file.filename[-19:-5] for file in found.files] == [f"0000{number}-of-00003" for number in (1, 2, 3)]
    assert ask("hf:o/split:Q8_0") == found
    assert fetch(found.files[2], part) == hashlib.sha256(CONTENT[:3_000]).hexdigest()


@pytest.mark.parametrize("lie", sorted(REFUSED_LIES))
def test_a_lie_is_an_error(hub: HubServer, part: Path, lie: str) -> None:
    """Each with its class and words that say what to do, within its time; and nothing lies about that is no part."""
    hub.lies = {"o/r" if lie.startswith(("api-", "gated", "bad-names", "disabled")) else FILE: lie}
    error, words = REFUSED_LIES[lie]
    started = time.monotonic()
    with pytest.raises(error) as caught:
        fetch(only(ask("hf:o/r")), part)

    assert words in caught.value.message
    assert "signature=" not in f"{caught.value.message} {caught.value.data}"
    assert time.monotonic() - started < 30
    assert {path.name for path in part.parent.iterdir()} <= {part.name, journal_of(part).name}
    if error is DigestMismatch:
        assert not list(part.parent.iterdir())
        assert caught.value.data["expected"] != caught.value.data["found"]


@pytest.mark.parametrize("lie", sorted(HARMLESS_LIES))
def test_a_server_that_is_only_clumsy(hub: HubServer, part: Path, lie: str) -> None:
    """The file is whole all the same."""
    hub.lies = {FILE: lie}

    assert fetch(only(ask("hf:o/r")), part) == DIGEST
    assert part.read_bytes() == CONTENT


def test_every_lie_is_told() -> None:
    """No lie of the server goes without a test."""
    assert REFUSED_LIES.keys() | HARMLESS_LIES | ELSEWHERE == LIES.keys()


def test_a_gated_model_with_a_token(hub: HubServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is sent, and the message says that its account has to be let in; the token itself is in no message."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.lies = {"*": "gated"}
    with pytest.raises(ModelGated, match="not given to the account of the token from the environment") as caught:
        fetch(only(ask("hf:o/r")), part)

    assert "hf_secret" not in f"{caught.value.message} {caught.value.data}"
    assert hub.asked[-1].authorization == "Bearer hf_secret"


def test_a_token_that_is_not_taken(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said where it came from and where to make another."""
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    hub.lies = {"*": "bad-token"}
    with pytest.raises(ModelGated, match=r"does not take the token from .* HF_TOKEN; make a new one at https"):
        ask("hf:o/r")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("hf:o/other", "the hub has no repository o/other; is its name right? If it is private, set HF_TOKEN"),
        ("hf:x/r", "did you mean o/r?"),
        ("hf:o/r@v9", "no such branch, tag or commit"),
        ("hf:o/r:Q8_0", "no file is quantized as Q8_0; there are Q4_K_M"),
        ("hf:o/r/model-q4_k_s.gguf", "did you mean model-q4_k_m.gguf?"),
    ],
)
def test_what_the_hub_does_not_have(hub: HubServer, reference: str, words: str) -> None:
    """The message names what comes near."""
    with pytest.raises(RemoteNotFound) as caught:
        ask(reference)

    assert words in caught.value.message


@pytest.mark.parametrize("reference", ["hf:o/r", "{address}/plain/o/r/model-q4_k_m.gguf"])
def test_asking_can_be_stopped(hub: HubServer, reference: str) -> None:
    """Also while the server says nothing, and without waiting for the attempts that are left."""
    hub.lies = {"*": "silent"}
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    asked = parse(reference.format(address=hub.address))
    assert isinstance(asked, (HubReference, WebReference))
    started = time.monotonic()
    with pytest.raises(RequestCancelled):
        resolve(asked, stop=stop)

    assert time.monotonic() - started < 2.0


def test_a_hub_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: the address is named."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadFailed, match=r"http://127\.0\.0\.1:9/api/models/o/r"):
        ask("hf:o/r")


def test_plain_https_style(hub: HubServer, part: Path) -> None:
    """Any other server: the size is asked from it, and a digest that the user wrote is compared."""
    url = f"{hub.address}/plain/{FILE}"
    source = only(ask(f"{url}#sha256={DIGEST}"))

    assert (source.size, source.sha256, source.filename) == (SIZE, DIGEST, "model-q4_k_m.gguf")
    assert fetch(source, part) == DIGEST
    with pytest.raises(DigestMismatch):
        fetch(only(ask(f"{url}#sha256={'0' * 64}")), part)


@pytest.mark.parametrize(
    ("lie", "error", "words"),
    [
        ("gated", ModelGated, "not given without a login"),
        ("not-found", RemoteNotFound, "no such file"),
        ("no-length", PullRefused, "does not say how large"),
        ("server-error", DownloadFailed, "answers 500"),
        ("packed", DownloadFailed, "packed"),
        ("etag-changes", DownloadFailed, "was changed meanwhile"),
    ],
)
def test_plain_servers_that_lie(hub: HubServer, part: Path, lie: str, error: type[StoreError], words: str) -> None:
    """As with the hub; and without a digest a changed tag is the end."""
    hub.lies = {FILE: lie}
    with pytest.raises(error, match=words):
        fetch(only(ask(f"{hub.address}/plain/{FILE}")), part)


def test_another_service_of_this_machine_is_not_asked(hub: HubServer, part: Path, tmp_path: Path) -> None:
    """A redirect to another port of the host that the user wrote is one to a host that they did not write."""
    with HubServer(tmp_path / "hub") as other:
        hub.storage = other.address
        with pytest.raises(PullRefused, match=r"127\.0\.0\.1 is not a public address"):
            fetch(only(ask("hf:o/r")), part)

    assert other.asked == []


def test_an_endpoint_of_the_environment_must_be_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it is refused by name."""
    monkeypatch.setenv("HF_ENDPOINT", "mirror.example")
    with pytest.raises(PullRefused, match="no https address"):
        ask("hf:o/r")
