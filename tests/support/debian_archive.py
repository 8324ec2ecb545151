"""A Debian with nothing but its base system, as an archive that is made once and kept.

It is of the release that this machine's apt uses, from the mirror that this machine's apt uses, so nothing here knows
an address. Making it takes the superuser, ``debootstrap``, the mirror, and a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MAKE_S = 900.0
"""A minute by a near mirror."""
FIELDS = ("REPO_URI", "CODENAME", "ARCHITECTURE", "LABEL")
WORDS_TOLD = 300
"""Characters of what debootstrap said that are worth repeating."""


class Unavailable(Exception):
    """No empty root can be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Debian, and where apt gets it."""

    mirror: str
    codename: str
    architecture: str


def release() -> Release:
    """The one that apt uses here.

    Raises
    ------
    Unavailable
        There is no apt, it does not know Debian, or it has no lists yet.
    """
    apt = need("apt-get", "apt")
    wanted = "|".join(f"$({name})" for name in FIELDS)
    command = [apt, "indextargets", "--format", wanted, "Created-By: Packages"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    for line in answer.stdout.splitlines():
        mirror, codename, architecture, label = line.split("|")
        if label == "Debian" and codename and "-" not in codename:  # Updates have a release of their own.
            return Release(mirror, codename, architecture)
    raise Unavailable("apt knows no release of Debian here (on a Debian: apt-get update)")


def need(program: str, package: str) -> str:
    """Where a program is, or who has it.

    Raises
    ------
    Unavailable
        It is not there.
    """
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if path is None:
        raise Unavailable(f"there is no {program} (apt-get install {package})")
    return path


def archive(cache: Path) -> Path:
    """The archive of an empty root, made if ``cache`` has none.

    Raises
    ------
    Unavailable
        It is not there and cannot be made.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Unavailable("a root of one's own takes Linux and the superuser")
    found = release()
    target = cache / f"debian-{found.codename}-{found.architecture}.tar"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bf-") as folder:
            _bootstrap(found, Path(folder) / "root")
            part = target.with_suffix(".part")
            command = [
                "tar",
                "--create",
                "--numeric-owner",
                "--one-file-system",
                "--exclude=./var/cache/apt/archives/*.deb",
            ]
            subprocess.run([*command, f"--file={part}", "--directory", f"{folder}/root", "."], check=True)
            part.replace(target)
    return target


def _bootstrap(found: Release, folder: Path) -> None:
    program = need("debootstrap", "debootstrap")
    command = [program, "--variant=minbase", f"--arch={found.architecture}", found.codename, str(folder), found.mirror]
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C"}
    answer = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", timeout=MAKE_S, check=False
    )
    if answer.returncode != 0:
        said = (answer.stdout + answer.stderr).strip()[-WORDS_TOLD:]
        raise Unavailable(f"debootstrap ended with {answer.returncode}: {said}")
