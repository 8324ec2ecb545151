"""What a program of one file leaves behind when it is killed, and what the next one makes of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from botframework.process import identity, program, unpacked
from botframework.process.unpacked import MARK, STILL_S, Swept, sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be locked there")

CONTENTS = (MARK, "base_library.zip", "llama_cpp/lib/libllama.so", "botframework/embedded/model.gguf")
"""In the order in which a bootloader writes them."""
LONG_AGO_S = STILL_S + 5


@pytest.fixture
def dead() -> int:
    """The process id of nobody."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder that this program has unpacked itself into."""
    return unpack(tmp_path, os.getpid())


def unpack(place: Path, pid: int, *, until: int = len(CONTENTS), age_s: float = LONG_AGO_S) -> Path:
    """What the bootloader with this pid has made so long ago: so many files."""
    folder = place / f"{program.FOLDER_PREFIX}{pid:08x}aBcDeF"
    folder.mkdir(mode=0o700)
    for name in CONTENTS[:until]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == MARK else b"x" * 1_000)
    return aged(folder, age_s)


def aged(folder: Path, age_s: float = LONG_AGO_S) -> Path:
    """As if nothing had changed for so long."""
    then = time.time() - age_s
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (then, then), follow_symlinks=False)
    return folder


def claimed(folder: Path, started: float | None = None) -> Path:
    """As the program does whose bootloader started then."""
    (folder / MARK).write_text(repr(started))
    return folder


# --- folders of the dead ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [None, 123.0])
def test_a_claimed_folder_of_a_dead_process_is_removed(own: Path, dead: int, started: float | None) -> None:
    """At once, and whatever is in it."""
    left = claimed(unpack(own.parent, dead, age_s=0), started)
    (left / "older.so").write_bytes(b"")
    (left / "link").symlink_to(own, target_is_directory=True)

    assert sweep(own) == Swept((left,), 0)
    assert not left.exists()
    assert (own / "base_library.zip").exists()


@pytest.mark.parametrize("until", range(1, len(CONTENTS) + 1))
def test_a_folder_that_nobody_could_claim_is_removed(own: Path, dead: int, until: int) -> None:
    """The bootloader was killed at its work, or just after it."""
    left = unpack(own.parent, dead, until=until)

    assert sweep(own) == Swept((left,), 0)
    assert not left.exists()


def test_half_a_claim_is_one(own: Path, dead: int) -> None:
    """The program was killed while it wrote it; so the bootloader was not at work any more."""
    left = unpack(own.parent, dead, age_s=0)
    (left / MARK).write_text("Non")

    assert sweep(own) == Swept((left,), 0)


