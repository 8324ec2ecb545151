"""Make ``.venv`` from nothing but a Python 3.11 and a C++ compiler: ``python3 packaging/bootstrap.py``.

Every Makefile target runs this first. It uses the standard library alone, because a fresh Debian has neither uv nor pip
nor ensurepip:

1. nothing to do when ``.venv`` was made from this ``uv.lock`` and this ``pyproject.toml`` (a stamp tells);
2. find uv of the pinned version, or fetch its wheel from PyPI, check its SHA-256 and unpack it into ``.tools/``;
3. ``uv sync --locked``. llama-cpp-python has no wheel on PyPI and compiles for minutes, so the time that passes is
   shown, and what uv said is kept in ``.tools/bootstrap.log`` and printed when it fails.

Run on Linux x86-64; the macOS, Windows and aarch64 branches are written with care and were never run.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import io
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from typing import Self

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
STAMP = VENV / "botframework-stamp"
LOG = TOOLS / "bootstrap.log"

OLDEST_PYTHON = (3, 11)
UV_VERSION = "0.13.8"
"""Exactly the uv that wrote ``uv.lock``: another one might want to rewrite it."""
UV_WHEELS = {
    ("linux", "x86_64"): (
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    ),
    ("linux", "aarch64"): (
        "manylinux_2_28_aarch64",
        "5337c30bb893b4f9ce0ceb921ba2da0d13f649da644f40ad3bef84083bef0203",
    ),
    ("darwin", "x86_64"): (
        "macosx_10_12_x86_64",
        "b7124ca1956ec2e476a1003ea5715a15f0266afaec37f4dc9c6972ba8183e6d1",
    ),
    ("darwin", "arm64"): (
        "macosx_11_0_arm64",
        "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
    ),
    ("windows", "amd64"): (
        "win_amd64",
        "cfbc13020a64cdf2f116d2936824c38edbf41e5c07f1ea291baf02e31ebf3ed0",
    ),
    ("windows", "arm64"): (
        "win_arm64",
        "b4184029b1b7c54409b9cd4372c73a36ef9c2d1d7cf3b0aca59c8b1932f041dc",
    ),
}
"""(system, machine) to the wheel's platform tag and SHA-256. Nothing is unpacked whose hash is not written here."""

DEFAULT_INDEX = "https://pypi.org/simple"
MAX_INDEX_BYTES = 32 << 20
"""The list of uv's files is about 2 MB long; a mirror that sends more is broken."""
MAX_WHEEL_BYTES = 128 << 20
"""A uv wheel is about 20 MB."""
DOWNLOAD_TIMEOUT_S = 60
"""Without a byte."""
DOWNLOAD_TRIES = 3
PULSE_TERMINAL_S = 1.0
PULSE_LOG_S = 30.0
"""In a log one line in half a minute shows life without filling it."""
LOG_TAIL_LINES = 60

COMPILE_NOTE = "llama.cpp is compiled from source (PyPI has no wheel of it): about 4 minutes on 2 cores, once"
TOOLCHAIN = (
    # what, its environment variable, the programs that will do, the Debian package
    ("a C compiler", "CC", ("cc", "gcc", "clang", "cl"), "gcc"),
    ("a C++ compiler", "CXX", ("c++", "g++", "clang++", "cl"), "g++"),
    ("cmake", "", ("cmake",), "cmake"),
    ("make or ninja", "", ("make", "gmake", "ninja", "nmake"), "make"),
)


