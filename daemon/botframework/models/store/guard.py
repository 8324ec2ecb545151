"""Which addresses a download may go to.

A server, or who has taken it over, chooses where a redirect leads; without rules it could make us ask the services of
this machine, of the user's network or of the cloud that we run in. So only https is followed, and only to public
addresses, but for the host and port that the user wrote. A name is resolved and checked for each connection, and what
was checked is what is connected to (`network.Network`): it cannot change its address in between.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from botframework.errors import DownloadFailed, PullRefused
from botframework.models.store.remote import shown_url

MAX_REDIRECTS = 5
"""A hub needs one or two."""
MAX_URL_CHARS = 8_192
"""Signed addresses of storage services have some two thousand."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out; elsewhere lie old and new ways to write private addresses."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom a request is for; what belongs to one origin is not told to another."""

    scheme: str
    host: str
    port: int

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port


def origin(url: str) -> Origin:
    """Who is meant by an address.

    Raises
    ------
    PullRefused
        It is no address of a web server.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower().rstrip("."), parts.port
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError as error:  # also UnicodeError
        raise PullRefused(f"an address that cannot be read: {error}") from error
    if len(url) > MAX_URL_CHARS or not url.isprintable() or not host or parts.scheme not in _PORTS:
        raise PullRefused(f"{shown_url(url)} is no https address of at most {MAX_URL_CHARS} characters")
    if parts.username is not None or parts.password is not None:
        raise PullRefused(f"{shown_url(url)} has a user or password in it")
    return Origin(parts.scheme, host, port or _PORTS[parts.scheme])


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules of one pull."""

    trusted: frozenset[tuple[str, int]] = frozenset()
    """Hosts and ports that the user wrote: in the address, or as the hub's. They may be private."""

    def check(self, url: str) -> Origin:
        """Whether a request may go to an address, as far as that can be told without connecting.

        Raises
        ------
        PullRefused
            It is not https, or names an address that is not public. On the user's own network a host that they wrote
            may speak plain http.
        """
        target = origin(url)
        is_trusted = target.place in self.trusted
        if not is_trusted and is_private_name(target.host):
            raise _not_public(target.host, url)
        if target.scheme == "http" and not (is_trusted and all(not is_public(a) for a in resolve(*target.place))):
            raise PullRefused(f"{shown_url(url)} is not https; what comes by it could be changed on its way")
        return target

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses that a connection to ``host`` may go to, in the system's order.

        Raises
        ------
        PullRefused
            One of them is not public.
        DownloadFailed
            The name has none.
        """
        found = resolve(host.lower(), port)
        if (host.lower().rstrip("."), port) not in self.trusted:
            for address in found:
                if not is_public(address):
                    raise _not_public(f"{host} ({address})", f"https://{host}")
        return found


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name.

    Raises
    ------
    DownloadFailed
        There are none, or nobody could be asked.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DownloadFailed(f"{host}: no address is known for this name ({reason})", url=f"https://{host}") from error
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet, also behind the ways to write IPv4 as IPv6."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64 or int(address) >> 32 == 0:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        elif address not in _UNICAST or (address.sixtofour is not None and not address.sixtofour.is_global):
            return False
    return address.is_global and not address.is_multicast


def is_private_name(host: str) -> bool:
    """Whether a host is known to be private by its name alone: all that can be known where a proxy resolves names."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal", ".home.arpa")):
        return True
    try:
        # Also numbers in the old spellings: 2130706433, 0x7f.1.
        address = str(ipaddress.ip_address(host)) if ":" in host else socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return False
    return not is_public(address)


def _not_public(what: str, url: str) -> PullRefused:
    return PullRefused(
        f"{what} is not a public address, and not one that you wrote: it is not asked", url=shown_url(url)
    )
