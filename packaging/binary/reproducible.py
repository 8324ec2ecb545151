"""Do two builds of the same commit differ, and where? ``reproducible.py FIRST SECOND``.

Both are folders that PyInstaller made, or both one-file programs. Every file is compared, with its mode; PyInstaller's
archives are opened, so that a difference has the name of the module that differs. Exit code 0: they are the same, or
differ only in what is explained; 1: something else differs.

Run it with the environment of the binary, which has PyInstaller's readers.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import marshal
import os
import re
import stat
import sys
import types
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUILD_ID = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0.{20}", re.DOTALL)
"""The linker's note in an ELF file: sizes, kind and owner, and behind them a hash of what was linked."""
OF_THE_FOLDER = "the linker's build id: compiled in another folder, whose name was the run path when it was linked"
PROGRAM_MARK = b"MEI\014\013\012\013\016"
"""Stands in every program of PyInstaller."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One thing that is not the same."""

    where: str
    """File, and behind `!` what of it."""
    what: str
    is_known: bool = False
    """Whether it is explained, and makes no other program."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def main() -> int:
    """Compare and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args()
    found = sorted(differences(options.first, options.second))
    for each in found:
        print(each)
    compared = sum(1 for path in _files(options.first) if path.is_file())
    unknown = sum(1 for each in found if not each.is_known)
    told = f"{len(found)} differences, {unknown} of them not explained" if found else "the same"
    print(f"{compared} files compared: {told}")
    return 1 if unknown else 0


def differences(first: Path, second: Path) -> Iterator[Difference]:
    """All of them."""
    if first.is_file() and second.is_file():
        yield from _files_differ("", first, second)
        return
    names = {path.relative_to(base).as_posix() for base in (first, second) for path in _files(base)}
    for name in sorted(names):
        yield from _paths_differ(name, first / name, second / name)


def _files(base: Path) -> Iterator[Path]:
    return iter((base,)) if base.is_file() else base.rglob("*")


def _paths_differ(name: str, first: Path, second: Path) -> Iterator[Difference]:
    for path, other in ((first, "second"), (second, "first")):
        if not os.path.lexists(path):
            yield Difference(name, f"is only in the {other}")
            return
    modes = [path.lstat().st_mode for path in (first, second)]
    if modes[0] != modes[1]:
        yield Difference(name, f"mode {stat.filemode(modes[0])} and {stat.filemode(modes[1])}")
    elif stat.S_ISLNK(modes[0]):
        if first.readlink() != second.readlink():
            yield Difference(name, f"leads to {first.readlink()} and {second.readlink()}")
    elif stat.S_ISREG(modes[0]):
        yield from _files_differ(name, first, second)


def _files_differ(name: str, first: Path, second: Path) -> Iterator[Difference]:
    if _digest(first) == _digest(second):
        return
    yield from _contents_differ(name or first.name, first, second)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _contents_differ(name: str, first: Path, second: Path) -> Iterator[Difference]:
    """Two files that are not the same: by their members if they are archives, else as a whole."""
    packed = [_packed(path) for path in (first, second)]
    if packed[0] is not None and packed[1] is not None:
        told = list(_members_differ(name, packed[0], packed[1]))
        yield from told
        if not told:
            yield Difference(f"{name}!", "its members are the same: the program around them, or their order, is not")
        return
    yield from _bytes_differ(name, first.read_bytes(), second.read_bytes())


def _bytes_differ(name: str, first: bytes, second: bytes) -> Iterator[Difference]:
    if first.startswith(b"PK") and second.startswith(b"PK"):
        yield from _members_differ(name, _zipped(first), _zipped(second))
    elif len(first) != len(second):
        yield Difference(name, f"{len(first)} and {len(second)} bytes")
    elif BUILD_ID.sub(b"", first) == BUILD_ID.sub(b"", second):
        yield Difference(name, OF_THE_FOLDER, is_known=True)
    else:
        places = [at for at, (one, other) in enumerate(zip(first, second, strict=True)) if one != other]
        yield Difference(name, f"{len(places)} of {len(first)} bytes, the first at {places[0]}")


Members = dict[str, "Callable[[], bytes]"]
"""Name to what reads it."""


def _members_differ(name: str, first: Members, second: Members) -> Iterator[Difference]:
    for member in sorted(first.keys() | second.keys()):
        where = f"{name}!{member}"
        if member not in first or member not in second:
            yield Difference(where, f"is only in the {'second' if member in second else 'first'}")
            continue
        contents = first[member](), second[member]()
        if contents[0] != contents[1]:
            yield from _member_differs(where, *contents)
    if list(first) != list(second) and first.keys() == second.keys():
        yield Difference(f"{name}!", "its members stand in another order")


def _member_differs(where: str, first: bytes, second: bytes) -> Iterator[Difference]:
    codes = [_code(each) for each in (first, second)]
    if codes[0] is not None and codes[1] is not None and codes[0] == codes[1]:
        yield Difference(where, "the same code, marshalled in another way (which constants are shared)")
    else:
        yield from _bytes_differ(where, first, second)


def _code(data: bytes) -> types.CodeType | None:
    try:
        loaded: Any = marshal.loads(data)
    except (ValueError, EOFError, TypeError):
        return None
    return loaded if isinstance(loaded, types.CodeType) else None


def _zipped(data: bytes) -> Members:
    archive = zipfile.ZipFile(io.BytesIO(data))
    return {info.filename: _reader(archive.read, info.filename) for info in archive.infolist()}


def _packed(path: Path) -> Members | None:
    """The members of a program that PyInstaller made, those of its inner archive of modules too; None: it is none."""
    if PROGRAM_MARK not in path.read_bytes():
        return None
    from PyInstaller.archive.readers import ArchiveReadError, CArchiveReader

    try:
        archive = CArchiveReader(str(path))
    except ArchiveReadError:  # the bootloader as it is installed holds the mark and no archive
        return None
    members: Members = {}
    for name, (*_, kind) in archive.toc.items():
        if kind == "z":  # PyInstaller's code of an archive of modules
            inner = archive.open_embedded_archive(name)
            members |= {f"{name}!{module}": _reader(inner.extract, module, True) for module in inner.toc}
        elif kind != "o":  # an option of the bootloader: its name is all of it
            members[name] = _reader(archive.extract, name)
        else:
            members[name] = bytes
    return members


def _reader(read: Callable[..., Any], *arguments: Any) -> Callable[[], bytes]:
    def member() -> bytes:
        try:
            data: bytes = read(*arguments)
        except zlib.error as error:
            return f"it cannot be unpacked: {error}".encode()
        return data

    return member


if __name__ == "__main__":
    sys.exit(main())
