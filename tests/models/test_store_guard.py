"""Where a download may go, and who hears of the token."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from botframework.errors import ConfigError, DownloadFailed, PullRefused
from botframework.models.store.credentials import Token, find_token
from botframework.models.store.guard import Guard, is_private_name, is_public, origin
from botframework.models.store.network import Network, proxy_for
from botframework.models.store.remote import RemoteFile, Resolved, shown_url
from botframework.models.store.web import Web
from support.hub_server import HubServer

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
    *("224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1"),
    *("ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("2002:7f00:1::", "2002:a00:1::", "64:ff9b:1::a9fe:a9fe", "::ffff:0:10.0.0.1", "fec0::1", "no address", ""),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    """Our own machine, its network, the cloud's own services, and every other way to write their addresses."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_that_are_public(address: str) -> None:
    """The internet's, in both families."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    ["localhost", "a.localhost", "printer.local", "127.0.0.1", "::1", "2130706433", "0x7f.1", "0177.0.0.1", "10.1"],
)
def test_names_that_are_private_by_themselves(host: str) -> None:
    """Old spellings of numbers too, which resolvers still understand."""
    assert is_private_name(host)


def test_names_that_may_be_public() -> None:
    """A name says nothing, a public address says that it is one."""
    assert not is_private_name("huggingface.co")
    assert not is_private_name("8.8.8.8")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://example.com/x",
            "http://127.0.0.1:81/x",
            "https://127.0.0.1:82/x",
            "https://localhost/x",
            "file:///x",
        ),
        *("ftp://example.com/x", "https://user:password@example.com/x", "https://:80/x", "https://[::1]/x", "x", "//x"),
        *(
            "https://169.254.169.254/",
            "https://example.com:99999/",
            f"https://example.com/{'a' * 9_000}",
            "https://a\nb/",
        ),
    ],
)
def test_addresses_that_are_never_asked(url: str) -> None:
    """Not https, not public, not an address: refused, though the user wrote another port of the same host."""
    with pytest.raises(PullRefused) as caught:
        Guard(frozenset({("127.0.0.1", 80), ("localhost", 80)})).check(url)

    assert "password" not in caught.value.message.replace("user or password", "")


def test_the_hosts_that_the_user_wrote_may_be_private() -> None:
    """Also without https, which a machine of one's own rarely has; a public host must have it."""
    guard = Guard(frozenset({("127.0.0.1", 80), ("8.8.8.8", 80)}))

    assert guard.check("http://127.0.0.1/x") == origin("http://127.0.0.1:80/")
    with pytest.raises(PullRefused, match="is not https"):
        guard.check("http://8.8.8.8/x")


