"""Snapshots on disk: old or new and never half, never a wrong one loaded, closed to others, and not for ever."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import pytest

from botframework.worker import container, fingerprint, snapshots
from botframework.worker.parked import ParkedState
from botframework.worker.snapshots import SnapshotFolder
from support import snapshot_faults
from support.gguf_factory import tiny_llama, tiny_mamba
from support.snapshot_folder import FINGERPRINT, folder_at, key

TESTS = Path(__file__).parents[1]
POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="owners, modes, links and fork are POSIX's")
PATIENCE_S = 20.0
DAY_S = 86_400.0


def state(size: int = 1_000, *, fill: bytes = b"s", note: bytes = b"note") -> ParkedState:
    """A parked state whose file has exactly so many bytes."""
    tokens = array("i", range(10))
    beside = container.lengths_of(ParkedState(tokens, b"", note)).file_bytes
    return ParkedState(tokens, fill * (size - beside), note)


def run_child(module: str, *arguments: str) -> str:
    """Run a module of `support`; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", f"support.{module}", *arguments],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- one snapshot -----------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(folder: SnapshotFolder) -> None:
    """Tokens, state and note come back by their key, also in another process's folder object; others are missing."""
    first, second = state(fill=b"1"), state(20_000_000, fill=b"2", note=b"")
    assert folder.write(key(1), first)
    assert folder.write(key(2), second)

    again = folder_at(folder.path)
    assert again.read(key(1)) == first
    assert again.read(key(2)) == second
    assert again.read(key(3)) is None


def test_a_newer_one_takes_the_place(folder: SnapshotFolder) -> None:
    """There is one file for a key, the newest."""
    folder.write(key(1), state(fill=b"1"))
    folder.write(key(1), state(2_000, fill=b"2"))

    assert folder.read(key(1)) == state(2_000, fill=b"2")
    assert [entry.bytes for entry in folder.entries()] == [2_000]
    assert len(list(folder.path.iterdir())) == 1


def test_the_file_says_what_it_is(folder: SnapshotFolder) -> None:
    """`described` tells key, size, tokens and note without reading the state, and skips what is for others."""
    folder.write(key(1), state(5_000, note=b"one"))
    folder.write(key(2), state(note=b"n" * (snapshots.MAX_SHOWN_NOTE_BYTES + 1), size=2_000_000))
    folder_at(folder.path, mark=FINGERPRINT[:-1] + b"!").write(key(3), state())

    (told,) = folder.described()

    assert (told.key, told.bytes, told.tokens, told.note) == (key(1), 5_000, 10, b"one")
    assert 0 <= told.idle_s < PATIENCE_S
    assert len(folder.entries()) == 3  # nothing was deleted


@POSIX_ONLY
def test_nobody_else_can_read(folder: SnapshotFolder) -> None:
    """The folder is 0700 and a file 0600, under any umask, from its first byte on."""
    seen: list[int] = []

    def look() -> None:
        seen.extend(stat.S_IMODE(file.stat().st_mode) for file in folder.path.iterdir())

    before = os.umask(0)
    try:
        folder.write(key(1), state(), before_piece=look)
    finally:
        os.umask(before)

    assert set(seen) == {0o600}
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.path.iterdir()] == [0o600]
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.path.parent.stat().st_mode) & 0o077 == 0


@POSIX_ONLY
def test_a_folder_that_others_can_enter_is_refused(folder: SnapshotFolder, caplog: pytest.LogCaptureFixture) -> None:
    """An open folder, a link and a file in its place get nothing and give nothing, and that is said once."""
    folder.write(key(1), state())
    for mode in (0o755, 0o770, 0o701):
        folder.path.chmod(mode)
        again = folder_at(folder.path)
        caplog.clear()
        assert not again.write(key(2), state())
        assert again.read(key(1)) is None
        assert len(caplog.records) == 1
    folder.path.chmod(0o700)
    assert folder_at(folder.path).read(key(1)) is not None

    link = folder.path.with_name("1" * 32)
    link.symlink_to(folder.path)
    assert folder_at(link).read(key(1)) is None
    assert not folder_at(link).write(key(2), state())
    (folder.path.parent / "file").write_text("")
    assert not folder_at(folder.path.parent / "file").write(key(2), state())


