"""Logging: never on standard output, never blocking, never a body, never world-readable."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from botframework import process
from botframework.process import logs

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 20.0

PREAMBLE = """
import logging, os, sys, threading, time
from pathlib import Path
from botframework import process
from botframework.process import logs
folder = Path(sys.argv[1])
log = logging.getLogger("botframework.test")
"""


def start(
    code: str, folder: Path, *, stdin: int = subprocess.DEVNULL, stderr: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """Start code after the preamble in a process of its own."""
    command = [sys.executable, "-c", PREAMBLE + code, str(folder)]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)


def run(code: str, folder: Path) -> tuple[list[str], list[str]]:
    """Run code to its end: the lines on standard error and in the file. Nothing may come to standard output."""
    with start(code, folder) as running:
        out, err = running.communicate(timeout=DEADLINE_S)
    assert (running.returncode, out) == (0, b""), err
    file = folder / logs.FILE_NAME
    return err.decode().splitlines(), file.read_text().splitlines() if file.exists() else []


def test_both_places_get_the_same(tmp_path: Path) -> None:
    """A record reaches standard error and a private file in a private folder; the path is told."""
    folder = tmp_path / "a" / "log"
    err, file = run("s = logs.set_up('info', folder); log.info('path %s', s.path)", folder)

    assert err == file
    assert err[0].endswith(f"botframework.test: path {folder / logs.FILE_NAME}")
    assert stat.S_IMODE((folder / logs.FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_levels(tmp_path: Path) -> None:
    """Ours as set and changed; libraries from WARNING on, so that pygls's message bodies stay out at every level."""
    code = """
s = logs.set_up("warning", folder)
log.info("no")
s.set_level("debug")
log.debug("yes 1")
logging.getLogger("pygls.protocol.json_rpc").info("Sending data: secret")
logging.getLogger("asyncio").info("no")
logging.getLogger("pygls.server").warning("yes 2")
logging.getLogger("other").warning("yes 3")
"""
    err, _ = run(code, tmp_path)

    assert [line.rpartition(": ")[2] for line in err] == ["yes 1", "yes 2", "yes 3"]


def test_a_record_cannot_pretend_to_be_another(tmp_path: Path) -> None:
    """Line ends inside a message are marked; half characters, odd arguments and giants do no harm."""
    code = r"""
logs.set_up("info", folder)
log.info("one\n2026-01-01 ERROR forged\rx")
log.info("\ud800")
log.info("%d", "not a number")
class Bad:
    def __str__(self): raise RuntimeError
log.info("%s", Bad())
log.info("x" * 100_000)
"""
    err, _ = run(code, tmp_path)

    assert err[1] == "  2026-01-01 ERROR forged\\rx"
    assert err[2].endswith("\\ud800")
    assert err[3:5] == ["a record could not be formatted"] * 2
    assert len(err[5]) < logs.MAX_LINE_CHARS + 100
    assert len(err) == 6


def test_prints_and_warnings_become_records(tmp_path: Path) -> None:
    """What a library prints or warns about is a record, and the traceback that ends the process is not lost."""
    code = """
logs.set_up("info", folder, take_streams=True)
import warnings
print("printed", 1)
print("to stderr", file=sys.stderr)
warnings.warn("careful")
threading.Thread(target=lambda: 1 / 0).start()
"""
    err, file = run(code, tmp_path)
    text = "\n".join(err)

    assert err == file
    for words in ("botframework.stdout: printed 1", "botframework.stderr: to stderr", "careful", "ZeroDivisionError"):
        assert words in text


def test_fatal_traceback_is_written(tmp_path: Path) -> None:
    """An exception that ends the process is in the log."""
    with start("logs.set_up('info', folder, take_streams=True); raise LookupError('the end')", tmp_path) as running:
        _, err = running.communicate(timeout=DEADLINE_S)

    assert b"LookupError: the end" in err
    assert running.returncode == 1


def test_unread_standard_error_does_not_block(tmp_path: Path) -> None:
    """A supervisor that does not read our standard error costs us nothing; the file gets every line."""
    code = """
s = logs.set_up("info", folder, take_streams=True)
began = time.monotonic()
for number in range(1_500):
    log.info("%d %s", number, "x" * 100)
print("y" * 200_000)
took = time.monotonic() - began
s._sinks[1].flush(time.monotonic() + 10.0)  # the file; standard error never empties
os.write(1, b"%d" % (took * 1_000))
process.exit_now(0)
"""
    with start(code, tmp_path) as running:
        assert running.stdout is not None
        took_ms = int(running.stdout.read())
        assert running.wait(DEADLINE_S) == 0

    assert took_ms < 2_000
    assert len((tmp_path / logs.FILE_NAME).read_text().splitlines()) > 1_500


