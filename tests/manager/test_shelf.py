"""The list of model files: found by their names, described by their headers, each file once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from botframework import config
from botframework.config import Engine, Models, Settings
from botframework.manager import shelf
from botframework.manager.load import EMBEDDED_MODEL
from botframework.manager.shelf import Shelf, look
from botframework.models import gguf
from botframework.models.fit import RAM_SHARE, demand, plan_contexts
from botframework.models.hardware import Gpu, Hardware
from botframework.models.shape import shape_of
from support.gguf_factory import ValueType, tiny_llama, tiny_llama_file

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


@pytest.fixture(autouse=True)
def no_other_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without the models of Ollama and others that whoever runs the tests may have."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)


def listed(settings: Settings, loaded: str = "") -> dict[str, Any]:
    """The entries by their paths, in their order."""
    return {entry.path: entry for entry in Shelf(settings).list([loaded] if loaded else []).models}


def machine(ram: int, *vram: int) -> Hardware:
    """A machine with so much memory and such GPUs."""
    gpus = tuple(Gpu(number, "nvidia", "gpu", total, 0, "1") for number, total in enumerate(vram))
    return Hardware(cpu="cpu", physical_cores=4, logical_cores=8, ram_total=ram, ram_available=ram, gpus=gpus)


def fits(here: Hardware, path: Path, settings: Settings | None = None) -> bool | None:
    """Whether the list of somebody on that machine says so of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botframework.manager.machine.present", lambda: here)
        return Shelf(settings or Settings()).describe(path).fits


def test_the_embedded_model_is_always_there(tmp_path: Path) -> None:
    """With what its header says; it is what is loaded when nothing is configured."""
    (entry,) = listed(Settings(models=Models(folder=str(tmp_path / "none")))).values()

    assert (entry.name, entry.path) == ("botframework-embedded", str(EMBEDDED_MODEL))
    assert (entry.architecture, entry.quantization, entry.n_ctx_train) == ("llama", "Q8_0", 2_048)
    assert (entry.can_infill, entry.has_chat_template, entry.fits, entry.problem) == (True, True, True, None)
    assert (entry.embedded, entry.configured, entry.loaded) == (True, True, False)
    assert entry.size_bytes == EMBEDDED_MODEL.stat().st_size
    assert 3_000_000 < entry.parameters < 5_000_000


def test_every_file_is_listed_once(tmp_path: Path) -> None:
    """The embedded, the configured and the loaded one come first, then the folder's; links make no second entry."""
    folder = tmp_path / "models"
    folder.mkdir()
    b, a, elsewhere = (tiny_llama(path) for path in (folder / "b.gguf", folder / "a.gguf", tmp_path / "c.gguf"))
    (folder / "link.gguf").symlink_to(elsewhere)
    found = listed(Settings(model=str(b), models=Models(folder=str(folder))), str(elsewhere))

    assert list(found) == [str(path) for path in (EMBEDDED_MODEL, b, elsewhere, a)]
    assert [entry.configured for entry in found.values()] == [False, True, False, False]
    assert [entry.loaded for entry in found.values()] == [False, False, True, False]


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    """It is listed with the reason why it cannot be loaded."""
    (tmp_path / "page.gguf").write_text("<html>")
    entry = listed(Settings(models=Models(folder=str(tmp_path))))[str(tmp_path / "page.gguf")]

    assert (entry.name, entry.size_bytes, entry.architecture) == ("page.gguf", 6, "")
    assert (entry.quantization, entry.parameters, entry.can_infill, entry.fits) == (None, None, None, None)
    assert entry.problem.kind == "ModelRefused"
    assert "web page" in entry.problem.message


def test_a_configured_file_that_is_missing(tmp_path: Path) -> None:
    """It is what would be loaded, and the list says why it is not; a setting that is no path is not listed."""
    missing = tmp_path / "missing.gguf"
    entry = listed(Settings(model=str(missing)))[str(missing)]
    relative = listed(Settings(model="here.gguf", models=Models(folder=str(tmp_path))))

    assert (entry.configured, entry.problem.kind) == (True, "ModelNotFound")
    assert [(one.embedded, one.configured) for one in relative.values()] == [(True, False)]


def test_what_is_looked_for(tmp_path: Path) -> None:
    """GGUF files some folders deep, of a split model the first part; no projectors, no folders, nothing too deep."""
    wanted = ["A.GGUF", "m-00001-of-00002.gguf", "x/y/z/deep.gguf"]
    for name in [*wanted, "m-00002-of-00002.gguf", "mmproj-m.gguf", "notes.txt", "x/y/z/w/deeper.gguf", "d.gguf/no"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "x" / "loop").symlink_to(tmp_path)
    found = look(tmp_path)

    assert set(found.paths) >= {tmp_path / name for name in wanted}
    assert {path.name for path in found.paths} == {name.rpartition("/")[2] for name in wanted}
    assert not found.has_more


