"""`botframework version`, `--version` and `botframework licences`: what this program is, and of whom it is made."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING

import pytest

from botframework import __version__
from botframework.cli import licences, version

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Shell


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_comes_first(shell: Shell, words: list[str]) -> None:
    """On a line of its own, for scripts."""
    told = shell.run(*words)

    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[0] == f"botframework {__version__}"


def test_which_llama_cpp(shell: Shell) -> None:
    """Its version, its commit, the binding's version, and what it uses on this machine."""
    found = json.loads(shell.run("version", "--json").stdout)

    assert found["version"] == __version__
    assert (found["form"], found["variant"], found["commit"]) == ("source", "", "")
    assert found["engine"].startswith("llama.cpp ")
    assert "llama-cpp-python" in found["engine"]
    assert "ggml" in found["engine"]
    assert "CPU" in found["features"]
    assert found["devices"]
    assert found["problem"] == ""
    assert found["python"] == platform.python_version()


def test_llama_cpp_that_does_not_run(shell: Shell, tmp_path: Path) -> None:
    """The version is told all the same, and why there is no more."""
    told = shell.run("--version", LLAMA_CPP_LIB_PATH=str(tmp_path))

    assert told.returncode == 0
    assert told.stdout.splitlines()[0] == f"botframework {__version__}"
    assert "does not run here" in told.stdout
    assert "botframework doctor" in told.stdout


def test_what_the_build_says(tmp_path: Path) -> None:
    """A packed program tells its variant and commit; a file that is none is as good as no file."""
    file = tmp_path / "build.json"

    assert version.read_build(file) == version.BuildInfo()
    file.write_text('{"variant": "cuda", "commit": "0123abc-dirty"}', encoding="utf-8")
    assert version.read_build(file) == version.BuildInfo(variant="cuda", commit="0123abc-dirty")
    file.write_text("nonsense", encoding="utf-8")
    assert version.read_build(file) == version.BuildInfo()


def test_the_processors_that_it_is_built_for() -> None:
    """They are known by their libraries; the one library of a build for one processor names none."""
    assert version.processors(["libggml-cpu.so", "libggml-cpu.so.0", "libllama.so"]) == ()
    assert version.processors(["libggml-cpu-x64.so", "libggml-cpu-haswell.so", "libggml-base.so"]) == ("haswell", "x64")
    assert version.processors(["ggml-cpu-haswell.dll", "libggml-cpu-apple_m1.dylib"]) == ("apple_m1", "haswell")


def test_features_in_words() -> None:
    """What is used, without llama.cpp's signs."""
    assert version.used("CPU : SSE3 = 1 | AVX512 = 0 | LLAMAFILE = 1 | REPACK = 1 | ") == "CPU: SSE3, LLAMAFILE, REPACK"
    assert version.used("CUDA : ARCHS = 890 | CPU : AVX = 1 |") == "CUDA: ARCHS = 890, CPU: AVX"
    assert version.used("") == ""


def test_licences_of_a_source_tree(shell: Shell) -> None:
    """Nothing is packed, so nothing is to be printed but ours, and where the others are."""
    told = shell.run("licences")

    assert (told.returncode, told.stderr) == (0, "")
    assert "Apache License 2.0" in told.stdout


def test_licences_of_a_packed_program(tmp_path: Path) -> None:
    """They are read from the file that the build has put beside the package."""
    (tmp_path / "LICENSES.txt").write_text("the terms\n", encoding="utf-8")

    assert licences.read(tmp_path / "LICENSES.txt") == "the terms\n"
    assert licences.read(tmp_path / "none") == licences.OF_SOURCE
