"""A machine with nothing: an empty Debian root that a program is put into, without Python and without a network.

The root is a folder that is entered with chroot(1) as an ordinary user, inside Linux namespaces of its own: there is
no interface but a loopback, no process but its own, and all of it goes with the ``with`` block. A hub of models runs in
the same network, outside the root (`EmptyRoot.hub`). Linux and the superuser only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import psutil

from support.debian_archive import archive, need
from support.hub_server import serving_apart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

TESTS = Path(__file__).parents[1]
CACHE = TESTS / "artefacts"
KEEPER = Path(__file__).with_name("root_keeper.py")
USER = "user"
USER_ID = 1_000
HOME = PurePosixPath("/home", USER)
PROGRAM = PurePosixPath("/usr/local/bin/botframework")
ENVIRONMENT = {
    "HOME": str(HOME),
    "USER": USER,
    "LOGNAME": USER,
    "SHELL": "/bin/sh",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}
"""All of it: no language either, as over a bare connection."""
PATIENCE_S = 100.0
GONE_S = 10.0
"""Who is still there then is not slow but an orphan."""

Listing = dict[PurePosixPath, tuple[int, int, int]]
"""Mode, size and time of the last change in ns; of folders the mode alone."""


@dataclass(frozen=True, slots=True)
class EmptyRoot:
    """A root that can be entered."""

    folder: Path
    first: int
    """The process whose namespaces it lives in, as it is numbered outside."""

    def command(self, *words: str, **environ: str) -> list[str]:
        """What runs a program of the root as its user, in their home, with `ENVIRONMENT` and ``environ`` alone."""
        enter = [need("nsenter", "util-linux"), f"--target={self.first}", "--mount", "--net", "--pid", "--ipc", "--uts"]
        become = [need("chroot", "coreutils"), f"--userspec={USER_ID}:{USER_ID}", "--groups=", str(self.folder)]
        assignments = [f"{name}={value}" for name, value in (ENVIRONMENT | environ).items()]
        return [*enter, *become, "/usr/bin/env", f"--chdir={HOME}", "--ignore-environment", *assignments, *words]

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the root to its end, in pipes, with nothing on its standard input."""
        return subprocess.run(
            self.command(*words, **environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=False,
        )

    def hub(self, folder: Path, certificate: tuple[Path, Path] | None = None) -> AbstractContextManager[str]:
        """The address of a `support.hub_server` over a folder outside, which only the root can reach."""
        options = ("--certificate", *map(str, certificate)) if certificate is not None else ()
        enter = (need("nsenter", "util-linux"), f"--target={self.first}", "--net")
        return serving_apart(folder, *options, before=enter)

    # --- what is there ------------------------------------------------------------------------------------------------

    def inside(self, path: PurePosixPath) -> Path:
        """A path of the root as this process can open it, what is mounted in there included."""
        return Path(f"/proc/{self.first}/root{self.folder}") / path.relative_to("/")

    def processes(self) -> dict[int, str]:
        """Command lines of the living processes in there, by their numbers outside."""
        ours = Path(f"/proc/{self.first}/ns/pid").readlink()
        found: dict[int, str] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                is_here = Path(f"/proc/{process.pid}/ns/pid").readlink() == ours and process.pid != self.first
                if is_here and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = " ".join(process.cmdline())
        return found

    def seconds_until_empty(self) -> float:
        """Wait until nobody lives in there any more; fails with the names of orphans."""
        began = time.monotonic()
        while left := self.processes():
            assert time.monotonic() - began < GONE_S, f"left behind: {left}"
            time.sleep(0.01)
        return time.monotonic() - began

    def interfaces(self) -> dict[str, int]:
        """The network interfaces, and how many packets each has received."""
        lines = Path(f"/proc/{self.first}/net/dev").read_text(encoding="ascii").splitlines()[2:]
        return {name.strip(): int(counts.split()[1]) for name, _, counts in (line.partition(":") for line in lines)}

    def listing(self) -> Listing:
        """Every file and folder, except those that the kernel makes up."""
        found: Listing = {}
        top = self.inside(PurePosixPath("/"))
        for parent, folders, files in os.walk(top):
            here = PurePosixPath("/") / Path(parent).relative_to(top).as_posix()
            if here == PurePosixPath("/"):
                folders.remove("proc")
            for name in (*folders, *files):
                with contextlib.suppress(FileNotFoundError):  # Gone meanwhile.
                    status = Path(parent, name).lstat()
                    is_folder = stat.S_ISDIR(status.st_mode)
                    size, changed = (0, 0) if is_folder else (status.st_size, status.st_mtime_ns)
                    found[here / name] = (status.st_mode, size, changed)
        return found

    def places(self) -> dict[str, PurePosixPath]:
        """The folders and files that the program says it uses, by name (``botframework where``)."""
        answer = self.run(str(PROGRAM), "where", "--json")
        assert answer.returncode == 0, answer.stderr
        return {place["name"]: PurePosixPath(place["path"]) for place in json.loads(answer.stdout)["places"]}


def changed(before: Listing, after: Listing) -> set[PurePosixPath]:
    """What is new, gone or another."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def outside(paths: Iterable[PurePosixPath], places: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Those of the paths that are in none of the places, and are no folder on the way to one."""
    known = set(places)
    on_the_way = {parent for place in known for parent in place.parents}
    return {path for path in paths if path not in on_the_way and known.isdisjoint({path, *path.parents})}


@contextlib.contextmanager
def empty_root(folder: Path, program: Path) -> Iterator[EmptyRoot]:
    """Unpack an empty root into a folder that is not there yet, put a program into it, and let it be entered.

    Raises
    ------
    Unavailable
        It cannot be had on this machine.
    """
    unshare = [need("unshare", "util-linux"), "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    need("mount", "mount")
    _unpack(archive(CACHE), folder)
    _furnish(folder, program)
    command = [*unshare, sys.executable, "-P", str(KEEPER), str(folder)]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
            assert keeper.stdin is not None
            assert keeper.stdout is not None
            try:
                assert keeper.stdout.readline() == "ready\n", "the namespaces could not be made"
                (first,) = psutil.Process(keeper.pid).children()
                yield EmptyRoot(folder, first.pid)
            finally:
                keeper.stdin.close()
                keeper.wait(GONE_S)
    finally:
        shutil.rmtree(folder)


def _unpack(tar: Path, folder: Path) -> None:
    folder.mkdir()
    command = [
        "tar",
        "--extract",
        "--numeric-owner",
        "--preserve-permissions",
        f"--file={tar}",
        f"--directory={folder}",
    ]
    subprocess.run(command, check=True)


def _furnish(folder: Path, program: Path) -> None:
    """What an installer writes, a user with an empty home, and the program where administrators put such."""
    (folder / "etc" / "hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")
    with (folder / "etc" / "passwd").open("a", encoding="ascii") as file:
        file.write(f"{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/sh\n")
    with (folder / "etc" / "group").open("a", encoding="ascii") as file:
        file.write(f"{USER}:x:{USER_ID}:\n")
    home = folder / HOME.relative_to("/")
    home.mkdir(mode=0o700)
    os.chown(home, USER_ID, USER_ID)
    shutil.copyfile(program, folder / PROGRAM.relative_to("/"))
    (folder / PROGRAM.relative_to("/")).chmod(0o755)
