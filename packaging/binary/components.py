"""Whose is every file inside the program? Its parts, with versions, licences and the texts of these.

PyInstaller lists what it packs as (name inside, source path, kind). Each source has one owner: a Python distribution
(by its RECORD), CPython, llama.cpp, a package of the system (asked from dpkg), or ourselves. A file of which nobody is
known ends the build: what cannot be named must not be given away.

On macOS and Windows system libraries are not packed, so there is no dpkg to ask. Never run there.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
TEXTS = Path(__file__).with_name("licences")
"""Texts that the packages which we install do not bring along; see `_llama_cpp`."""
COMMON_LICENCES = Path("/usr/share/common-licenses")
"""Debian's copyright files name a licence's text there instead of repeating it."""

Entry = tuple[str, str, str]
"""Name inside the program, source path, PyInstaller's kind (``PYMODULE``, ``BINARY``, ``DATA``, …)."""
Kind = Literal["application", "python", "interpreter", "bootloader", "library", "system", "model"]

WITHOUT_SOURCE = frozenset({"SYMLINK", "OPTION"})
"""Kinds whose second field is no file: a link's target is listed by itself."""
MODEL = "embedded/model.gguf"
ENGINE_FILE = re.compile(r"(lib)?(ggml|llama|mtmd)[\w.-]*\.(so|dylib|dll)[\d.]*")
INTERPRETER_FILES = re.compile(r"base_library\.zip|libpython3[\d.]*\.(so|dylib)[\d.]*|python3\d*\.dll")
GENERATED = "botframework/"
"""Where the build puts what it writes about itself, wherever that was written."""
LICENCE_FILE = re.compile(r"(?i)(licen[cs]e|copying|notice|authors)([._-].*)?")
TEXT_IN_SOURCE = {"nvidia-ml-py": "pynvml.py"}
"""Distributions without a licence file whose licence is the comment at the head of a module."""
GCC = "GPL-3.0-or-later WITH GCC-exception-3.1"
SYSTEM_LICENCES = {
    r"libbz2-[\d.]+": "bzip2-1.0.6",
    r"libexpat\d+": "MIT",
    r"libffi\d+": "MIT",
    r"libgcc-s\d+": GCC,
    r"libgomp\d+": GCC,
    r"liblzma\d+": "public domain, or 0BSD",
    r"libsqlite3-\d+": "blessing",
    r"libssl3(t64)?": "Apache-2.0",
    r"libstdc\+\+\d+": GCC,
    r"libuuid\d+": "BSD-3-Clause",
    r"zlib1g": "Zlib",
}
"""Debian packages whose terms somebody has read and found to allow what we do, by SPDX's names. Others are refused:
GNU readline, for one, which CPython has a module for, would put the whole program under the GPL.
"""
BOOTLOADER_LICENCE = "GPL-2.0-or-later WITH Bootloader-exception"
"""As its COPYING.txt says; the package's own field leaves the exception out."""
MAX_EXPRESSION_CHARS = 80
"""A longer ``License`` field is the text itself, or a story."""


class OwnerUnknownError(Exception):
    """Files are packed of which nobody knows whose they are, or under which terms."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody else's work, or ours, of which at least one file is inside."""

    name: str
    version: str
    kind: Kind
    licence: str
    """As its makers call it, an SPDX expression where they use one; empty: nobody has looked."""
    purl: str
    """Package URL, as bills of materials name packages; empty: there is none."""
    texts: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """An owner and what is inside of it."""

    owner: Owner
    files: tuple[str, ...]
    """Names inside the program, sorted."""


