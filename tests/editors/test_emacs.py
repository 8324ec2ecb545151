"""The page's Emacs, in batch mode: both clients, as Debian packages them."""

from __future__ import annotations

import functools
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from editors.headless import GONE_S, PATIENCE_S, SOURCE, headless, write_document
from editors.page import block

if TYPE_CHECKING:
    from pathlib import Path

DRIVER = """
(require 'json)
(require 'python)
(setq native-comp-deferred-compilation nil)
(defun note (what value)
  (write-region (concat (json-encode (list what value)) "\\n") nil (getenv "JOURNAL") t 'silent))
(defun until (condition what)
  (let ((end (+ (float-time) 60)))
    (while (not (funcall condition))
      (when (> (float-time) end) (error "never: %s" what))
      (accept-process-output nil 0.02))))
(defun until-ready ()
  (until (lambda ()
           (note "status" botframework-status)
           (string-match-p "botframework-embedded ready" botframework-status))
         "ready"))
(defun ask ()
  (botframework-ask "how do I add two numbers?")
  (until (lambda () (get-buffer "*botframework answer*")) "an answer")
  (note "answer" (with-current-buffer "*botframework answer*" (buffer-string))))
"""
EGLOT = """
(find-file (getenv "DOCUMENT"))
(run-hooks 'post-command-hook)
(until-ready)
(goto-char (point-max))
(insert "a")
(delete-char -1)
(botframework-complete)
(note "suggested" (list (buffer-string) (= (point) (point-max))))
(ask)
"""
EGLOT_LEAVE = """
(set-buffer-modified-p nil)
(eglot-shutdown (eglot-current-server))
"""
LSP_MODE = """
(setq lsp-auto-guess-root t lsp-restart 'ignore lsp-enable-suggest-server-download nil)
(find-file (getenv "DOCUMENT"))
(lsp)
(until-ready)
(goto-char (point-max))
(let* ((context '(:context (:triggerKind 1)))
       (answer (lsp-request "textDocument/inlineCompletion" (append (lsp--text-document-position-params) context))))
  (note "suggested" (lsp-get (elt (lsp-get answer :items) 0) :insertText)))
(ask)
(let ((workspace (car (lsp-workspaces))))
  (lsp-workspace-shutdown workspace)
  (until (lambda () (not (process-live-p (lsp--workspace-cmd-proc workspace)))) "the server's end"))
"""
STAY = '(until #\'ignore "a signal")'


@functools.cache
def paths() -> tuple[str, ...] | None:
    """The folders of the packages that Debian installs for this Emacs; None if there is no Emacs."""
    if shutil.which("emacs") is None:
        return None
    told = subprocess.run(
        [
            "emacs",
            "-q",
            "--batch",
            "--eval",
            '(progn (package-initialize) (princ (mapconcat #\'identity load-path "\\n")))',
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return tuple(told.stdout.splitlines())


def require(package: str) -> None:
    """Skip where Emacs or the package is absent."""
    found = paths()
    if found is None:
        pytest.skip("emacs is not installed (apt-get install emacs-nox)")
    if not any(f"/{package}-" in path for path in found):
        pytest.skip(f"Emacs has no {package} (apt-get install elpa-{package})")


def command(home: Path, *script: str) -> list[str | Path]:
    """Emacs with a script that was put together from parts."""
    file = home / "script.el"
    file.write_text("\n".join(script))
    return ["emacs", "-q", "--batch", "--eval", "(package-initialize)", "-l", file]


async def test_eglot(home: Path) -> None:
    """The hook starts the server, the status arrives, the commands give a suggestion and an answer; a clean end."""
    require("eglot")
    document = write_document(home)
    script = command(home, DRIVER, block("eglot"), EGLOT, EGLOT_LEAVE)

    async with headless(script, home, DOCUMENT=str(document)) as editor:
        code = await editor.end()

    assert code == 0, editor.output()
    ((text, is_at_end),) = editor.seen("suggested")
    assert text.startswith(SOURCE)
    assert text[len(SOURCE) :].strip()
    assert is_at_end
    assert editor.seen("answer")[0].strip()
    assert editor.seen("status")[-1] == " botframework-embedded ready"
    assert "Connected! Server `botframework'" in editor.output()


async def test_eglot_is_killed(home: Path) -> None:
    """The daemon and its worker go with an Emacs that had no time to say goodbye."""
    require("eglot")
    document = write_document(home)

    async with headless(command(home, DRIVER, block("eglot"), EGLOT, STAY), home, DOCUMENT=str(document)) as editor:
        await editor.note("suggested")
        took = await editor.gone_after_kill()

    assert took <= GONE_S


async def test_lsp_mode(home: Path) -> None:
    """The client starts, gets heartbeats, a suggestion and an answer, and ends in order."""
    require("lsp-mode")
    document = write_document(home)

    async with headless(command(home, DRIVER, block("lsp-mode"), LSP_MODE), home, DOCUMENT=str(document)) as editor:
        code = await editor.end()

    assert code == 0, editor.output()
    assert editor.seen("status")[-1] == " botframework-embedded ready"
    assert editor.seen("suggested")[0].strip()
    assert editor.seen("answer")[0].strip()
    assert "Unknown notification" not in editor.output()