def test_slow_reader_loses_the_oldest_lines_and_is_told(tmp_path: Path) -> None:
    """The queue is bounded; what was dropped is counted at the place where it is missing."""
    code = """
s = logs.set_up("info", None)
for number in range(10_000):
    log.info("%d %s", number, "x" * 200)
os.write(1, b"written\\n")
sys.stdin.read()
s.flush(10.0)
"""
    with start(code, tmp_path, stdin=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"written\n"
        _, err = running.communicate(timeout=DEADLINE_S)
    lines = err.decode().splitlines()
    dropped = [int(line.split()[0]) for line in lines if "were dropped" in line]

    assert sum(dropped) > 0
    assert len(lines) - len(dropped) + sum(dropped) == 10_000
    assert " 9999 " in lines[-1]


def test_nobody_at_the_other_end(tmp_path: Path) -> None:
    """A broken standard error ends the process at once and in silence: its supervisor is gone."""
    code = """
logs.set_up("info", folder)
log.info("anybody?")
threading.Event().wait()
"""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with start(code, tmp_path, stderr=write_end) as running:
        os.close(write_end)

        assert running.wait(DEADLINE_S) == process.EXIT_PIPE_BROKEN


def test_file_alone(tmp_path: Path) -> None:
    """A process whose standard error is a pipe that matters to others writes to the file only."""
    err, file = run("logs.set_up('info', folder, to_stderr=False); log.info('hello')", tmp_path)

    assert err == []
    assert file[0].endswith("hello")


def test_rotation(tmp_path: Path) -> None:
    """The file is exchanged when it is full, and no more than the newest few are kept, all private."""
    code = """
logs.MAX_FILE_BYTES = 10_000
s = logs.set_up("info", folder)
for number in range(1_500):
    log.info("%d %s", number, "x" * 50)
s.flush(10.0)
"""
    (tmp_path / logs.FILE_NAME).write_text("old\n" * 5_000)
    run(code, tmp_path)
    files = sorted(tmp_path.glob("botframework.log*"))

    assert [file.name for file in files] == ["botframework.log", *(f"botframework.log.{n}" for n in range(1, 5))]
    assert all(0 < file.stat().st_size <= 10_000 for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    newest_first = [line.split()[-2] for file in files for line in reversed(file.read_text().splitlines())]
    assert newest_first == [str(number) for number in range(1_499, 1_499 - len(newest_first), -1)]


def test_several_processes_one_file(tmp_path: Path) -> None:
    """Windows of one user share the file: no line is lost, split or mixed while any of them rotates it."""
    code = """
logs.MAX_FILE_BYTES = 20_000
logs.MAX_FILES = 100
s = logs.set_up("info", folder)
for number in range(300):
    log.info("number %d end", number)
s.flush(10.0)
"""
    writers = [start(code, tmp_path, stderr=subprocess.DEVNULL) for _ in range(3)]
    for writer in writers:
        with writer:
            assert writer.wait(DEADLINE_S) == 0
    lines = [line for file in tmp_path.glob("botframework.log*") for line in file.read_text().splitlines()]

    assert len(list(tmp_path.glob("botframework.log*"))) > 2
    expected = [f"{number} end" for number in range(300) for _ in writers]
    assert sorted(line.partition("number ")[2] for line in lines) == sorted(expected)


@pytest.mark.parametrize("make", ["file", "link"])
def test_folder_that_cannot_be_used(tmp_path: Path, make: str) -> None:
    """Without a log file the process goes on with standard error alone."""
    folder = tmp_path / "log"
    if make == "file":
        folder.touch()
    else:
        folder.mkdir()
        (tmp_path / "elsewhere").touch()
        (folder / logs.FILE_NAME).symlink_to(tmp_path / "elsewhere")
    err, file = run("s = logs.set_up('info', folder); log.info('file: %s', s.path)", folder)

    assert err[0].endswith("file: None")
    assert file == []


def test_bodies_need_the_users_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ``BOTFRAMEWORK_DEBUG=llm`` lets request bodies into the log."""
    for value, expected in (("llm", True), ("1", False), ("", False)):
        monkeypatch.setenv("BOTFRAMEWORK_DEBUG", value)

        assert logs.bodies_allowed() is expected