def answer_with(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Have the resolver say these addresses, one list for each time that it is asked."""
    left = list(answers)

    def resolver(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in left.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)


def test_a_name_that_leads_inside_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """One private address among a name's is enough: the server behind it chooses which is taken."""
    answer_with(monkeypatch, ["93.184.216.34", "10.0.0.1"])

    with pytest.raises(PullRefused, match=r"evil\.example \(10\.0\.0\.1\) is not a public address"):
        Network(Guard()).connect_tcp("evil.example", 443)


def test_what_was_checked_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that changes its address after the check is not asked for it again."""
    answer_with(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    tried: list[str] = []

    def connect(_: object, host: str, *__: object) -> httpcore.NetworkStream:
        tried.append(host)
        raise httpcore.ConnectError("no")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    with pytest.raises(httpcore.ConnectError):
        Network(Guard()).connect_tcp("evil.example", 443)

    assert tried == ["93.184.216.34"]


def test_a_name_that_nobody_knows() -> None:
    """It is named."""
    with pytest.raises(DownloadFailed, match=r"nobody\.invalid: no address is known"):
        Guard().addresses("nobody.invalid", 443)


def test_the_token_goes_to_the_hub_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect to a storage service does not carry it, not even to another port of the same host."""
    (tmp_path / "o" / "r").mkdir(parents=True)
    (tmp_path / "o" / "r" / "m.gguf").write_bytes(b"GGUF")
    with HubServer(tmp_path) as storage, HubServer(tmp_path, storage=storage.address) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        trusted = frozenset({origin(hub.address).place, origin(storage.address).place})
        with (
            Web(trusted, Token("hf_secret", "a test")) as web,
            web.open(f"{hub.address}/o/r/resolve/main/m.gguf") as got,
        ):
            body = got.read()

    assert body == b"GGUF"
    assert [asked.authorization for asked in hub.asked] == ["Bearer hf_secret"]
    assert [asked.authorization for asked in storage.asked] == [None]


def test_where_the_token_is_found(tmp_path: Path) -> None:
    """The environment first, then the file of the hub's own program; white space around it does not count."""
    (tmp_path / "token").write_text("hf_file\n")
    both = {"HF_TOKEN": " hf_env ", "HF_HOME": str(tmp_path)}

    assert find_token(both) == Token("hf_env", "the environment variable HF_TOKEN")
    assert find_token({"HUGGING_FACE_HUB_TOKEN": "hf_old"}) == Token(
        "hf_old", "the environment variable HUGGING_FACE_HUB_TOKEN"
    )
    assert find_token({"HF_HOME": str(tmp_path)}) == Token("hf_file", f"the file {tmp_path / 'token'}")
    assert find_token({"HF_TOKEN_PATH": str(tmp_path / "token")}) is not None
    assert find_token({"HF_HOME": str(tmp_path / "nothing")}) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "return 'hf_ring' if (service, user) == ('botframework', 'huggingface') else None",
            Token("hf_ring", "the keyring"),
        ),
        ("return None", None),
        ("raise KeyringError('locked')", None),
    ],
)
def test_a_token_of_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, expected: Token | None
) -> None:
    """Asked last, under a name of our own; a keyring that is locked or empty is none."""
    package = tmp_path / "keyring"
    package.mkdir()
    (package / "errors.py").write_text("class KeyringError(Exception):\n    pass\n")
    (package / "__init__.py").write_text(
        f"from keyring.errors import KeyringError\ndef get_password(service, user):\n    {body}\n"
    )
    for name in ("keyring", "keyring.errors"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))

    assert find_token({"HF_HOME": str(tmp_path / "nothing")}) == expected
    for name in ("keyring", "keyring.errors"):
        del sys.modules[name]  # monkeypatch would put it back at the end


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "ü", "x" * 2_000])
def test_what_can_be_no_token(text: str) -> None:
    """It would break the request's head: refused, and not repeated in the message."""
    with pytest.raises(ConfigError) as caught:
        find_token({"HF_TOKEN": text})

    assert "HF_TOKEN holds no token" in caught.value.message
    assert text not in caught.value.message


def test_a_token_does_not_show_itself() -> None:
    """Neither in a message nor in a traceback."""
    token = Token("hf_secret", "the keyring")

    assert "hf_secret" not in f"{token} {token!r}"


def test_an_address_is_shown_without_secrets() -> None:
    """Storage services sign with the query."""
    assert shown_url("https://u:p@host:1/a/b?sig=1#x") == "https://host:1/a/b"
    assert shown_url("https://[::1") == "an address that cannot be read"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128"}, None),
        ({"all_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "example.com"}, None),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "other.com"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "*"}, None),
    ],
)
def test_the_proxy_of_the_environment(
    environ: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other program on the machine reads it."""
    no_proxies(monkeypatch)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert proxy_for("https://example.com/x") == expected


@pytest.mark.parametrize("proxy", ["socks5://user:secret@proxy:1080", "http://", "http://proxy:port"])
def test_a_proxy_that_cannot_be_used(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named without its password."""
    no_proxies(monkeypatch)
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConfigError, match="cannot be used: expected http://host:port") as caught:
        proxy_for("https://example.com/x")

    assert "secret" not in caught.value.message


def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget those of this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    "wrong",
    [{"filename": "../x.gguf"}, {"size": 0}, {"size": -1}, {"size": 1 << 60}, {"sha256": "ABC"}, {"sha256": ""}],
)
def test_what_cannot_be_is_no_remote_file(wrong: dict[str, Any]) -> None:
    """The values check themselves, so nothing later has to."""
    with pytest.raises(PullRefused):
        replace(RemoteFile("https://example.com/x.gguf", 5, "x.gguf"), **wrong)


def test_a_model_of_no_or_too_many_files() -> None:
    """Both are refused."""
    file = RemoteFile("https://example.com/x.gguf", 5, "x.gguf")
    for files in ((), (file,) * 513):
        with pytest.raises(PullRefused, match="expected 1 to 512"):
            Resolved(files, ("o", "r"), "hf:o/r")
    assert Resolved((file, file), ("o", "r"), "hf:o/r").size == 10
