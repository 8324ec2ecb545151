"""What is recommended, from the real machine, the real catalog and the files that are there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from botframework.config import Models, Settings
from botframework.errors import ConfigError
from botframework.manager import advice
from botframework.manager.advice import GpuSummary, advise, summary
from botframework.models.catalog import user_catalog_file
from botframework.models.hardware import Battery, Gpu, Hardware
from support.gguf_factory import tiny_llama

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
OWN = {
    "id": "small-coder",
    "name": "Small Coder",
    "roles": ["fim"],
    "parameters": 23_000_000,
    "repository": "maker/small-coder-GGUF",
    "quantizations": ["Q8_0"],
}


@pytest.fixture(autouse=True)
def catalog(monkeypatch: pytest.MonkeyPatch, runtime_dir: Path, tmp_path: Path) -> Path:
    """A home of the test's own; the file of the user's catalog, which is not there yet."""
    assert runtime_dir.is_dir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = user_catalog_file()
    assert file.is_relative_to(tmp_path)
    file.parent.mkdir(parents=True)
    return file


def test_advice_is_for_this_machine_and_names_what_is_there(catalog: Path, tmp_path: Path) -> None:
    """From processor to file: this machine's cores, the roles that were asked for, and the file that is there."""
    catalog.write_text(json.dumps({"models": [OWN]}))
    folder = tmp_path / "models"
    folder.mkdir()
    there = tiny_llama(folder / "small-coder-q8_0.gguf")
    found = asyncio.run(advise(Settings(models=Models(folder=str(folder))), ("fim",)))

    assert found.hardware.logical_cores > 0
    assert found.hardware.ram_total > 0
    assert {each.role for each in found.recommendations} == {"fim"}
    by_id = {each.model_id: each for each in found.recommendations}
    assert by_id["small-coder"].installed_path == str(there)
    assert by_id["small-coder"].reference == "hf:maker/small-coder-GGUF:Q8_0"
    assert [each for each in found.recommendations if each.installed_path is not None] == [by_id["small-coder"]]
    assert msgspec.json.decode(msgspec.json.encode(found), type=advice.Advice) == found


def test_a_catalog_that_cannot_be_read_is_said(catalog: Path, tmp_path: Path) -> None:
    """The user wrote it, so the error names the file and what is wrong in it."""
    catalog.write_text('{"models": [{"id": "x"}]}')

    with pytest.raises(ConfigError, match=rf"{catalog}.*name"):
        asyncio.run(advise(Settings(models=Models(folder=str(tmp_path)))))


def test_a_machine_in_json() -> None:
    """Every figure of the probe that a client shows, and null for what nobody knows."""
    card = Gpu(0, "nvidia", "NVIDIA L4", 24 * GIB, 4 * GIB, "550.1", bandwidth_gb_s=300.0)
    chip = Gpu(1, "intel", "Arc", None, None, is_integrated=True, source="llama.cpp", is_usable=False)
    machine = Hardware(
        cpu="cpu",
        physical_cores=4,
        logical_cores=8,
        ram_total=16 * GIB,
        ram_available=8 * GIB,
        gpus=(card, chip),
        instruction_sets=("AVX2",),
        battery=Battery(41, plugged=False),
    )
    found = summary(machine)

    assert found.gpus[0] == GpuSummary(
        name="NVIDIA L4",
        vendor="nvidia",
        driver="550.1",
        vram_total=24 * GIB,
        vram_free=20 * GIB,
        bandwidth_gb_s=300.0,
        is_integrated=False,
        is_usable=True,
    )
    assert (found.gpus[1].vram_free, found.gpus[1].is_integrated, found.gpus[1].is_usable) == (None, True, False)
    assert msgspec.to_builtins(found)["battery"] == {"percent": 41, "plugged": False}
    assert msgspec.to_builtins(found)["memoryBandwidthGbS"] is None