def components(entries: Iterable[Entry]) -> list[Component]:
    """Sort what is packed by its owners; ourselves first, the others by name.

    Raises
    ------
    OwnerUnknownError
        With all files that nobody owns, or an owner without a licence's text.
    """
    files: dict[Owner, set[str]] = defaultdict(set)
    unknown = []
    for name, source, kind in entries:
        if kind in WITHOUT_SOURCE or source in {"", "-", None}:  # a namespace package has no file
            continue
        owner = _owner(Path(source))
        if owner is None and name.startswith(GENERATED):
            owner = _ourselves()
        if owner is None:
            unknown.append(f"{name} ({source})")
        else:
            files[owner].add(name)
    if unknown:
        raise OwnerUnknownError(
            f"whose are these files, and under which licence? Teach {Path(__file__).name} their owner, or leave them "
            "out in the spec:\n  " + "\n  ".join(sorted(unknown))
        )
    # The bootloader is added by PyInstaller itself, after its lists are made.
    files.setdefault(_bootloader(), set()).add("bootloader")
    refused = [f"{owner.name} ({', '.join(sorted(names))})" for owner, names in files.items() if not owner.licence]
    if refused:
        raise OwnerUnknownError(
            f"nobody has read the terms of {', '.join(sorted(refused))}: leave it out in contents.py, or read them and "
            f"add it to SYSTEM_LICENCES in {Path(__file__).name}"
        )
    if silent := [owner.name for owner in files if not owner.texts]:
        raise OwnerUnknownError(f"no text of a licence is found for {', '.join(sorted(silent))}")
    found = [Component(owner, tuple(sorted(names))) for owner, names in files.items()]
    return sorted(found, key=lambda each: (each.owner.kind != "application", each.owner.name.lower()))


def _owner(source: Path) -> Owner | None:
    """Whose a file is; None: nobody is known."""
    if ENGINE_FILE.fullmatch(source.name):
        return _llama_cpp(source.parent)
    if source.as_posix().endswith(MODEL):
        return _model()
    distribution = _by_file().get(source) or _by_file().get(source.resolve())
    if distribution is not None:
        return _distribution(distribution)
    if _is_of_interpreter(source):
        return _interpreter()
    return _ourselves() if _is_inside(source, ROOT) else _system_package(source)


def _is_of_interpreter(source: Path) -> bool:
    if INTERPRETER_FILES.fullmatch(source.name) or _is_inside(source, Path(sysconfig.get_path("stdlib"))):
        return True
    # In /usr there is everything else, too; below a prefix of its own a Python is alone, but perhaps for our checkout.
    own = Path(sys.base_prefix)
    return own != Path("/usr") and _is_inside(source, own) and not _is_inside(source, ROOT)


def _is_inside(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder) or path.resolve().is_relative_to(folder.resolve())


@functools.cache
def _ourselves() -> Owner:
    return Owner(
        "botframework", own_version(), "application", "Apache-2.0", f"pkg:pypi/botframework@{own_version()}",
        (ROOT / "LICENSE",),
    )  # fmt: skip


@functools.cache
def _model() -> Owner:
    """The embedded model: trained by this project, so it is ours; its card names the sources."""
    card = ROOT / "daemon" / "botframework" / "embedded" / "MODEL_CARD.md"
    return Owner("botframework-embedded-model", own_version(), "model", "Apache-2.0", "", (ROOT / "LICENSE", card))


