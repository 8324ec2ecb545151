"""Renders a model's chat template in a process that can be killed (`worker.template`)."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botframework
from botframework.errors import TemplateError
from botframework.process import program

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEMPLATE_BYTES = 64 << 10
"""Four times the largest template in use."""
RENDER_LIMIT_S = 0.25
"""An honest template takes a millisecond or two."""
COMPILE_LIMIT_S = 2.0
"""Once per start; the largest template in use takes 150 ms on an idle machine."""
START_LIMIT_S = 10.0
"""Starting Python and importing jinja2 takes 0.2 s; a machine that swaps may need much longer."""
OUTPUT_FACTOR, OUTPUT_EXTRA = 4, 64 << 10
"""The output may have this many times the characters of the input, and so many more."""
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows: never run
_KEPT_ENVIRONMENT = ("SYSTEMROOT", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
"""What a Python needs to start on some platforms. Everything else, tokens and keys first of all, stays here."""
_SENTENCES = {
    "timeout": "takes too long",
    "memory": "needs too much memory",
    "output": f"makes more than {OUTPUT_FACTOR} times its input plus {OUTPUT_EXTRA >> 10} KiB of text",
    "size": f"is larger than {MAX_TEMPLATE_BYTES >> 10} KiB",
    "syntax": "cannot be compiled",
    "refused": "refuses these messages",
    "sandbox": "does something that the sandbox forbids",
    "failed": "fails on these messages",
    "crashed": "ended the process that renders it",
}
FINAL_REASONS = frozenset({"timeout", "memory", "output", "size", "syntax", "sandbox", "crashed"})
"""With any of these, other messages will not help."""


class TemplateRenderer:
    """One template and, from its first use on, the process that renders it. For one thread at a time."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._child: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._broken: TemplateError | None = None
        """Why the template can never be rendered."""
        self.starts = 0
        """How many processes were started so far."""

    def start(self) -> None:
        """Start the process and compile the template, if that has not happened: it saves the first render 0.2 s.

        Raises
        ------
        TemplateError
            The template is too large, has a syntax error, or no process could be started.
        """
        if self._child is not None and self._child.poll() is None:
            return
        self.close()
        if self._broken is not None:
            raise TemplateError(self._broken.message, **self._broken.data)
        if len(self._template.encode("utf-8", "replace")) > MAX_TEMPLATE_BYTES:
            raise _error("size")
        try:
            child = subprocess.Popen(
                program.own_command("worker", "template", str(os.getpid())),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=_NO_WINDOW,
                env=_environment(),
            )
        except OSError as error:
            raise TemplateError(
                f"The chat template cannot be rendered: no process could be started ({error.strerror}).", reason="start"
            ) from error
        self._child = child
        self._finalizer = weakref.finalize(self, _end, child)
        self.starts += 1
        self._exchange(None, START_LIMIT_S)
        try:
            self._exchange({"template": self._template}, COMPILE_LIMIT_S)
        except TemplateError as error:
            self.close()
            if error.data["reason"] != "timeout":  # a busy machine may be quicker next time
                self._broken = error
            raise

    def render(self, variables: Mapping[str, Any], *, input_chars: int) -> str:
        """Render.

        Parameters
        ----------
        variables
            Plain JSON values.
        input_chars
            How much text is in them, which bounds the output.

        Raises
        ------
        TemplateError
            ``data.reason`` tells which limit or rule was broken, ``data.line`` the template's line if it is known.
        """
        self.start()
        limit = OUTPUT_FACTOR * input_chars + OUTPUT_EXTRA
        return self._exchange({"variables": variables, "limit": limit}, RENDER_LIMIT_S)

    def close(self) -> None:
        """End the process. The next render starts another one."""
        self._child = None
        if self._finalizer is not None:
            self._finalizer()

    def _exchange(self, job: dict[str, Any] | None, limit_s: float) -> str:
        """Send a job, if there is one, and wait for the answer. A thread of its own waits: no pipe has a timeout."""
        child = self._child
        if child is None:
            raise _error("crashed")
        answers: list[dict[str, Any]] = []
        answer: dict[str, Any]
        talk = threading.Thread(target=_talk, args=(child, job, answers), name="template", daemon=True)
        talk.start()
        talk.join(limit_s)
        if talk.is_alive():
            child.kill()
            talk.join()  # the pipe of a killed process ends
            self.close()
            raise _error("timeout")
        answer = answers[0] if answers else {"reason": "crashed"}
        if "text" in answer:
            return str(answer["text"])
        if answer["reason"] in FINAL_REASONS:
            self.close()
        raise _error(answer["reason"], answer.get("message", ""), answer.get("line"))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    # For an interpreter; a frozen program takes no notice.
    package_root = str(Path(botframework.__file__).resolve().parent.parent)
    python = {"PYTHONPATH": package_root, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **python, **program.subprocess_environment(os.environ)}


def _talk(child: subprocess.Popen[bytes], job: dict[str, Any] | None, answers: list[dict[str, Any]]) -> None:
    """Append the answer, or nothing when the process ended."""
    if child.stdin is None or child.stdout is None:
        return
    with contextlib.suppress(OSError, ValueError):
        if job is not None:
            payload = json.dumps(job).encode()
            child.stdin.write(struct.pack(">I", len(payload)) + payload)
            child.stdin.flush()
        header = child.stdout.read(4)
        if len(header) == 4:
            (length,) = struct.unpack(">I", header)
            answers.append(json.loads(child.stdout.read(length)))


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not flushed has no reader any more
                pipe.close()


def _error(reason: str, message: str = "", line: int | None = None) -> TemplateError:
    where = f" (line {line})" if line is not None else ""
    why = f": {message.rstrip('.')}" if message else ""
    sentence = f"The model's chat template {_SENTENCES.get(reason, reason)}{where}{why}."
    return TemplateError(sentence, reason=reason, line=line)
