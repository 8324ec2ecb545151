"""The licences of what is packed: every file has an owner, every owner a text, and nobody is passed over in silence."""

from __future__ import annotations

import json
import re
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from support.binary_scripts import FOLDER, script
from support.source_tree import PACKAGE, ROOT

if TYPE_CHECKING:
    from types import ModuleType

SITE = Path(sysconfig.get_path("purelib"))
STDLIB = Path(sysconfig.get_path("stdlib"))


@pytest.fixture
def components(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, in an environment that has PyInstaller, which `make binary` makes and this one is not."""
    module = script("components")
    bootloader = module.Owner("pyinstaller", "6", "bootloader", "GPL", "", (ROOT / "LICENSE",))
    monkeypatch.setattr(module, "_bootloader", lambda: bootloader)
    return module


@pytest.fixture
def licences(components: ModuleType) -> ModuleType:
    """The script beside it."""
    del components
    return script("licences")


def owners(components: ModuleType, *sources: Path) -> dict[str, tuple[str, ...]]:
    """Who owns what."""
    entries = [(source.name, str(source), "DATA") for source in sources]
    return {each.owner.name: each.files for each in components.components(entries)}


def test_whose_a_file_is(components: ModuleType) -> None:
    """Ours, a library's, CPython's; llama.cpp's is not its binding's, and the model is told apart from the code."""
    found = owners(
        components,
        PACKAGE / "errors.py",
        PACKAGE / "embedded" / "model.gguf",
        Path(np.__file__),
        SITE / "llama_cpp" / "llama.py",
        SITE / "llama_cpp" / "lib" / "libggml-base.so",
        STDLIB / "json" / "decoder.py",
        Path("/somewhere/build/base_library.zip"),
    )

    assert found == {
        "botframework": ("errors.py",),
        "botframework-embedded-model": ("model.gguf",),
        "CPython": ("base_library.zip", "decoder.py"),
        "llama.cpp": ("libggml-base.so",),
        "llama_cpp_python": ("llama.py",),
        "numpy": ("__init__.py",),
        "pyinstaller": ("bootloader",),
    }


@pytest.fixture
def libc(components: ModuleType) -> Path:
    """A library that every process has, which belongs to a Debian package."""
    if sys.platform != "linux":
        pytest.skip("asks dpkg")
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    (library,) = {Path(line.split()[-1]) for line in lines if "/libc.so" in line}
    if components._debian_package(library) is None:
        pytest.skip("this is no Debian")
    return library


def test_a_library_of_the_system(components: ModuleType, libc: Path) -> None:
    """The Debian package of a file is found, whichever of /lib and /usr/lib names it, with its copyright file."""
    usual = str(libc).removeprefix("/usr")
    found = components._system_package(libc)

    assert found == components._system_package(Path(usual)) == components._system_package(Path("/usr" + usual))
    assert re.fullmatch(r"pkg:deb/debian/libc6@\S+\?arch=\w+", found.purl)
    assert "GPL" in found.texts[0].read_text(encoding="utf-8")


def test_terms_that_nobody_has_read_end_the_build(components: ModuleType, libc: Path) -> None:
    """A library of the system may be under the GPL, as GNU readline is: none goes in unseen."""
    with pytest.raises(components.OwnerUnknownError, match=r"nobody has read the terms of libc6 \(libc\.so\.6\)"):
        owners(components, libc)


def test_a_file_of_nobody_ends_the_build(components: ModuleType, tmp_path: Path) -> None:
    """It is named, with the place that it came from."""
    stray = tmp_path / "libstray.so.3"
    stray.write_bytes(b"\x7fELF")

    with pytest.raises(components.OwnerUnknownError, match=r"whose are these[\s\S]*libstray\.so\.3 \(/"):
        owners(components, PACKAGE / "errors.py", stray)


def test_an_owner_without_a_text_ends_the_build(components: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when llama-cpp-python is raised and nobody has looked at the licences of the new source."""
    monkeypatch.setattr(components, "TEXTS", Path("/no/such"))
    components._llama_cpp.cache_clear()
    try:
        with pytest.raises(components.OwnerUnknownError, match=r"no text of a licence is found for llama\.cpp"):
            owners(components, SITE / "llama_cpp" / "lib" / "libggml-base.so")
    finally:
        components._llama_cpp.cache_clear()


def test_what_has_no_file(components: ModuleType) -> None:
    """Links, options and namespace packages are nobody's work."""
    entries = [("lib.so", "lib.so.1", "SYMLINK"), ("v", "", "OPTION"), ("names", "-", "PYMODULE")]

    assert [each.owner.name for each in components.components(entries)] == ["pyinstaller"]


def test_the_text_of_every_library(components: ModuleType) -> None:
    """Each dependency that is packed has a licence file, or its text at the head of a module."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[<>=!~ ]", line)[0] for line in project["dependencies"]]

    assert [name for name in names if not components._named(name).texts] == []
    assert [name for name in names if not components._named(name).licence] == []


def test_the_texts_of_the_pinned_llama_cpp() -> None:
    """Its licences are those of the version that is pinned: whoever raises it looks again."""
    version = metadata.version("llama-cpp-python")
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]

    assert f"llama-cpp-python=={version}" in lines
    assert "The ggml authors" in (FOLDER / "licences" / f"llama-cpp-python-{version}" / "llama.cpp.txt").read_text(
        "utf-8"
    )


def test_one_file_with_every_text(components: ModuleType, licences: ModuleType, tmp_path: Path) -> None:
    """Ours first, a table of all, each text once under its name, and the common ones that Debian only names."""
    entries = [
        ("errors", str(PACKAGE / "errors.py"), "PYMODULE"),
        ("pynvml", str(SITE / "pynvml.py"), "PYMODULE"),
        ("certifi/cacert.pem", str(SITE / "certifi" / "cacert.pem"), "DATA"),
    ]
    packed = licences.gather(entries, tmp_path)
    text = (tmp_path / "LICENSES.txt").read_text(encoding="utf-8")
    told = json.loads((tmp_path / "components.json").read_text(encoding="utf-8"))

    assert packed == [("LICENSES.txt", str(tmp_path / "LICENSES.txt"), "DATA")]
    assert [each["name"] for each in told] == ["botframework", "certifi", "nvidia-ml-py", "pyinstaller"]
    assert text.index("Apache License") < text.index("Mozilla Public License") < text.index("NVIDIA Corporation")
    # Of a module only the comment at its head.
    assert "import" not in text.partition("NVIDIA Corporation")[2].partition("=====")[0]
    assert licences.gather(entries, tmp_path) == packed
    assert (tmp_path / "LICENSES.txt").read_text(encoding="utf-8") == text
    del components


def test_common_licences(components: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A text that a copyright file only names is found; one that is not there is not."""
    (tmp_path / "GPL-3").write_text("the text", encoding="utf-8")
    monkeypatch.setattr(components, "COMMON_LICENCES", tmp_path)
    text = f"see {tmp_path}/GPL-3. Also {tmp_path}/GPL-3, and {tmp_path}/LGPL-9."

    assert list(components.common_licences(text)) == [tmp_path / "GPL-3"]
