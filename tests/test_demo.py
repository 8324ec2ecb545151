"""The demo: the main job, played by a small editor on the real daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from botframework.demo.editor import DemoError, Editor, daemon_command
from botframework.demo.spot import OWN_FILE, OWN_SPOT, default_spot, parse_spot


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user types it."""
    command = [sys.executable, "-m", "botframework", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_the_default_place_is_a_line_being_written() -> None:
    """Nothing stands behind the cursor on its line, and the file itself is not changed."""
    spot = default_spot()

    assert spot.lines[spot.line] == OWN_SPOT
    assert spot.column == len(OWN_SPOT)
    assert spot.text != OWN_FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("target", "position"),
    [
        ("file.py:1:1", {"line": 0, "character": 0}),
        ("file.py:1:3", {"line": 0, "character": 3}),
        ("file.py:1", {"line": 0, "character": 4}),
        ("file.py:2:2", {"line": 1, "character": 1}),
        ("file.py:3", {"line": 2, "character": 0}),
    ],
)
def test_places_are_counted_as_people_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, position: dict[str, int]
) -> None:
    """Lines and columns of the command line start at 1 and count characters; the daemon gets UTF-16 units."""
    monkeypatch.chdir(tmp_path)
    Path("file.py").write_text("a𝄞b\nc\x0cd\n", encoding="utf-8")

    assert parse_spot(target).position == position


@pytest.mark.parametrize("target", ["file.py", "file.py:x", "file.py:0", "file.py:9", "file.py:1:10", "absent.py:1:1"])
def test_places_that_do_not_exist_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """With a sentence that names the mistake."""
    monkeypatch.chdir(tmp_path)
    Path("file.py").write_text("one line", encoding="utf-8")

    with pytest.raises(DemoError, match=r"file\.py|absent\.py"):
        parse_spot(target)


def test_whoever_waits_for_the_model_is_told_for_what(runtime_dir: Path, home: Path) -> None:
    """Each time with the title, which the protocol says only once."""
    del runtime_dir, home
    told: list[str] = []
    editor = Editor(daemon_command("--log-level=error"))
    try:
        editor.begin("a test")
        editor.wait_for_model(told.append)
    finally:
        editor.stop()

    assert told
    assert all(words.startswith("Loading model") for words in told)


def test_the_whole_demo(runtime_dir: Path, tmp_path: Path) -> None:
    """Ghost text, a keystroke, a streamed chat and the heartbeat, on the embedded model; then nothing is left."""
    picture = tmp_path / "demo.svg"
    answer = run_demo("--svg", str(picture))

    assert (answer.returncode, answer.stderr) == (0, "")
    for word in ("initialize", "inlineCompletion", "prompt tokens evaluated", "tokens/s", "workerPid", "left with 0"):
        assert word in " ".join(answer.stdout.split())
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    assert list(runtime_dir.glob("*.sock")) == []


def test_a_model_that_is_not_there(runtime_dir: Path) -> None:
    """The demo ends with 1 and the daemon's own words."""
    answer = run_demo("--model", "/nowhere/model.gguf")

    assert answer.returncode == 1
    assert "ModelNotFound" in answer.stderr
    assert "/nowhere/model.gguf" in answer.stderr


def test_a_picture_that_cannot_be_written(runtime_dir: Path, tmp_path: Path) -> None:
    """A folder that does not exist is told before the first scene, not after the last."""
    answer = run_demo("--svg", str(tmp_path / "nowhere" / "demo.svg"))

    assert answer.returncode == 2
    assert "nowhere" in answer.stderr
    assert answer.stdout == ""
