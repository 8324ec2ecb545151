"""How the program starts itself again: from source, frozen in one folder, frozen in one file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from botframework import process
from botframework.process import ending, program

FOLDER = "/tmp/_MEI0000002aXyZ123"
"""Unpacked by process 42."""


@pytest.fixture
def one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seem to be a program of one file."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", FOLDER, raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/botframework")


@pytest.fixture
def one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seem to be a program of one folder."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", "/opt/bf/_internal", raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/bf/botframework")


def test_from_source_the_interpreter_runs_the_package(tmp_path: Path) -> None:
    """The command works anywhere, and a file of the working folder that is named like a module of ours is not run."""
    (tmp_path / "botframework.py").write_text("raise SystemExit('hostile')", encoding="utf-8")
    command = process.own_command("--version")

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout.startswith("botframework "), done.stderr
    assert program.form() == "source"
    assert program.unpacked_folder() is None
    assert program.bootloader() is None


@pytest.mark.usefixtures("one_file")
def test_one_file_runs_itself() -> None:
    """The executable is the program; its folder is where PyInstaller says, and its name tells who made it."""
    assert process.own_command("worker", "--fd", "3") == ("/opt/botframework", "worker", "--fd", "3")
    assert program.form() == "file"
    assert program.unpacked_folder() == Path(FOLDER)
    assert program.bootloader() == 42


@pytest.mark.usefixtures("one_folder")
def test_one_folder_has_no_bootloader() -> None:
    """The executable is the program, and nothing was unpacked for it."""
    assert process.own_command("demo") == ("/opt/bf/botframework", "demo")
    assert program.form() == "folder"
    assert program.unpacked_folder() is None
    assert program.bootloader() is None


@pytest.mark.parametrize("name", ["", "_MEI", "_MEI123", "_MEIabcdefgh123456", "MEI0000002aXyZ123", "tmp_MEI0000002a"])
def test_other_folders_were_made_by_nobody(name: str) -> None:
    """Only PyInstaller's own form counts, since such folders may be removed."""
    assert program.bootloader_of(Path("/tmp", name)) is None


# --- environments -----------------------------------------------------------------------------------------------------

FROZEN = {
    "_PYI_ARCHIVE_FILE": "/opt/botframework",
    "_PYI_APPLICATION_HOME_DIR": FOLDER,
    "_PYI_PARENT_PROCESS_LEVEL": "1",
    "LD_LIBRARY_PATH": f"{FOLDER}:/opt/cuda/lib",
    "LD_LIBRARY_PATH_ORIG": "/somebody/else",
    "PATH": "/usr/bin",
    "HF_TOKEN": "secret",
}


@pytest.mark.usefixtures("one_file")
def test_a_worker_knows_nothing_of_our_folder() -> None:
    """It may outlive us: PyInstaller is told to begin anew, and the user's own library path is what is left of it."""
    assert process.worker_environment(FROZEN) == {
        "PYINSTALLER_RESET_ENVIRONMENT": "1",
        "LD_LIBRARY_PATH": "/opt/cuda/lib",
        "PATH": "/usr/bin",
        "GGML_NO_BACKTRACE": "1",
    }


@pytest.mark.usefixtures("one_file")
def test_a_library_path_that_was_only_ours_is_gone() -> None:
    """An empty one would mean the working folder."""
    assert "LD_LIBRARY_PATH" not in process.worker_environment({"LD_LIBRARY_PATH": FOLDER})
    assert "LD_LIBRARY_PATH" not in process.worker_environment({"LD_LIBRARY_PATH": f"{FOLDER}:"})


@pytest.mark.usefixtures("one_file")
def test_a_probe_uses_our_folder() -> None:
    """It ends with us, and unpacking takes longer than its question."""
    kept = process.probe_environment(FROZEN)

    assert {name: value for name, value in kept.items() if name in FROZEN} == {
        name: value for name, value in FROZEN.items() if name not in {"HF_TOKEN", "LD_LIBRARY_PATH_ORIG"}
    }
    assert "PYINSTALLER_RESET_ENVIRONMENT" not in kept