def own_version() -> str:
    """Our version, from the one place where it stands."""
    text = (ROOT / "daemon" / "botframework" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


# --- Python -----------------------------------------------------------------------------------------------------------


@functools.cache
def _by_file() -> dict[Path, metadata.Distribution]:
    """Every file of every distribution of the environment that runs this."""
    return {
        Path(str(distribution.locate_file(file))): distribution
        for distribution in metadata.distributions()
        for file in distribution.files or ()
    }


@functools.cache
def _named(name: str) -> Owner:
    """A distribution by its name; one object for one name, so that files meet at one owner."""
    distribution = metadata.distribution(name)
    version = distribution.version
    purl = f"pkg:pypi/{normalized(name)}@{version}"
    texts = tuple(_licence_files(distribution))
    if normalized(name) == "pyinstaller":
        return Owner(name, version, "bootloader", BOOTLOADER_LICENCE, purl, texts)
    return Owner(name, version, "python", _expression(distribution), purl, texts)


def _distribution(distribution: metadata.Distribution) -> Owner:
    name = distribution.name
    return _ourselves() if normalized(name) == "botframework" else _named(name)


def normalized(name: str) -> str:
    """A distribution's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _expression(distribution: metadata.Distribution) -> str:
    """What the distribution calls its licence."""
    fields = distribution.metadata.json
    for told in (str(fields.get("license_expression", "")), str(fields.get("license", ""))):
        if told and len(told) <= MAX_EXPRESSION_CHARS and "\n" not in told.strip():
            return told.strip()
    named = [line for line in fields.get("classifier", ()) if line.startswith("License :: ")]
    return ", ".join(line.rpartition(" :: ")[2] for line in named)


def _licence_files(distribution: metadata.Distribution) -> Iterator[Path]:
    info = [file for file in distribution.files or () if file.parts[0].endswith(".dist-info")]
    found = [file for file in info if LICENCE_FILE.fullmatch(file.name)]
    in_source = TEXT_IN_SOURCE.get(normalized(distribution.name))
    if not found and in_source is not None:
        found = [file for file in distribution.files or () if str(file) == in_source]
    for file in sorted(found):
        yield Path(str(distribution.locate_file(file)))


def _bootloader() -> Owner:
    return _named("pyinstaller")


@functools.cache
def _interpreter() -> Owner:
    version = platform.python_version()
    places = (Path(sysconfig.get_path("stdlib")) / "LICENSE.txt", Path(sys.base_prefix) / "LICENSE.txt")
    texts = tuple(path for path in places if path.is_file())[:1]
    if not texts and (packaged := _system_package(Path(sysconfig.get_path("stdlib")) / "os.py")):
        texts = packaged.texts
    return Owner("CPython", version, "interpreter", "PSF-2.0", f"pkg:generic/python@{version}", texts)


# --- llama.cpp --------------------------------------------------------------------------------------------------------


@functools.cache
def _llama_cpp(folder: Path) -> Owner:
    """llama.cpp and ggml, compiled from llama-cpp-python's source distribution, which installs no licence of theirs.

    The texts are copied from that distribution into `TEXTS`, under its version: another version finds none, and
    whoever raises it looks at the new source.
    """
    binding = metadata.version("llama-cpp-python")
    commit = _commit(folder)
    texts = tuple(sorted((TEXTS / f"llama-cpp-python-{binding}").glob("*.txt")))
    purl = f"pkg:github/ggml-org/llama.cpp@{commit}"
    return Owner("llama.cpp", f"{commit} (in llama-cpp-python {binding})", "library", "MIT", purl, texts)


def _commit(folder: Path) -> str:
    """The commit that the libraries were compiled from."""
    suffix = {"win32": "dll", "darwin": "dylib"}.get(sys.platform, "so")
    name = f"ggml-base.{suffix}" if sys.platform == "win32" else f"libggml-base.{suffix}"
    # A backend may lie in a folder of its own, beside that of the library which every backend needs.
    place = next((path for path in (folder / name, *sorted(folder.parent.rglob(name))) if path.exists()), None)
    if place is None:
        raise OwnerUnknownError(f"there is no {name} near {folder}: which llama.cpp is this?")
    ask = ctypes.CDLL(str(place)).ggml_commit
    ask.restype = ctypes.c_char_p
    return str(ask().decode()).removesuffix("-dirty")


# --- the system's libraries -------------------------------------------------------------------------------------------


@functools.cache
def _system_package(source: Path) -> Owner | None:
    """The Debian package of a file."""
    package = _debian_package(source)
    return None if package is None else _debian_owner(package)


def _debian_package(source: Path) -> str | None:
    dpkg = shutil.which("dpkg")
    if dpkg is None:
        return None
    resolved = source.resolve()
    # /lib is a link to /usr/lib, and the package's own list may have either.
    names = dict.fromkeys(
        str(name)
        for path in (source, resolved)
        for name in (path, Path("/usr") / path.relative_to("/"), Path("/") / str(path).removeprefix("/usr/"))
    )
    for name in names:
        told = subprocess.run([dpkg, "-S", name], capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
            if not line.startswith("diversion ") and line.endswith(f": {name}"):
                return line.removesuffix(f": {name}").split(",")[0].strip()
    return None


@functools.cache
def _debian_owner(package: str) -> Owner:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}", package],
        capture_output=True,
        text=True,
        check=True,
    )
    name, version, architecture = asked.stdout.split()
    copyright_file = Path("/usr/share/doc") / name / "copyright"
    texts = (copyright_file,) if copyright_file.is_file() else ()
    licence = next((told for pattern, told in SYSTEM_LICENCES.items() if re.fullmatch(pattern, name)), "")
    purl = f"pkg:deb/debian/{name}@{quote(version, safe=':~')}?arch={architecture}"
    return Owner(name, version, "system", licence, purl, texts)


def common_licences(text: str) -> Iterator[Path]:
    """The licences that a Debian copyright file names without repeating them."""
    for name in sorted(set(re.findall(rf"{COMMON_LICENCES}/([A-Za-z0-9.+-]*[A-Za-z0-9])", text))):
        path = COMMON_LICENCES / name
        if path.is_file():
            yield path
