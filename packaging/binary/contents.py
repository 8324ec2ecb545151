"""What goes into the program, and what stays out of it. Used by ``botframework.spec``, inside PyInstaller.

PyInstaller lists files as (name inside, source path, kind). It follows every import that it sees in the code, and takes
what those packages bring along; a good part of that is for people who develop with them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

Entry = tuple[str, str, str]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daemon" / "botframework"

EXCLUDED = (
    # The build's own environment, and what only a source tree does.
    *("PyInstaller", "pip", "setuptools", "pkg_resources", "wheel", "_distutils_hack"),
    # Doors of the standard library that nobody opens here.
    *("tkinter", "turtle", "idlelib", "lib2to3", "ensurepip", "venv"),
    *("pydoc", "pydoc_data", "doctest", "test", "curses"),
    # GNU readline is under the GPL, and so would be all that is given away with it. A chat's line is edited without.
    *("readline", "rlcompleter"),
    # Served by llama-cpp-python, not by us.
    *("llama_cpp.server", "fastapi", "uvicorn", "pydantic", "starlette"),
    # Other uses of libraries that we need: tests, compilers, other event loops, coloured source code.
    *("numpy.f2py", "numpy.distutils", "numpy.testing.tests", "numpy._core.tests", "trio", "IPython", "ipywidgets"),
    *("pygments", "markdown_it", "click", "rich.markdown", "rich.syntax", "keyring"),
)
"""Modules that stay out. diskcache must not: ``import llama_cpp`` imports it."""

SKIPPED_AT_START = frozenset({"pyi_rth_inspect", "pyi_rth_multiprocessing", "pyi_rth_pkgutil"})
"""What PyInstaller would run before us: it makes sources found, packages listed and functions run in processes, which
we never do, and imports for that what costs every start 40 ms."""

UNWANTED = re.compile(
    r"""
    .*/numpy/_core/_(\w+_tests|simd|operand_flag_tests)\.[^/]+   # numpy's tests of itself
    | .*/lib(mtmd|llama-common)\.[^/]+                            # images; llama.cpp's command lines
    | .*\.(pyi|pxd|h|hpp|lib|a|cmake|pc)                          # for compilers
    | .*\.dist-info/RECORD                                       # hashes scripts that name the build's folder
    """,
    re.VERBOSE,
)
"""Names inside, with a slash before them, of files that stay out."""

ENGINE_FOLDER = PurePath("llama_cpp/lib")
_VERSIONED = re.compile(r"(?P<stem>.+?\.so)(\.\d+)*")


def data_files() -> list[tuple[str, str]]:
    """Our own files that are no modules, as PyInstaller's ``datas``."""
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
    # The demo completes a place in a source file of ours.
    files.append(PACKAGE / "errors.py")
    found = [(str(path), path.parent.relative_to(PACKAGE.parent).as_posix()) for path in files]
    found += [(str(path), "schemas") for path in (ROOT / "schemas").iterdir() if path.is_file()]
    return sorted(found)


def wanted(entries: Iterable[Entry], needs: Callable[[str], Iterable[str]] = lambda _: ()) -> list[Entry]:
    """What is left of PyInstaller's list.

    Links go, which neither a ``.vsix`` nor Windows can hold: every library finds its neighbours by its own run path.
    And of llama.cpp's libraries, which a wheel holds three times since it cannot hold links either, one each stays.

    Parameters
    ----------
    entries
        PyInstaller's binaries or datas.
    needs
        The names of the libraries that a library asks the loader for, by its path.
    """
    kept = [
        entry
        for entry in entries
        if entry[2] != "SYMLINK" and not UNWANTED.fullmatch("/" + entry[0].replace("\\", "/"))
    ]
    engine = {name: source for name, source, _ in kept if PurePath(name).parent == ENGINE_FOLDER}
    needed = {PurePath(name).name for source in engine.values() for name in needs(source)}
    chosen = _one_each(engine, needed)
    return [entry for entry in kept if entry[0] not in engine or entry[0] in chosen]


def _one_each(names: Iterable[str], needed: Container[str]) -> frozenset[str]:
    """Of ``libx.so``, ``libx.so.0``, ``libx.so.0.1`` the one that others ask for; otherwise it is opened as ``.so``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        match = _VERSIONED.fullmatch(name)
        groups.setdefault(match["stem"] if match else name, []).append(name)
    return frozenset(
        next((name for name in group if PurePath(name).name in needed), min(group, key=len))
        for group in groups.values()
    )


def stripped(entries: Iterable[Entry], folder: Path) -> list[Entry]:
    """The same list with the interpreter's own libraries as copies without symbols, which are half of their size.

    Others come stripped from their wheels, and those that were patched there do not survive a second time.
    """
    strip = shutil.which("strip")
    if sys.platform != "linux" or strip is None:
        return list(entries)
    interpreter = Path(sysconfig.get_path("stdlib")).resolve().parent
    shutil.rmtree(folder, ignore_errors=True)
    found: list[Entry] = []
    for name, source, kind in entries:
        path = Path(source).resolve() if source else Path()
        if kind not in {"BINARY", "EXTENSION"} or not _is_below(path, interpreter) or "site-packages" in path.parts:
            found.append((name, source, kind))
            continue
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        subprocess.run([strip, "--strip-unneeded", str(copy)], check=True)
        copy.chmod(0o755)
        found.append((name, str(copy), kind))
    return found


def _is_below(path: Path, folder: Path) -> bool:
    return folder in path.parents
