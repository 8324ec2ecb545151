"""The small process that renders chat templates: ``botframework worker template PARENT_PID``.

A chat template comes with a model file, so it is a stranger's program. Jinja's sandbox keeps it from escaping, not from
looping for ever or filling the memory; a process of its own can be killed for either. `worker.renderer` starts it,
kills it and is the only one to talk to it: jobs and answers are JSON, each behind four bytes of length.

This is the only module that imports jinja2.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import struct
import sys
import types
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import jinja2
import jinja2.compiler
import jinja2.debug
import jinja2.nodes
import jinja2.sandbox
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2.nodes import Node
    from jinja2.parser import Parser

MEMORY_HEADROOM = 40 << 20
"""Bytes of address space beyond what the process has when it is ready (24 MiB): a bomb costs less than 64 MiB with the
process itself. The largest template in use needs 5 MiB of it."""
JOB_LIMIT_S = 3
"""Ends a job whose parent is no longer there to do it; the parent's own limits are far shorter."""
MAX_MESSAGE_CHARS = 300
"""Of an error message, which may quote the template's data."""
_TEMPLATE_NAME = "<template>"


class _Refused(jinja2.TemplateError):
    """The template called ``raise_exception``."""


class _OutputTooLong(Exception):
    """More text than the job allows."""


class _GenerationTag(Extension):
    """``{% generation %}`` marks the assistant's tokens for training; for rendering only its body counts."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 wants a set

    def parse(self, parser: Parser) -> list[Node]:
        """Give back the body as it stands."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _NothingComputed(jinja2.compiler.CodeGenerator):
    """Compiles without computing constants: that would run the template's arithmetic under the compiler's limit."""

    def _output_child_to_const(self, node: jinja2.nodes.Expr, frame: Any, finalize: Any) -> str:
        if not isinstance(node, jinja2.nodes.TemplateData):
            raise jinja2.nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


def _environment(kind: type[jinja2.sandbox.SandboxedEnvironment]) -> jinja2.sandbox.SandboxedEnvironment:
    environment = kind(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[LoopControlExtension, _GenerationTag],
        optimized=False,
    )
    environment.code_generator_class = _NothingComputed
    environment.filters["tojson"] = _to_json
    environment.filters["from_json"] = json.loads
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without HTML escapes, which jinja2's own filter makes and no model was trained on."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_plain_value,
    )


def _plain_value(value: Any) -> Any:
    if isinstance(value, jinja2.Undefined):
        return None
    if isinstance(value, types.GeneratorType):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def _raise_exception(message: object) -> NoReturn:
    raise _Refused(str(message))


def _strftime_now(pattern: str) -> str:
    return dt.datetime.now().astimezone().strftime(pattern)


class _Template:
    """One compiled template, first where nothing can be changed, later where it may append to its own lists."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._compiled = _environment(jinja2.sandbox.ImmutableSandboxedEnvironment).from_string(source)
        self._may_append = False

    def render(self, variables: dict[str, Any], limit: int) -> str:
        if not self._may_append:
            try:
                return self._generate(variables, limit)
            except SecurityError:
                # Some honest templates collect things in a list. The variables are this process's own copy.
                self._compiled = _environment(jinja2.sandbox.SandboxedEnvironment).from_string(self._source)
                self._may_append = True
        return self._generate(variables, limit)

    def _generate(self, variables: dict[str, Any], limit: int) -> str:
        parts, length = [], 0
        for part in self._compiled.generate(variables):
            length += len(part)
            if length > limit:
                raise _OutputTooLong
            parts.append(part)
        return "".join(parts)


def _compile(source: str) -> _Template:
    try:
        return _Template(source)
    except RecursionError as error:
        raise jinja2.TemplateSyntaxError("it is nested too deeply", lineno=1) from error


def _failure(error: BaseException) -> dict[str, Any]:
    """Put an exception into the words of `worker.renderer`."""
    if isinstance(error, _OutputTooLong):
        return {"reason": "output", "message": "", "line": None}
    if isinstance(error, MemoryError):
        return {"reason": "memory", "message": "", "line": None}
    if isinstance(error, jinja2.TemplateSyntaxError):
        return {"reason": "syntax", "message": str(error.message)[:MAX_MESSAGE_CHARS], "line": error.lineno}
    reason = "failed"
    if isinstance(error, _Refused):
        reason = "refused"
    elif isinstance(error, SecurityError):
        reason = "sandbox"
    message = str(error) if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {error}"
    return {"reason": reason, "message": message[:MAX_MESSAGE_CHARS], "line": _line_of(error)}


def _line_of(error: BaseException) -> int | None:
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _TEMPLATE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def serve(jobs: IO[bytes], answers: IO[bytes]) -> None:
    """Answer one job after the other until the jobs end.

    ``{"template": text}`` compiles, ``{"variables": {...}, "limit": characters}`` renders what was compiled last. The
    answer is ``{"text": ...}`` or ``{"reason": ..., "message": ..., "line": ...}``.
    """
    template: _Template | None = None
    answer: dict[str, Any]
    _write(answers, {"text": ""})  # ready
    while (job := _read(jobs)) is not None:
        _set_alarm(JOB_LIMIT_S)
        try:
            if "template" in job:
                template = _compile(job["template"])
                answer = {"text": ""}
            elif template is None:
                answer = {"reason": "failed", "message": "no template was compiled", "line": None}
            else:
                answer = {"text": template.render(job["variables"], job["limit"])}
            payload = _encode(answer)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's program does is an answer
            payload = _encode(_failure(error))
        _set_alarm(0)
        answers.write(payload)
        answers.flush()


def _read(stream: IO[bytes]) -> dict[str, Any] | None:
    header = stream.read(4)
    if len(header) < 4:
        return None
    (length,) = struct.unpack(">I", header)
    job: dict[str, Any] = json.loads(stream.read(length))
    return job


def _encode(answer: dict[str, Any]) -> bytes:
    payload = json.dumps(answer).encode()
    return struct.pack(">I", len(payload)) + payload


def _write(stream: IO[bytes], answer: dict[str, Any]) -> None:
    stream.write(_encode(answer))
    stream.flush()


def _set_alarm(seconds: int) -> None:
    if sys.platform != "win32":  # Windows has no such timer: there the parent's limit is the only one. Never run.
        signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM is not handled, so it ends the process


def _die_with_parent(parent: int) -> None:
    """Linux ends this process with the thread that started it; elsewhere the end of stdin does, between two jobs."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            sys.exit(0)


def _limit_resources() -> None:
    """Bound memory and forbid files. Memory is bounded on Linux only; elsewhere time alone is (never run)."""
    if sys.platform == "win32":
        return
    import resource

    limits: list[tuple[int, int]] = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)]
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits.append((resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY_HEADROOM))
    for name, limit in limits:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(name, (limit, limit))


def main(arguments: Sequence[str]) -> None:
    """Be the process; the argument is the process id of the worker that starts it."""
    _die_with_parent(int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's ^C is the parent's business
    _Template("{{ strftime_now('%Y') }}").render({}, limit=100)  # whatever is imported on first use is imported now
    _limit_resources()
    serve(sys.stdin.buffer, sys.stdout.buffer)