def fail(message: str) -> NoReturn:
    """Say why there is no environment, and end."""
    print(f"bootstrap: {message}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def say(message: str) -> None:
    """Report a step."""
    print(f"bootstrap: {message}", file=sys.stderr, flush=True)


# --- is there anything to do? -----------------------------------------------------------------------------------------


def fingerprint() -> str:
    """What the environment depends on. The folder belongs to it: an editable install holds absolute paths."""
    digest = hashlib.sha256()
    for part in (ROOT / "uv.lock", ROOT / "pyproject.toml"):
        digest.update(part.read_bytes())
    digest.update(f"{ROOT}|{sys.version_info[:2]}|{UV_VERSION}".encode())
    return digest.hexdigest()


def venv_python(venv: Path) -> Path:
    """Where an environment's interpreter is."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_current() -> bool:
    """Whether the environment was made from what is checked out now."""
    try:
        return STAMP.read_text(encoding="utf-8").strip() == fingerprint() and venv_python(VENV).exists()
    except OSError:
        return False


# --- uv ---------------------------------------------------------------------------------------------------------------


def certificate_file() -> str | None:
    """The CA bundle that the user chose for Python tools; None: the system's."""
    for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        value = os.environ.get(name)
        if value and Path(value).is_file():
            return value
    return None


def download(url: str, limit: int) -> bytes:
    """Fetch at most ``limit`` bytes; proxies come from the environment, as urllib reads it."""
    if urllib.parse.urlsplit(url).scheme not in {"https", "http", "file"}:
        fail(f"will not fetch {url}: not http(s)")
    context = ssl.create_default_context(cafile=certificate_file())
    request = urllib.request.Request(url, headers={"User-Agent": "botframework-bootstrap", "Accept": "text/html, */*"})
    for attempt in range(1, DOWNLOAD_TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=DOWNLOAD_TIMEOUT_S, context=context) as answer:
                body: bytes = answer.read(limit + 1)
        except (OSError, urllib.error.URLError) as error:
            if attempt == DOWNLOAD_TRIES:
                fail(
                    f"cannot fetch {url}: {error}\n"
                    "  Behind a proxy set HTTPS_PROXY; with an own certificate authority set SSL_CERT_FILE;\n"
                    f"  with a mirror set PIP_INDEX_URL. Or put uv {UV_VERSION} on the PATH."
                )
            time.sleep(attempt)
        else:
            if len(body) > limit:
                fail(f"{url} is larger than {limit} bytes")
            return body
    raise AssertionError


def find_link(page: str, base: str, name: str) -> str | None:
    """The absolute address of the file ``name`` on a page of a simple index; its links may be relative."""
    for match in re.finditer(r"""<a\s[^>]*?href\s*=\s*["']([^"']+)["']""", page, re.IGNORECASE):
        address = urllib.parse.urljoin(base, html.unescape(match.group(1)))
        if urllib.parse.unquote(urllib.parse.urlsplit(address).path).rsplit("/", 1)[-1] == name:
            return urllib.parse.urldefrag(address).url
    return None


def unpack_uv(wheel: bytes, target: Path) -> None:
    """Write the one program that is wanted out of the wheel, whole or not at all."""
    program = "uv.exe" if os.name == "nt" else "uv"
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        member = next((n for n in archive.namelist() if n.endswith(f".data/scripts/{program}")), None)
        if member is None:
            fail(f"the wheel of uv {UV_VERSION} holds no {program}")
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix="uv-")
        with os.fdopen(handle, "wb") as file, archive.open(member) as source:
            shutil.copyfileobj(source, file)
    Path(temporary).chmod(0o755)
    Path(temporary).replace(target)


def fetch_uv(target: Path) -> None:
    """Download the pinned uv for this machine from the simple index."""
    system, machine = platform.system().lower(), platform.machine().lower()
    try:
        tag, expected = UV_WHEELS[system, machine]
    except KeyError:
        fail(f"no pinned uv for {system} {machine}: put uv {UV_VERSION} on the PATH")
    name = f"uv-{UV_VERSION}-py3-none-{tag}.whl"
    index = (os.environ.get("PIP_INDEX_URL") or DEFAULT_INDEX).rstrip("/") + "/uv/"
    say(f"fetching uv {UV_VERSION} from {urllib.parse.urlsplit(index).hostname}")
    address = find_link(download(index, MAX_INDEX_BYTES).decode("utf-8", "replace"), index, name)
    if address is None:
        fail(f"{index} does not list {name}")
    wheel = download(address, MAX_WHEEL_BYTES)
    found = hashlib.sha256(wheel).hexdigest()
    if found != expected:
        fail(f"{name} has the SHA-256 {found}, expected {expected}; nothing was installed")
    unpack_uv(wheel, target)


def uv_version(program: str | Path) -> str:
    """What a uv says that it is; empty if it does not run."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    words = answer.stdout.split()
    return words[1] if answer.returncode == 0 and len(words) > 1 else ""


def find_uv() -> Path:
    """Uv of the pinned version: the one in ``.tools/``, one on the PATH, or a fresh download."""
    own = TOOLS / f"uv-{UV_VERSION}" / ("uv.exe" if os.name == "nt" else "uv")
    if own.exists() and uv_version(own) == UV_VERSION:
        return own
    on_path = shutil.which("uv")
    if on_path and uv_version(on_path) == UV_VERSION:
        return Path(on_path)
    fetch_uv(own)
    if uv_version(own) != UV_VERSION:
        fail(f"{own} does not run on this machine")
    return own


# --- the environment --------------------------------------------------------------------------------------------------


def check_toolchain(venv: Path) -> None:
    """Name the Debian packages that are missing, before minutes of downloads end in a compiler's error."""
    if any(venv.glob("*/**/site-packages/llama_cpp_python-*.dist-info")) or os.name == "nt":
        return
    missing = [
        (what, package)
        for what, variable, programs, package in TOOLCHAIN
        if not os.environ.get(variable or "-") and not any(map(shutil.which, programs))
    ]
    if missing:
        packages = " ".join(package for _, package in missing)
        fail(
            f"missing: {', '.join(what for what, _ in missing)}. They compile llama.cpp. On Debian or Ubuntu:\n"
            f"  sudo apt-get install {packages}"
        )