def test_a_folder_of_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list ends, and says that there is more; a folder that holds something else is given up."""
    for number in range(5):
        (tmp_path / f"{number}.gguf").touch()
    monkeypatch.setattr(shelf, "MAX_MODELS", 3)
    assert len(look(tmp_path).paths) == 3
    assert look(tmp_path).has_more
    monkeypatch.setattr(shelf, "MAX_SCANNED", 2)
    assert len(look(tmp_path).paths) == 2
    assert look(tmp_path).has_more


def test_a_header_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the file stays the same; a changed file is read again."""
    path = tiny_llama(tmp_path / "a.gguf")
    made = Shelf(Settings(models=Models(folder=str(tmp_path))))
    made.list(())
    reads: list[Path] = []
    real = gguf.read_header

    def read_header(path: Path) -> gguf.GgufHeader:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(gguf, "read_header", read_header)
    made.list(())
    assert reads == []

    path.write_bytes(path.read_bytes() + b"\0")
    made.list(())
    assert reads == [path]


def test_what_fits_follows_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at once for a list, and not once for every file; files that are known already are judged anew."""
    for name in ("a", "b", "c"):
        tiny_llama(tmp_path / f"{name}.gguf")
    machines = [machine(16 * GIB), machine(1), machine(16 * GIB, 8 * GIB)]
    looks = iter(machines)
    monkeypatch.setattr("botframework.manager.machine.present", lambda: next(looks))
    made = Shelf(Settings(models=Models(folder=str(tmp_path))))

    told = [{entry.fits for entry in made.list(()).models} for _ in machines]
    assert told == [{True}, {False}, {True}]
    assert next(looks, None) is None


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unset: in the data folder; set: that one, with the home folder filled in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Shelf(Settings()).folder == config.data_dir() / "models"
    assert Shelf(Settings(models=Models(folder="~/m"))).folder == tmp_path / "m"


def test_what_fits(tmp_path: Path) -> None:
    """Into a GPU's memory or the machine's, with the contexts of the settings, judged by the whole of it."""
    path = tiny_llama(tmp_path / "a.gguf", n_layers=64, n_ctx_train=1 << 20)
    wide = Settings(engine=Engine(n_ctx_chat=1 << 20))
    needed = demand(shape_of(gguf.read_header(path)), plan_contexts(Engine())).total

    assert fits(machine(8 * GIB), path) is True
    assert fits(machine(needed), path) is False
    assert fits(machine(needed, 8 * GIB), path) is True
    assert fits(machine(2 * needed + 2), path) is True
    assert fits(machine(2 * needed + 2), path, wide) is True, "with a smaller context"
    assert 10 * GIB * RAM_SHARE == 8 * GIB


def test_what_fits_of_a_split_model(tmp_path: Path) -> None:
    """The weights of all its files count; without one of them it cannot be loaded, and the list says so."""
    split = {"split.count": (ValueType.UINT16, 2), "split.no": (ValueType.UINT16, 0)}
    first = tiny_llama(tmp_path / "m-00001-of-00002.gguf", metadata=split)
    second = tmp_path / "m-00002-of-00002.gguf"
    made = Shelf(Settings(models=Models(folder=str(tmp_path))))

    entry = made.describe(first)
    assert (entry.fits, entry.architecture) == (None, "llama")
    assert entry.problem is not None
    assert entry.problem.kind == "ModelNotFound"
    assert second.name in entry.problem.message

    second.touch()
    assert made.describe(first).problem is None, "what was known of the first file says nothing of the others"
    assert fits(machine(8 * GIB), first) is True
    os.truncate(second, 16 * GIB)
    assert fits(machine(8 * GIB), first) is False
    assert fits(machine(64 * GIB), first) is True
    assert fits(machine(64 * GIB), first.rename(tmp_path / "first.gguf")) is None


@pytest.mark.parametrize("marks", [(), ("<PRE>", "<SUF>"), ("<PRE>", "<SUF>", "<MID>")])
def test_whether_a_model_can_fill_in(tmp_path: Path, marks: tuple[str, ...]) -> None:
    """By the texts of its tokens, as llama.cpp finds them, when the file does not name them: all three are needed."""
    made = tiny_llama_file()
    made.metadata = [entry for entry in made.metadata if "fim" not in entry[0]]
    key = "tokenizer.ggml.tokens"
    tokens = list(next(value for name, _, value in made.metadata if name == key)[1])
    tokens = [f"<{number}>" if "fim" in token else token for number, token in enumerate(tokens)]
    tokens[-len(marks) or len(tokens) :] = marks
    made.put(key, ValueType.ARRAY, (ValueType.STRING, tokens))

    assert gguf.read_header(made.write(tmp_path / "a.gguf")).can_infill is (len(marks) == 3)
