"""The build of the binary: what goes in, what is refused, what happens to the results."""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).resolve().parents[2] / "packaging" / "binary"
LIB = "llama_cpp/lib"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the build, as its scripts do, and forgets it afterwards."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    before = set(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if str(FOLDER.parent) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_one_of_each_library_of_llama_cpp_goes_in(script: Any) -> None:
    """By the name that the others ask for; what is opened by name, as ``.so``; no link, and nothing of images."""
    names = [
        *("libllama.so", "libllama.so.0", "libllama.so.0.5.0"),
        *("libggml-base.so", "libggml-base.so.0", "libggml-base.so.0.25.3"),
        *("libggml-cpu-haswell.so", "libggml-cpu-x64.so", "libmtmd.so"),
    ]
    entries = [(f"{LIB}/{name}", name, "BINARY") for name in names]
    entries += [("libggml-base.so.0", f"{LIB}/libggml-base.so.0", "SYMLINK"), ("numpy/a.so", "a.so", "EXTENSION")]
    # libmtmd stays out and has no say.
    asks = defaultdict(list, {"libllama.so": ["libggml-base.so.0", "libc.so.6"], "libmtmd.so": ["libllama.so.0"]})

    kept = {name for name, _, _ in script("contents").wanted(entries, asks.__getitem__)}

    expected = {"libllama.so", "libggml-base.so.0", "libggml-cpu-haswell.so", "libggml-cpu-x64.so"}
    assert kept == {f"{LIB}/{name}" for name in expected} | {"numpy/a.so"}


def test_the_model_and_the_schemas_go_in(script: Any) -> None:
    """With the catalog, and the source file that the demo completes; no source of ours besides."""
    files = {(Path(source).name, folder) for source, folder in script("contents").data_files()}

    assert {
        ("model.gguf", "botframework/embedded"),
        ("catalog.json", "botframework/models"),
        ("errors.py", "botframework"),
        ("lsp.json", "schemas"),
        ("PROTOCOL.md", "schemas"),
    } <= files
    assert {name for name, _ in files if name.endswith(".py")} == {"errors.py"}


def test_a_variant_that_cannot_be_built_here_says_what_is_missing(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The system, or the programs; before anything is downloaded or compiled."""
    variants = script("variants").VARIANTS
    monkeypatch.setenv("PATH", str(tmp_path))

    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert "nvcc" in variants["cuda"].obstacle()
    assert "glslc" in variants["vulkan"].obstacle()
    assert "Darwin" in variants["metal"].obstacle()
    assert variants["cpu"].obstacle() == ""
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert variants["metal"].obstacle() == ""


def test_what_is_given_away_runs_on_other_processors(script: Any) -> None:
    """Every variant but the one for trying out leaves this machine's processor out of it."""
    for name, variant in script("variants").VARIANTS.items():
        definitions = " ".join(variant.options())

        assert ("GGML_NATIVE=OFF" in definitions) == (name != "native"), name
        assert ("GGML_CPU_ALL_VARIANTS=ON" in definitions) == (name != "native"), name


def test_results_replace_the_old_ones(script: Any, tmp_path: Path) -> None:
    """Whole: no file of the old folder is left in the new one. What somebody else put beside them stays."""
    made, dist = tmp_path / "made", tmp_path / "dist"
    (made / "botframework").mkdir(parents=True)
    (made / "botframework" / "new").touch()
    (dist / "botframework").mkdir(parents=True)
    (dist / "botframework" / "old").touch()
    (dist / "other").touch()

    script("build").publish(made, dist)

    assert sorted(path.relative_to(dist).as_posix() for path in dist.rglob("*")) == [
        "botframework",
        "botframework/new",
        "other",
    ]


def test_the_oldest_c_library_is_told(script: Any, tmp_path: Path) -> None:
    """The highest version that any library asks for; numbers are compared as numbers, and texts are no libraries."""
    (tmp_path / "one.so").write_bytes(b"\x7fELF\0GLIBC_2.9\0GLIBC_2.17\0")
    (tmp_path / "two.so").write_bytes(b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.4\0")
    (tmp_path / "notes.txt").write_bytes(b"\0GLIBC_2.99\0")

    assert script("build").oldest_glibc(tmp_path) == "2.17"


def test_another_source_is_another_fingerprint(script: Any, tmp_path: Path) -> None:
    """One changed byte of a module shows; caches of the interpreter do not."""
    for folder in ("daemon", "packaging/binary", "schemas"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "uv.lock").touch()
    module = tmp_path / "daemon" / "module.py"
    module.write_text("a = 1")
    fingerprint = script("sources").fingerprint
    before = fingerprint(tmp_path)

    (tmp_path / "daemon" / "__pycache__").mkdir()
    (tmp_path / "daemon" / "__pycache__" / "module.pyc").touch()
    assert fingerprint(tmp_path) == before
    module.write_text("a = 2")
    assert fingerprint(tmp_path) != before
