"""A hub of models on this machine, over a folder ``FOLDER/owner/repo/…``; it lies on demand.

It answers the two requests of the Hugging Face hub that a pull needs (and the search), redirects downloads to a storage
address as the hub does, gives parts of files, and serves every file plainly below ``/plain/`` too. As a program::

    PYTHONPATH=tests python -m support.hub_server FOLDER [--rate BYTES_PER_S] [--lie NAME=LIE ...]

prints its address as the first line and serves until its standard input ends (by https with ``--certificate FILE
KEY``). Let botframework ask it with ``HF_ENDPOINT=<address>``. A lie is told about a file (``owner/repo/file.gguf``), a
repository (``owner/repo``) or about everything (``*``); `LIES` has their names. Another process changes them by ``PUT
/_lie/NAME`` with the lie as the body, the rate by ``PUT /_rate``, and reads what was asked at ``/_requests``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support.hub_answers import Asked, Handler, WithHub

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

LIES = {
    # About the list of files.
    "wrong-digest": "publishes another digest than the file's",
    "no-digest": "publishes no digest",
    "bad-digest": "publishes a digest that is none",
    "no-size": "does not say how large the file is",
    "negative-size": "says that the file has -1 bytes",
    "huge-size": "says that the file has 10**17 bytes",
    "smaller-size": "says that the file is one byte smaller",
    "larger-size": "says that the file is a MiB larger",
    "bad-names": "lists names that leave the folder",
    "api-page": "answers with a page for people",
    "api-endless": "answers with a list that never ends",
    "api-deep": "answers with a hundred thousand brackets",
    "api-packed": "answers with a packed list",
    "api-error": "answers with 500",
    # About who may have it.
    "gated": "wants a token, and then a licence accepted",
    "gated-later": "says so only at the download",
    "bad-token": "does not take the token",
    "disabled": "has taken the repository down",
    "not-found": "has no such file when it is downloaded",
    # About where it is.
    "redirect-metadata": "redirects to the address where clouds keep credentials",
    "redirect-metadata-https": "the same by https",
    "redirect-localhost": "redirects to another service of this machine, by name",
    "redirect-number": "redirects to this machine, its address written as one number",
    "redirect-plain": "redirects to plain http at a public host",
    "redirect-file": "redirects to a file",
    "redirect-password": "redirects to an address with a user and password",
    "redirect-loop": "redirects to itself",
    "redirect-nowhere": "redirects without saying where",
    "redirect-broken": "redirects to something that is no address",
    # About its content.
    "changed-byte": "changes the file's first byte",
    "short-body": "closes the connection after a part of what it announced",
    "short-once": "does so at the first request only",
    "endless-body": "goes on sending for ever",
    "longer-body": "sends some bytes more than were asked for",
    "other-total": "says, while it sends, that the file is larger",
    "wrong-range": "sends another part than the one that was asked for",
    "packed": "sends a packed body that would become a million times as long",
    "login-page": "sends a page for people in the place of the file",
    "no-ranges": "always sends the whole file",
    "no-length": "sends the whole file and does not say how long it is",
    "etag-changes": "has a new version of the file at every request",
    "server-error": "answers with 500",
    "busy-once": "answers with 503 at the first request",
    "one-at-a-time": "answers with 503 while it sends to somebody",
    "expired-once": "lets the redirect's address run out after the first use",
    # About time.
    "stall": "stops sending in the middle",
    "stall-once": "does so at the first request only",
    "drip": "sends some bytes a second",
    "silent": "takes the request and never answers",
}
"""Every lie, and what it is."""


@dataclass
class HubServer:
    """The server, as a context manager."""

    folder: Path
    lies: dict[str, str] = field(default_factory=dict)
    """By file, repository or ``*``."""
    rate: float | None = None
    """Bytes a second of each answer; as fast as possible without."""
    sends_at_most: int | None = None
    """Bytes of files that are sent in all; then every connection stalls."""
    storage: str | None = None
    """The address of another server that downloads are redirected to; this one itself without."""
    certificate: tuple[Path, Path] | None = None
    """With it (and its key) the server speaks https as ``localhost``."""
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.turn = threading.Lock()
        self._digests: dict[tuple[str, int, int], str] = {}
        self._told: set[tuple[str, str]] = set()
        self._server = WithHub(("127.0.0.1", 0), Handler)
        self._server.hub = self
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="hub", daemon=True)

    @property
    def address(self) -> str:
        """What ``HF_ENDPOINT`` is to be."""
        port = self._server.server_address[1]
        return f"http://127.0.0.1:{port}" if self.certificate is None else f"https://localhost:{port}"

    @property
    def sent(self) -> int:
        """Bytes of files that were sent so far."""
        return sum(asked.sent for asked in self.asked)

    def downloads(self) -> list[Asked]:
        """The requests that were answered with parts of files."""
        return [asked for asked in self.asked if asked.path.startswith(("/cdn/", "/plain/"))]

    def start(self) -> Self:
        """Serve from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End every connection and the server."""
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def lie_about(self, repository: str, path: str = "") -> str:
        """The lie for a file; empty for the truth."""
        return self.lies.get(f"{repository}/{path}") or self.lies.get(repository) or self.lies.get("*") or ""

    def is_first(self, lie: str, what: str) -> bool:
        """Whether a lie that is told once has not been told about it."""
        with self.lock:
            is_first = (lie, what) not in self._told
            self._told.add((lie, what))
            return is_first

    def allowance(self, wanted: int) -> int:
        """How many more bytes may be sent."""
        if self.sends_at_most is None:
            return wanted
        with self.lock:
            return max(0, min(wanted, self.sends_at_most - self.sent))

    def digest(self, file: Path) -> str:
        """A file's SHA-256, computed once."""
        status = file.stat()
        key = (str(file), status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            with file.open("rb") as stream:
                self._digests[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._digests[key]


@contextlib.contextmanager
def serving_apart(folder: Path, *options: str, before: Sequence[str] = ()) -> Iterator[str]:
    """The address of a hub over a folder, in a process of its own; ``before`` is a command that starts commands."""
    command = [*before, sys.executable, "-m", "support.hub_server", str(folder), *options]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def main() -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, help="bytes a second of each answer")
    parser.add_argument("--lie", action="append", default=[], metavar="NAME=LIE", help=", ".join(LIES))
    parser.add_argument("--certificate", nargs=2, type=Path, metavar=("FILE", "KEY"), help="speak https as localhost")
    options = parser.parse_args()
    lies = dict(str(assignment).rsplit("=", 1) for assignment in options.lie)
    unknown = set(lies.values()) - set(LIES)
    if unknown:
        parser.error(f"no such lies: {', '.join(sorted(unknown))}")
    certificate = tuple(options.certificate) if options.certificate else None
    with HubServer(options.folder, lies, options.rate, certificate=certificate) as hub:
        sys.stdout.write(f"{hub.address}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