def test_a_sweep_cut_short_is_continued(own: Path, dead: int) -> None:
    """The mark goes last."""
    left = claimed(unpack(own.parent, dead))
    removed: list[str] = []
    rmtree = shutil.rmtree

    def interrupted(path: Path) -> None:
        if removed:
            raise OSError("the power failed")
        removed.append(path.name)
        rmtree(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        assert sweep(own) == Swept((), 0)
    assert not (left / removed[0]).exists()

    assert sweep(own) == Swept((left,), 0)


def test_what_changed_a_moment_ago_is_looked_at_again(own: Path, dead: int) -> None:
    """Unclaimed it may be another container's, where a bootloader with a pid of its own is at work."""
    left = unpack(own.parent, dead, age_s=1)
    assert sweep(own) == Swept((), 1)
    assert left.exists()

    aged(left)
    (left / "llama_cpp/lib/libllama.so").write_bytes(b"")
    assert sweep(own) == Swept((), 1), "the last change counts, however deep it is"


# --- folders of the living, and of others -----------------------------------------------------------------------------


def test_a_folder_whose_bootloader_lives_stays(own: Path) -> None:
    """Claimed or not, locked or not."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as living:
        folder = unpack(own.parent, living.pid)
        assert sweep(own) == Swept((), 0)

        claimed(folder, identity.start_time(living.pid))
        assert sweep(own) == Swept((), 0)
        assert len(list(folder.rglob("*"))) == len(list(own.rglob("*")))


def test_a_process_id_that_is_used_again_fools_nobody(own: Path) -> None:
    """The claim knows when the bootloader started."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as living:
        started = identity.start_time(living.pid)
        assert started is not None
        left = claimed(unpack(own.parent, living.pid), started - 1)

        assert sweep(own) == Swept((left,), 0)


def test_a_locked_folder_stays(own: Path, dead: int) -> None:
    """In a container that shares the folder for temporary files, process ids of others mean nothing; locks do."""
    left = claimed(unpack(own.parent, dead))
    descriptor = os.open(left, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert sweep(own) == Swept((), 0)
        assert len(list(left.rglob("*"))) == len(list(own.rglob("*")))
    finally:
        os.close(descriptor)

    assert sweep(own) == Swept((left,), 0)


def without_mark(folder: Path) -> None:
    """Another program of PyInstaller's."""
    (folder / MARK).unlink()


def with_a_folder_as_mark(folder: Path) -> None:
    """Something that is only named like it."""
    (folder / MARK).unlink()
    (folder / MARK).mkdir()


def with_another_name(folder: Path) -> None:
    """Nothing that PyInstaller has made."""
    folder.rename(folder.with_name("_MEIsomething"))


@pytest.mark.parametrize("change", [without_mark, with_a_folder_as_mark, with_another_name])
def test_other_programs_folders_stay(own: Path, dead: int, change: Callable[[Path], None]) -> None:
    """However dead they are."""
    theirs = unpack(own.parent, dead)
    change(theirs)
    for folder in own.parent.iterdir():
        aged(folder)
    before = sorted(own.parent.rglob("*"))

    assert sweep(own) == Swept((), 0)
    assert sorted(own.parent.rglob("*")) == before


def test_a_link_is_not_followed(own: Path, dead: int, tmp_path: Path) -> None:
    """A link with such a name leads anywhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = claimed(unpack(elsewhere, dead))
    (own.parent / target.name).symlink_to(target, target_is_directory=True)

    assert sweep(own) == Swept((), 0)
    assert target.exists()


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_stays(own: Path, dead: int) -> None:
    """Even where we might remove it."""
    theirs = claimed(unpack(own.parent, dead))
    os.chown(theirs, 12_345, 12_345)

    assert sweep(own) == Swept((), 0)
    assert theirs.exists()


def test_a_folder_that_cannot_be_read_stops_nothing(own: Path, dead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with one of them is no reason to leave the others."""
    left = claimed(unpack(own.parent, dead))
    with subprocess.Popen(["true"]) as other:
        pass
    bad = claimed(unpack(own.parent, other.pid))
    real = unpacked._open

    def failing(folder: Path) -> int:
        if folder == bad:
            raise PermissionError(13, "no", str(folder))
        return real(folder)

    monkeypatch.setattr(unpacked, "_open", failing)

    assert sweep(own) == Swept((left,), 0)


# --- our own ----------------------------------------------------------------------------------------------------------

CLAIM = """
import sys
from botframework.process import program, unpacked
sys.frozen, sys._MEIPASS = True, sys.argv[1]
unpacked.PARENT_AT_START = program.bootloader() if sys.argv[2] == "main" else 1
unpacked.claim()
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("role", ["main", "subprocess"])
def test_a_claim_ends_with_its_process(own: Path, dead: int, role: str) -> None:
    """While the program lives its folder stays; a subprocess that uses it claims nothing."""
    folder = unpack(own.parent, dead)
    command = [sys.executable, "-c", CLAIM, str(folder), role]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        assert living.stdout.readline()
        assert bool((folder / MARK).read_text()) is (role == "main")
        if role == "main":
            assert sweep(own) == Swept((), 0)
        living.kill()

    assert sweep(own).removed == (folder,)


def test_a_program_without_a_folder_claims_and_sweeps_nothing() -> None:
    """From source and in one folder there is nothing to do."""
    unpacked.claim()
    unpacked.sweep_later()
