"""`botframework hardware` and `botframework where`: facts about this machine."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Shell


def test_hardware_for_a_program(shell: Shell) -> None:
    """The same document as in the answer of the LSP, with figures that can be true."""
    found = json.loads(shell.run("hardware", "--json").stdout)

    assert found["cpu"]
    assert 1 <= found["physicalCores"] <= found["logicalCores"] <= (os.cpu_count() or 1)
    assert 0 < found["ramAvailable"] <= found["ramTotal"]
    assert isinstance(found["instructionSets"], list)
    assert isinstance(found["gpus"], list)
    assert found["battery"] is None or 0 <= found["battery"]["percent"] <= 100


def test_hardware_for_people(shell: Shell) -> None:
    """Processor, cores, memory, GPUs, each on a line."""
    told = shell.run("hardware").stdout

    assert [line.split("  ")[0] for line in told.splitlines()][:3] == ["processor", "cores", "instruction sets"]
    assert "GiB available" in told
    assert "GPU" in told


def test_where(shell: Shell, home: Path) -> None:
    """Every folder in use, and whether it is there."""
    places = {place["name"]: place for place in json.loads(shell.run("where", "--json").stdout)["places"]}

    assert places["runtime"]["path"] == str(home)
    assert places["models"]["path"].startswith(str(shell.folder))
    assert places["models"]["exists"] is False
    assert places["embedded model"]["exists"] is True


def test_where_follows_the_settings(shell: Shell) -> None:
    """A folder of models that was chosen is told."""
    told = shell.run("where", "--set", f"models.folder={shell.folder}")

    assert any(line.startswith("models ") and str(shell.folder) in line for line in told.stdout.splitlines())
