"""The workers of this user, and what their daemons wrote down."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from botframework import config
from botframework.cli.checks.finding import failed, good, warning
from botframework.errors import ConfigError
from botframework.process import logs
from botframework.quantities import plural, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding
    from botframework.manager.holders import Holder

TAIL_BYTES = 256 * 1024
"""Of the log that are looked at: a day or two of normal use."""
RECENT_S = 3_600.0
"""Older errors are history."""

_LEDGER = re.compile(r"[0-9a-f]{16}\.json")
_ERROR = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{3} (?:ERROR|CRITICAL) +\d+ (.*)$", re.MULTILINE)


def _log_file() -> Path:
    return config.log_dir() / logs.FILE_NAME


def deaths(_case: Case) -> Iterator[Finding]:
    """Whether workers died."""
    from botframework.manager import ledger

    try:
        files = [path for path in config.runtime_dir().iterdir() if _LEDGER.fullmatch(path.name)]
    except (ConfigError, OSError):
        return  # told by another check
    now, log, died = time.time(), _log_file(), 0
    for path in files:
        book = ledger.read(path)
        died += book.deaths(now)
        words = f": {book.last_words}" if book.last_words else ""
        if book.model_is_quarantined:
            yield failed(
                "workers",
                f"loading a model killed {book.load_deaths} workers in a row, and it is not tried again{words}",
                f"fetch the model's file again or take another one; the whole story is in {log}; then restart the "
                "server in your editor",
            )
        elif book.is_exhausted(now):
            yield failed(
                "workers",
                f"{book.deaths(now)} workers died within three minutes{words}",
                f"look into {log}; then restart the server in your editor",
            )
    if not died:
        yield good("workers", "none died in the last three minutes")


def running(_case: Case) -> Iterator[Finding]:
    """Which workers hold memory, and whether they can be talked with."""
    from botframework.manager.holders import survey

    try:
        found = asyncio.run(survey(config.runtime_dir()))
    except ConfigError:
        return  # told by another check
    for one in found:
        if not one.model:
            yield warning(
                "memory of models",
                f"process {one.pid} holds {size(one.held_bytes)} and does not answer; perhaps it is of another version",
                "close the editor windows that were open before the last update",
            )
    known = [one for one in found if one.model]
    told = f"{plural(len(known), 'worker')} of yours" + (": " + ", ".join(map(_held, known)) if known else "")
    yield good("memory of models", told)


def _held(one: Holder) -> str:
    return f"{Path(one.model).name} with {size(one.held_bytes)} for {plural(one.clients, 'window')}"


def log(_case: Case) -> Iterator[Finding]:
    """Whether there were errors within the last hour."""
    path = _log_file()
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return
    except OSError as error:
        yield warning("log", f"{path} cannot be read: {error.strerror}", "make it readable for you, or delete it")
        return
    since = dt.datetime.now().astimezone() - dt.timedelta(seconds=RECENT_S)
    recent = [words for at, words in _ERROR.findall(text) if dt.datetime.fromisoformat(at).astimezone() > since]
    if recent:
        told = f"{plural(len(recent), 'error')} within the last hour, the last one: {recent[-1]}"
        yield warning("log", told, f"the lines around it in {path} tell more")
    else:
        yield good("log", f"no error within the last hour ({path})")