def uv_environment(venv: Path) -> dict[str, str]:
    """Our environment without what would send uv elsewhere than to ``venv``, with what makes the compile quick."""
    environment = {key: value for key, value in os.environ.items() if key not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    environment["UV_PROJECT_ENVIRONMENT"] = str(venv)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment["UV_NO_PROGRESS"] = "1"
    # The daemon's start is measured in milliseconds; also where PYTHONDONTWRITEBYTECODE is set it shall not compile.
    environment["UV_COMPILE_BYTECODE"] = "1"
    # Debian has make but no ninja, and make runs one job unless it is told a number.
    environment.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    certificates = certificate_file()
    if certificates:
        environment["SSL_CERT_FILE"] = certificates
    else:
        # The system's store knows a company's proxy; uv's own list of authorities does not.
        environment.setdefault("UV_SYSTEM_CERTS", "1")
    return environment


class Pulse:
    """Shows that time passes: one line that is overwritten on a terminal, a line every half minute elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = time.monotonic()
        self._doing = "resolving"
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        with self._lock:
            self._wipe()

    def doing(self, what: str) -> None:
        """Name the work that the passing time is spent on."""
        self._doing = what

    def line(self, text: str) -> None:
        """Print a line of its own above the running one."""
        with self._lock:
            self._wipe()
            self._stream.write(f"  {text}\n")
            self._stream.flush()

    def elapsed(self) -> str:
        """Minutes and seconds since the start."""
        seconds = int(time.monotonic() - self._started)
        return f"{seconds // 60} m {seconds % 60:02d} s"

    def _wipe(self) -> None:
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _beat(self) -> None:
        while not self._end.wait(PULSE_TERMINAL_S if self._terminal else PULSE_LOG_S):
            with self._lock:
                text = f"bootstrap: {self.elapsed()}  {self._doing} …"
                width = shutil.get_terminal_size().columns - 1
                self._stream.write(f"\r\x1b[K{text[:width]}" if self._terminal else f"{text}\n")
                self._stream.flush()


def sync(uv: Path, venv: Path, log_file: Path, *options: str, compile_note: str = COMPILE_NOTE) -> None:
    """``uv sync --locked`` into ``venv``, with signs of life; what uv says goes to ``log_file``."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    command = [str(uv), "sync", "--locked", "--color", "never", "--python", sys.executable, *options]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=uv_environment(venv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert child.stdout is not None
    heard: list[str] = []
    try:
        with Pulse(sys.stderr) as pulse, log_file.open("w", encoding="utf-8") as log:
            for raw in child.stdout:
                line = raw.strip()
                heard.append(raw.rstrip())
                log.write(raw)
                if line.startswith("Building llama-cpp-python"):
                    pulse.line(compile_note)
                    pulse.doing("compiling llama.cpp")
                elif line.startswith("Built llama-cpp-python"):
                    pulse.line(f"llama.cpp is compiled ({pulse.elapsed()})")
                    pulse.doing("installing")
                elif line.startswith(("Resolved", "Prepared", "Installed")):
                    pulse.line(line)
                    pulse.doing("installing")
            code = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
    if code != 0:
        print("\n".join(heard[-LOG_TAIL_LINES:]), file=sys.stderr)
        fail(f"uv sync ended with {code}; all that it said is in {log_file}")


def main() -> int:
    """Bring ``.venv`` up to date."""
    if sys.version_info < OLDEST_PYTHON:
        fail(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed, this is {platform.python_version()}")
    if is_current():
        return 0
    check_toolchain(VENV)
    STAMP.unlink(missing_ok=True)
    say(f"making {VENV} (once; later runs find it ready)")
    sync(find_uv(), VENV, LOG)
    subprocess.run([venv_python(VENV), "-m", "compileall", "-q", str(ROOT / "daemon")], check=False)
    STAMP.write_text(fingerprint() + "\n", encoding="utf-8")
    say(f"ready: {venv_python(VENV)}")
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
