"""What `hub_server` answers: true by default, and every lie in its place."""

from __future__ import annotations

import json
import re
import time
import zlib
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.hub_server import HubServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STALL_AFTER = 100_000
"""Bytes that a server sends before it stalls."""
PIECE = 64 * 1024
WAIT_S = 60.0
"""How long a stalled server waits at most; `HubServer.stop` ends it earlier."""


@dataclass(slots=True)
class Asked:
    """One request that came."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    proxied: bool = False
    sent: int = 0
    """Bytes of the file that were sent."""


class WithHub(ThreadingHTTPServer):
    """The listening socket, and the hub that it is of."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    hub: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients end connections in the middle of everything here; that is no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: WithHub

    def setup(self) -> None:
        """Begin a connection."""
        self.hub = self.server.hub
        super().setup()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Say nothing; `HubServer.asked` has it all."""

    def do_GET(self) -> None:
        """Answer by the first part of the path."""
        target = self.path
        is_proxied = target.startswith("http://")
        url = urlsplit(target)
        self.now = Asked(
            self.command, url.path, self.headers.get("Range"), self.headers.get("Authorization"), is_proxied
        )
        if not url.path.startswith("/_"):
            self.hub.asked.append(self.now)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        match parts:
            case ["_requests"]:
                self._json([asdict(asked) for asked in self.hub.asked])
            case ["api", "models"]:
                self._search(parse_qs(url.query).get("search", [""])[0])
            case ["api", "models", owner, name]:
                self._list(f"{owner}/{name}", "main")
            case ["api", "models", owner, name, "revision", revision]:
                self._list(f"{owner}/{name}", revision)
            case [owner, name, "resolve", revision, *inner] if inner:
                self._resolve(f"{owner}/{name}", revision, "/".join(inner))
            case ["cdn", owner, name, *inner] if inner:
                self._file(f"{owner}/{name}", "/".join(inner), url.query)
            case ["plain", owner, name, *inner] if inner:
                self._plain(f"{owner}/{name}", "/".join(inner))
            case _:
                self._refuse(404)

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()

    def do_PUT(self) -> None:
        """Change what is told."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        name = unquote(self.path)
        if name == "/_rate":
            self.hub.rate = float(body) if body else None
        elif name.startswith("/_lie/"):
            self.hub.lies[name.removeprefix("/_lie/")] = body
        self._answer(204, {"Content-Length": "0"})

    # What the hub says.

    def _search(self, words: str) -> None:
        names = [f"{path.parent.name}/{path.name}" for path in sorted(self.hub.folder.glob("*/*")) if path.is_dir()]
        found = [name for name in names if words.lower() in name.lower()]
        self._json([{"id": name, "tags": ["gguf"]} for name in found])

    def _list(self, repository: str, revision: str) -> None:
        lie = self.hub.lie_about(repository)
        folder = self.hub.folder / repository
        if lie == "silent" and "*" in self.hub.lies:
            self.hub.released.wait(WAIT_S)
            self.close_connection = True
        elif lie.startswith("api-"):
            self._lie_about_the_list(lie)
        elif lie == "bad-token" and self.now.authorization:
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif lie == "disabled":
            self._refuse(403, "RepoDisabled", "Access to this resource is disabled.")
        elif not folder.is_dir():
            self._refuse(401 if self.now.authorization is None else 404, "RepoNotFound")
        elif revision not in {"main", COMMIT}:
            self._refuse(404, "RevisionNotFound")
        else:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            siblings = [self._sibling(repository, folder, path) for path in files]
            if lie == "bad-names":
                names = ("../../evil.gguf", "/etc/evil.gguf", "..%2fevil.gguf", "evil\x00.gguf", "C:\\evil.gguf")
                siblings = [{**siblings[0], "rfilename": name} for name in names]
            gated: str | bool = "auto" if lie == "gated" else False
            self._json({"id": repository, "sha": COMMIT, "gated": gated, "siblings": siblings})

    def _sibling(self, repository: str, folder: Path, path: Path) -> dict[str, Any]:
        """A file as the hub lists it, with what is to be lied about it."""
        name = path.relative_to(folder).as_posix()
        lie = self.hub.lie_about(repository, name)
        size: int | None = path.stat().st_size
        digest: str | None = self.hub.digest(path)
        sizes = {"no-size": None, "negative-size": -1, "huge-size": 10**17}
        assert size is not None
        sizes |= {"smaller-size": size - 1, "larger-size": size + (1 << 20)}
        size = sizes.get(lie, size)
        digest = {"wrong-digest": "0" * 64, "bad-digest": "../../evil"}.get(lie, digest)
        found: dict[str, Any] = {"rfilename": name, "blobId": "0" * 40}
        if size is not None:
            found["size"] = size
        if lie != "no-digest":
            found["lfs"] = {"sha256": digest, "pointerSize": 134} | ({} if size is None else {"size": size})
        return found

    def _lie_about_the_list(self, lie: str) -> None:
        if lie == "api-page":
            self._bytes(b"<html>Please log in to the wireless network.</html>", {"Content-Type": "text/html"})
        elif lie == "api-deep":
            self._bytes(b"[" * 100_000, {"Content-Type": "application/json"})
        elif lie == "api-packed":
            self._bytes(zlib.compress(b" " * 10_000_000), {"Content-Encoding": "gzip"})
        elif lie == "api-endless":
            self._answer(200, {"Transfer-Encoding": "chunked", "Content-Type": "application/json"})
            self._endless(b'{"rfilename": "a"},' * 3_000)
        else:
            self._refuse(500)

    def _resolve(self, repository: str, revision: str, path: str) -> None:
        lie = self.hub.lie_about(repository, path)
        file = self.hub.folder / repository / path
        here = f"{self.hub.address}{self.path}"
        redirects = {
            "redirect-metadata": "http://169.254.169.254/latest/meta-data/",
            "redirect-metadata-https": "https://169.254.169.254/latest/meta-data/",
            "redirect-localhost": "https://localhost:1/model.gguf",
            "redirect-number": "https://2130706433/model.gguf",
            "redirect-plain": "http://example.com/model.gguf",
            "redirect-file": "file:///etc/passwd",
            "redirect-password": "https://user:password@example.com/model.gguf",
            "redirect-loop": here,
            "redirect-nowhere": "",
            "redirect-broken": "https://example.com]",
        }
        if lie in redirects:
            self._answer(302, {"Content-Length": "0"} | ({"Location": redirects[lie]} if redirects[lie] else {}))
        elif lie in {"gated", "gated-later"}:
            self._refuse(401 if self.now.authorization is None else 403, "GatedRepo")
        elif lie == "not-found" or not file.is_file():
            self._refuse(404, "EntryNotFound")
        elif revision not in {"main", COMMIT}:
            self._refuse(404, "RevisionNotFound")
        else:
            signature = f"signature={len(self.hub.asked)}"
            location = f"{self.hub.storage or self.hub.address}/cdn/{repository}/{quote(path)}?{signature}"
            self._answer(302, {"Content-Length": "0", "Location": location, "X-Repo-Commit": COMMIT})

    # What is stored.

    def _plain(self, repository: str, path: str) -> None:
        """A server that is no hub."""
        lie = self.hub.lie_about(repository, path)
        if lie in {"gated", "not-found"}:
            self._refuse(401 if lie == "gated" else 404)
        else:
            self._file(repository, path, "")

    def _file(self, repository: str, path: str, query: str) -> None:
        lie, file = self.hub.lie_about(repository, path), self.hub.folder / repository / path
        if not file.is_file():
            self._refuse(404)
        elif lie != "one-at-a-time":
            self._content(file, path, lie, query)
        elif self.hub.turn.acquire(blocking=False):
            try:
                self._content(file, path, lie, query)
            finally:
                self.hub.turn.release()
        else:
            self._refuse(503)

    def _content(self, file: Path, path: str, lie: str, query: str) -> None:
        """A file or a part of it, or what is said in its place."""
        size = file.stat().st_size
        etag = f'"{self.hub.digest(file)[:32]}"'
        if lie == "etag-changes":
            etag = f'"{len(self.hub.asked)}"'
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.now.range or "")
        condition = self.headers.get("If-Range", etag)
        is_part = found is not None and lie not in {"no-ranges", "no-length"} and condition == etag
        first = int(found[1]) if is_part and found else 0
        last = min(int(found[2] or size - 1), size - 1) if is_part and found else size - 1
        if first >= size:
            self._answer(416, {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
        elif lie == "silent":
            self.hub.released.wait(WAIT_S)
            self.close_connection = True
        elif lie == "server-error" or (lie == "busy-once" and self.hub.is_first(lie, path)):
            self._refuse(500 if lie == "server-error" else 503)
        elif lie == "expired-once" and query and not self.hub.is_first("used", query):
            self._refuse(403)
        elif lie == "login-page":
            self._bytes(b"<html>Please log in.</html>", {"Content-Type": "text/html"})
        elif lie == "packed":
            self._bytes(zlib.compress(b"\0" * 10_000_000), {"Content-Encoding": "gzip", "ETag": etag})
        else:
            head = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
            self._send(file, path, lie, head, first=first, last=last, size=size, is_part=is_part)

    def _send(
        self, file: Path, path: str, lie: str, head: dict[str, str], *, first: int, last: int, size: int, is_part: bool
    ) -> None:
        """The head and the bytes."""
        total = size + 1 if lie == "other-total" else size
        offset = min(first + 1, size - 1) if lie == "wrong-range" else first
        length = last - first + 1
        if is_part:
            head["Content-Range"] = f"bytes {offset}-{last}/{total}"
        if lie in {"endless-body", "longer-body"}:
            self._answer(206 if is_part else 200, head | {"Transfer-Encoding": "chunked"})
            content = file.read_bytes()[first : last + 1]
            self._chunk(content)
            self.now.sent += len(content)
            self._chunk(b"more")
            if lie == "endless-body":
                self._endless(b"\0" * PIECE)
            else:
                self._chunk(b"")
            return
        if lie == "no-length":
            head["Connection"] = "close"
            self.close_connection = True
        else:
            head["Content-Length"] = str(length)
        self._answer(206 if is_part else 200, head)
        if self.command != "HEAD":
            self._body(file, path, lie, first, length)

    def _body(self, file: Path, path: str, lie: str, first: int, length: int) -> None:
        """Bytes of the file, with what happens on their way."""
        is_short = lie == "short-body" or (lie == "short-once" and self.hub.is_first(lie, path))
        is_stalled = lie == "stall" or (lie == "stall-once" and self.hub.is_first(lie, path))
        end = first + length
        if is_short:
            end = first + length // 2
        if is_stalled:
            end = min(end, first + STALL_AFTER)
        with file.open("rb") as stream:
            if lie == "changed-byte" and first == 0:
                original = stream.read(1)
                self.wfile.write(bytes([original[0] ^ 1]))
                first, self.now.sent = 1, self.now.sent + 1
            if not lie and self.hub.rate is None and self.hub.sends_at_most is None:
                self.now.sent += self.connection.sendfile(stream, first, end - first)
                return
            stream.seek(first)
            piece = 64 if lie == "drip" else PIECE
            while first < end and (n := self.hub.allowance(min(piece, end - first))):
                self.wfile.write(stream.read(n))
                first, self.now.sent = first + n, self.now.sent + n
                rate = 640.0 if lie == "drip" else self.hub.rate
                if rate is not None and self.hub.released.wait(n / rate):
                    break
        if is_stalled or (first < end and not self.hub.released.is_set()):
            self.hub.released.wait(WAIT_S)
        if is_short or is_stalled or first < end:
            self.close_connection = True

    # How it is said.

    def _answer(self, status: int, head: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in head.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: int, code: str = "", message: str = "no") -> None:
        head = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self._bytes(json.dumps({"error": message}).encode(), head, status)

    def _json(self, content: object) -> None:
        self._bytes(json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _bytes(self, content: bytes, head: Mapping[str, str], status: int = 200) -> None:
        self._answer(status, {**head, "Content-Length": str(len(content))})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _endless(self, content: bytes) -> None:
        deadline = time.monotonic() + WAIT_S
        while not self.hub.released.is_set() and time.monotonic() < deadline:
            self._chunk(content)
        self.close_connection = True