@POSIX_ONLY
def test_a_folder_of_somebody_else_is_refused(folder: SnapshotFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files may have right digests and still be made to harm."""
    folder.write(key(1), state())
    someone = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: someone)

    assert folder_at(folder.path).read(key(1)) is None
    assert not folder_at(folder.path).write(key(2), state())


@POSIX_ONLY
def test_what_is_no_file_is_not_opened(folder: SnapshotFolder) -> None:
    """A link is deleted and not followed; a FIFO does not block; a folder harms nobody."""
    folder.write(key(1), state())
    (file,) = folder.path.iterdir()
    elsewhere = folder.path.parent / "elsewhere"
    file.rename(elsewhere)

    file.symlink_to(elsewhere)
    assert folder.read(key(1)) is None
    assert not file.is_symlink()
    assert elsewhere.is_file()
    os.mkfifo(file)
    assert folder.read(key(1)) is None
    assert not file.exists()
    file.mkdir()
    assert folder.read(key(1)) is None
    assert folder.described() == []


# --- check 38: damaged and foreign snapshots --------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["llama", "mamba"])
def model_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an ordinary KV cache, and a recurrent one."""
    make = tiny_llama if request.param == "llama" else tiny_mamba
    return make(tmp_path_factory.mktemp("model") / "model.gguf")


@pytest.mark.parametrize(("what", "count"), [("flips", 1_000), ("cuts", 500)])
def test_no_damaged_snapshot_is_loaded(model_file: Path, path: Path, what: str, count: int) -> None:
    """Check 38: 1,000 flips, every structural border and 500 lengths: all a miss, all deleted, and nobody aborts."""
    told = json.loads(run_child("snapshot_mutations", what, str(model_file), str(path), "1", str(count)))

    assert told["tried"] >= count
    assert told == {
        "tried": told["tried"],
        "missed": told["tried"],
        "left": 0,
        "taken": 0,
        "wrong": 0,
        "healthy": True,
    }


@pytest.mark.soak
def test_no_byte_and_no_length_is_overlooked(model_file: Path, path: Path) -> None:
    """Check 38 in full: every byte of a file flipped, and every length."""
    told = json.loads(run_child("snapshot_mutations", "all", str(model_file), str(path), "1", "0"))

    assert told["tried"] > 10_000
    assert (told["missed"], told["left"], told["taken"], told["healthy"]) == (told["tried"], 0, 0, True)


def test_llama_cpp_itself_would_take_them(path: Path, tmp_path: Path) -> None:
    """Why the container is there: of such flips in a bare state most load and answer wrongly, or end the process."""
    model = tiny_llama(tmp_path / "model.gguf")
    done = subprocess.run(
        [sys.executable, "-m", "support.snapshot_mutations", "raw", str(model), str(path), "1", "100"],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    told = json.loads(done.stdout.splitlines()[-1])

    assert done.returncode < 0 or told["wrong"] > 50


OTHER_MARKS = {
    "another model": bytes([FINGERPRINT[0] ^ 1]) + FINGERPRINT[1:],
    "another build or parameter": FINGERPRINT[:-1] + bytes([FINGERPRINT[-1] ^ 1]),
}


@pytest.mark.parametrize("mark", OTHER_MARKS.values(), ids=OTHER_MARKS.keys())
def test_a_foreign_snapshot_is_a_miss_and_goes(folder: SnapshotFolder, mark: bytes) -> None:
    """Put under our name, a whole snapshot of other making is not taken, and deleted."""
    mine = folder.path / f"{FINGERPRINT.hex()[:16]}-{key(1).hex()}.kv"
    other = folder_at(folder.path, mark=mark)
    other.write(key(1), state())
    next(folder.path.iterdir()).rename(mine)

    assert folder.read(key(1)) is None
    assert not mine.exists()


def test_another_sessions_snapshot_is_a_miss(folder: SnapshotFolder) -> None:
    """A file that was given another session's name is not taken for it."""
    folder.write(key(1), state())
    (file,) = folder.path.iterdir()
    renamed = file.with_name(file.name.replace(key(1).hex(), key(2).hex()))
    file.rename(renamed)

    assert folder.read(key(2)) is None
    assert not renamed.exists()


def test_the_same_model_with_other_parameters_takes_the_name_over(folder: SnapshotFolder) -> None:
    """Another build finds the old build's file, deletes it, and writes its own under the name."""
    folder.write(key(1), state(fill=b"1"))
    other = folder_at(folder.path, mark=OTHER_MARKS["another build or parameter"])

    assert other.read(key(1)) is None
    assert list(folder.path.iterdir()) == []
    other.write(key(1), state(fill=b"2"))
    assert other.read(key(1)) == state(fill=b"2")


def test_another_model_lives_beside(folder: SnapshotFolder) -> None:
    """Two models may have the same document's snapshot; neither sees the other's."""
    other = folder_at(folder.path, mark=OTHER_MARKS["another model"])
    folder.write(key(1), state(fill=b"1"))
    other.write(key(1), state(fill=b"2"))

    assert folder.read(key(1)) == state(fill=b"1")
    assert other.read(key(1)) == state(fill=b"2")
    assert len(folder.entries()) == len(other.entries()) == 1


@pytest.mark.parametrize("at", [0, 7, 8])
def test_another_format_is_a_miss(folder: SnapshotFolder, at: int) -> None:
    """Magic and version are looked at before anything else."""
    folder.write(key(1), state())
    (file,) = folder.path.iterdir()
    data = bytearray(file.read_bytes())
    data[at] ^= 3
    file.write_bytes(data)

    assert folder.read(key(1)) is None
    assert not file.exists()


def test_nothing_about_a_session_stands_in_a_file_name_or_log(
    folder: SnapshotFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """Names are digests; messages tell sizes and reasons."""
    caplog.set_level("DEBUG")
    secret = "file:///home/somebody/secret-project/plan.py"
    folder.write(fingerprint.fim_key(secret), state(note=secret.encode()))
    (file,) = folder.path.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert folder.read(fingerprint.fim_key(secret)) is None

    assert "secret" not in file.name
    assert caplog.records
    assert "secret" not in caplog.text


# --- check 37: faults while writing -----------------------------------------------------------------------------------


@POSIX_ONLY
@pytest.mark.parametrize("mode", ["fail", "late", "short", "kill", "first"])
def test_a_fault_at_any_call_leaves_the_old_or_the_new(path: Path, mode: str) -> None:
    """Check 37: an error, a short write or SIGKILL at the N-th system call, for every N: never a third content."""
    results: list[dict[str, Any]] = json.loads(run_child("snapshot_faults", mode, str(path)))
    *struck, last = results

    assert len(struck) >= (5 if mode == "short" else 15)  # there, only writes are struck
    assert last["found"] == "new"
    before = "none" if mode == "first" else "old"
    for result in struck:
        assert result["found"] in {before, "new"}, result
        if mode in {"kill", "first"}:
            assert result["exit"] == -signal.SIGKILL
        else:
            assert result["exit"] == 0, result  # Nothing is raised into the caller.
            assert result["found"] == "new" or not result["said"], result
            assert result["leftovers"] == 0, result
    assert {result["found"] for result in struck} == ({before} if mode == "short" else {before, "new"})
    if mode == "fail":
        calls = [result["struck"] for result in struck]
        assert {"open", "write", "fsync", "close", "replace", "unlink"} <= set(calls)


@POSIX_ONLY
def test_a_fault_while_reading_is_a_miss(path: Path) -> None:
    """A disk that fails under a reader costs the snapshot at most for this time."""
    results = json.loads(run_child("snapshot_faults", "read", str(path)))

    assert len(results) >= 5
    for result in results:
        assert result["exit"] == 0
        assert result["said"] in {"old", "none"}
        assert result["found"] == "old"
    assert "none" in {result["said"] for result in results}


@POSIX_ONLY
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(path: Path) -> None:
    """Check 37: SIGKILL at random moments of a process that writes all the time; leftovers go with the next sweep."""
    program = (
        "import sys, pathlib\n"
        "from support.snapshot_faults import KEY, folder_at, new, old\n"
        "folder = folder_at(pathlib.Path(sys.argv[1]))\n"
        "print(flush=True)\n"
        "while True:\n"
        "    folder.write(KEY, new())\n"
        "    folder.write(KEY, old())\n"
    )
    reader = snapshot_faults.folder_at(path)
    assert reader.write(snapshot_faults.KEY, snapshot_faults.old())
    seen = set()
    for attempt in range(12):
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=TESTS, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        # Moments spread over more than one whole write: this wait is the test's subject, not its patience.
        time.sleep(0.003 * attempt)
        writer.kill()
        writer.communicate(timeout=PATIENCE_S)
        seen.add(snapshot_faults.name_of(reader.read(snapshot_faults.KEY)))
    assert seen <= {"old", "new"}

    for leftover in path.glob(".*.part"):
        os.utime(leftover, (1, 1))
    reader.sweep()
    assert [file.suffix for file in path.iterdir()] == [".kv"]


# --- limits -----------------------------------------------------------------------------------------------------------


def age(folder: SnapshotFolder, number: int, seconds: float) -> None:
    """Make a snapshot look as if it was used last so long ago."""
    (file,) = folder.path.glob(f"*-{key(number).hex()}.kv")
    then = time.time() - seconds
    os.utime(file, (then, then))


def numbers(folder: SnapshotFolder) -> list[int]:
    """Which snapshots there are, least recently used first."""
    return [entry.key[0] for entry in folder.entries()]


def test_the_least_recently_used_goes_first(path: Path) -> None:
    """Beyond the limit a new one displaces what was longest not used; reading counts as use, and so does writing."""
    folder = folder_at(path, limit_bytes=40_000)
    for number in (1, 2, 3, 4):
        folder.write(key(number), state(10_000))
        age(folder, number, 1_000 - 100 * number)
    assert folder.read(key(1)) is not None

    assert folder.write(key(5), state(15_000))

    assert sorted(numbers(folder)) == [1, 4, 5]
    assert sum(entry.bytes for entry in folder.entries()) == 35_000


def test_writing_anew_displaces_nobody(path: Path) -> None:
    """The older file of the same key is not counted: it goes anyway."""
    folder = folder_at(path, limit_bytes=20_000)
    folder.write(key(1), state(10_000))
    folder.write(key(2), state(10_000))

    assert folder.write(key(2), state(10_000, fill=b"2"))

    assert sorted(numbers(folder)) == [1, 2]


def test_the_limit_counts_other_models_too(path: Path) -> None:
    """It is the folder's, whoever wrote into it."""
    other = folder_at(path, limit_bytes=20_000, mark=OTHER_MARKS["another model"])
    other.write(key(1), state(15_000))
    age(other, 1, 100)

    assert folder_at(path, limit_bytes=20_000).write(key(2), state(10_000))

    assert numbers(other) == []


def test_the_limit_is_that_of_all_workspaces(path: Path, tmp_path: Path) -> None:
    """What is written in one workspace displaces what was longest not used in any, but nothing behind a link."""
    here, there = (folder_at(each, limit_bytes=30_000) for each in (path, path.with_name("1" * 32)))
    elsewhere = folder_at(tmp_path / "elsewhere")
    elsewhere.write(key(9), state(10_000))
    age(elsewhere, 9, 13 * DAY_S)
    path.parent.mkdir(parents=True)
    path.with_name("2" * 32).symlink_to(elsewhere.path)
    for number, folder, days in ((1, there, 3.0), (2, here, 2.0), (3, there, 1.0)):
        assert folder.write(key(number), state(10_000))
        age(folder, number, days * DAY_S)

    assert here.write(key(4), state(10_000))

    assert [entry.key for entry in there.entries()] == [key(3)]
    assert [entry.key for entry in here.entries()] == [key(2), key(4)]
    assert [entry.key for entry in elsewhere.entries()] == [key(9)]


def test_what_is_larger_than_the_limit_is_not_written(path: Path) -> None:
    """And displaces nobody."""
    folder = folder_at(path, limit_bytes=20_000)
    folder.write(key(1), state(10_000))

    assert not folder.write(key(2), state(20_001))
    assert numbers(folder) == [1]
    assert not folder_at(path, limit_bytes=0).write(key(2), state())


def test_what_nobody_used_for_14_days_is_deleted(path: Path) -> None:
    """Not a day earlier; and a file from the future, written before a clock was set back, does not live for ever."""
    folder = folder_at(path)
    ages = {1: 15 * DAY_S, 2: 14 * DAY_S + 60, 3: 14 * DAY_S - 60, 4: 0.0, 5: -2 * DAY_S}
    for number, seconds in ages.items():
        folder.write(key(number), state())
        age(folder, number, seconds)

    folder.sweep()

    assert sorted(numbers(folder)) == [3, 4]


def test_reading_makes_it_young_again(folder: SnapshotFolder) -> None:
    """14 days count from the last use."""
    folder.write(key(1), state())
    age(folder, 1, 13 * DAY_S)
    assert folder.read(key(1)) is not None

    later = folder_at(folder.path, clock=lambda: time.time() + 13 * DAY_S)
    later.sweep()

    assert numbers(folder) == [1]


def test_a_sweep_brings_a_folder_within_its_limit(path: Path) -> None:
    """A limit that was lowered holds from the next sweep on, least recently used first."""
    folder = folder_at(path)
    for number in (1, 2, 3):
        folder.write(key(number), state(10_000))
        age(folder, number, 100 - number)

    folder_at(path, limit_bytes=20_000).sweep()

    assert numbers(folder) == [2, 3]


def test_a_sweep_takes_old_leftovers_only(folder: SnapshotFolder) -> None:
    """A writer that was killed leaves a file that grows old; one at work, and what is not ours, stay."""
    folder.write(key(1), state())
    dead, alive, foreign = (folder.path / name for name in (f".{'a' * 16}.part", f".{'b' * 16}.part", "notes.txt"))
    for file in (dead, alive, foreign):
        file.write_bytes(b"x")
    for file in (dead, foreign):
        os.utime(file, (1, 1))

    folder.sweep()

    assert [file.exists() for file in (dead, alive, foreign)] == [False, True, True]
    assert numbers(folder) == [1]


def test_forgotten_workspaces_expire_too(path: Path) -> None:
    """A workspace that nobody opens again is swept by the others; folders that are not ours are left alone."""
    folder = folder_at(path)
    folder.write(key(1), state())
    neighbour = folder_at(path.with_name("1" * 32))
    neighbour.write(key(1), state())
    age(neighbour, 1, 15 * DAY_S)
    busy = folder_at(path.with_name("2" * 32))
    for number in (1, 2):
        busy.write(key(number), state())
    age(busy, 1, 15 * DAY_S)
    stranger = folder_at(path.with_name("a folder"))
    stranger.write(key(1), state())
    age(stranger, 1, 15 * DAY_S)

    snapshots.sweep_neighbours(path)

    assert not neighbour.path.exists()
    assert (numbers(folder), numbers(busy), numbers(stranger)) == ([1], [2], [1])


def test_clear_leaves_nothing(folder: SnapshotFolder) -> None:
    """All models' snapshots and all leftovers, however young."""
    folder.write(key(1), state())
    folder_at(folder.path, mark=OTHER_MARKS["another model"]).write(key(2), state())
    (folder.path / f".{'a' * 16}.part").write_bytes(b"source")

    folder.clear()

    assert list(folder.path.iterdir()) == []
    assert folder.write(key(1), state())


def test_nothing_is_made_by_asking(folder: SnapshotFolder) -> None:
    """A folder appears with the first snapshot; until then everything is empty."""
    assert folder.read(key(1)) is None
    assert (folder.entries(), folder.described()) == ([], [])
    folder.clear()
    folder.sweep()
    folder.delete(key(1))
    snapshots.sweep_neighbours(folder.path)

    assert not folder.path.parent.exists()


def test_wrong_lengths_are_mistakes_of_ours() -> None:
    """A key or fingerprint of another length raises: it is a defect, not a bad file."""
    with pytest.raises(ValueError, match="64 bytes, not 3"):
        SnapshotFolder(Path("x"), limit_bytes=1, fingerprint=b"abc")
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        folder_at(Path("x")).read(b"abc")