def test_from_source_the_environment_is_as_it_is() -> None:
    """What a frozen program that started us has left in the environment is not taken for ours."""
    expected = {"LD_LIBRARY_PATH": FROZEN["LD_LIBRARY_PATH"], "PATH": "/usr/bin", "GGML_NO_BACKTRACE": "1"}

    assert process.worker_environment(FROZEN) == expected
    assert process.probe_environment(FROZEN) == expected


# --- the bootloader ---------------------------------------------------------------------------------------------------


class Watch(process.ParentWatch):
    """Notes who is watched, instead of watching."""

    def __init__(self, *dead: int) -> None:
        self.reasons: list[str] = []
        self.added: list[int] = []
        self._dead = dead
        super().__init__(self.reasons.append)

    def add(self, pid: int) -> bool:
        """Note it; False for those that are said to be dead."""
        self.added.append(pid)
        return pid not in self._dead

    def _arm_signal(self) -> None:
        pass


@pytest.mark.usefixtures("one_file")
def test_the_editor_behind_the_bootloader_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon of one file is the child of its bootloader; who started that one is the editor."""
    monkeypatch.setattr(program, "bootloader", os.getppid)
    watch = Watch()

    watch.start()

    assert watch.added == [os.getppid(), os.getppid(), process.identity.parent_of(os.getppid())]
    assert watch.reasons == []


@pytest.mark.usefixtures("one_file")
def test_a_worker_watches_its_bootloader_alone() -> None:
    """Whoever started the worker may end; its bootloader may not."""
    watch = Watch()
    watch.start_with_bootloader()
    assert (watch.added, watch.reasons) == ([42], [])

    watch = Watch(42)
    watch.start_with_bootloader()
    assert watch.reasons == ["the bootloader ended during our start"]


def test_nobody_is_watched_where_there_is_no_bootloader() -> None:
    """A worker from source lives on its connections alone."""
    watch = Watch()

    watch.start_with_bootloader()

    assert watch.added == []


def test_parents_and_children_are_known() -> None:
    """Who a process's parent is, and who its children are; of a process that is gone nothing is told."""
    command = ["sh", "-c", "cat & echo $!; cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert process.identity.parent_of(parent.pid) == os.getpid()
        assert process.identity.parent_of(child) == parent.pid
        assert child in process.children_of(parent.pid)

    assert process.identity.parent_of(parent.pid) is None
    assert process.children_of(parent.pid) == []


# --- signals that come twice ------------------------------------------------------------------------------------------


def test_one_key_is_one_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bootloader passes on is the key that we have heard ourselves; the next key is another one."""
    now = 100.0
    monkeypatch.setattr("botframework.process.ending.time.monotonic", lambda: now)
    monkeypatch.setattr(program, "bootloader", lambda: 42)
    monkeypatch.setattr(ending, "_heard", {})
    heard: list[str] = []
    handle = process.without_echo(lambda number, _: heard.append(f"first {number:d}"))
    exchanged = process.without_echo(lambda number, _: heard.append(f"second {number:d}"))

    handle(signal.SIGINT, None)
    now += ending.ECHO_S / 2
    exchanged(signal.SIGINT, None)  # what the first key led to took less time than its echo
    exchanged(signal.SIGTERM, None)
    assert heard == [f"first {signal.SIGINT:d}", f"second {signal.SIGTERM:d}"]

    now += ending.ECHO_S * 1.5
    exchanged(signal.SIGINT, None)
    assert heard[2:] == [f"second {signal.SIGINT:d}"]


def test_without_a_bootloader_every_signal_counts() -> None:
    """From source and in one folder two signals are two."""
    heard: list[int] = []
    handle = process.without_echo(lambda number, _: heard.append(number))

    handle(signal.SIGINT, None)
    handle(signal.SIGINT, None)

    assert heard == [signal.SIGINT, signal.SIGINT]
