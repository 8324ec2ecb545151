"""`botframework hardware` and `botframework where`: facts about this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from support.lsp_client import DAEMON, running_daemon
from support.real_daemon import PATIENCE_S

if TYPE_CHECKING:
    from support.real_daemon import Models
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
    assert places["token"]["path"].endswith("huggingface/token")
    assert places["Ollama"]["path"].endswith("/models")


async def test_where_tells_every_file(shell: Shell, home: Path, models: Models) -> None:
    """Nothing that a daemon, a worker, a pull or a command writes lies anywhere else."""
    found = {place["name"]: Path(place["path"]) for place in json.loads(shell.run("where", "--json").stdout)["places"]}
    command = (*DAEMON, "--model", str(models.alphabet))
    async with running_daemon(command, env=shell.env, cwd=shell.folder) as client:
        await client.initialize(rootUri=shell.folder.as_uri())
        await client.notification("$/botframework/modelReady", timeout_s=PATIENCE_S)
        await client.open("file:///a.py", "x = " * 100)
        await client.result(await client.inline("file:///a.py", 0, 4))
        assert await client.leave() == 0
    assert shell.run("models", "pull", str(models.alphabet)).returncode == 0
    assert shell.run("models", "recommend").returncode == 0
    # Older logs, and the lock under which they are renamed, lie beside the log.
    told = [*found.values(), found["log"].parent]
    written = [path for base in (shell.folder, home) for path in base.rglob("*") if path.is_file()]

    assert found["log"] in written
    assert any(path.is_relative_to(found["models"]) for path in written)
    assert [path for path in written if not any(path.is_relative_to(place) for place in told)] == []


def test_where_follows_the_settings(shell: Shell) -> None:
    """A folder of models that was chosen is told."""
    told = shell.run("where", "--set", f"models.folder={shell.folder}")

    assert any(line.startswith("models ") and str(shell.folder) in line for line in told.stdout.splitlines())
