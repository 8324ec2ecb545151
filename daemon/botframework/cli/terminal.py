"""Where a command's words go: a person's terminal, a file, or a program that wants JSON.

Results go to standard output, everything about them to standard error. On a terminal there are colours and tables drawn
by rich; otherwise, with ``NO_COLOR`` or on a terminal that knows no codes, plain text without any.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from botframework.cli import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from botframework.cli.tables import Table
    from botframework.errors import BotframeworkError

LEAST_COLUMNS = 40
"""Prose in a narrower column is worse than prose that runs on."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""All but line end and tabulator: names come from files of strangers, and answers from models."""


def harmless(text: str) -> str:
    """The text with its control characters made visible, so that it cannot steer a terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def knows_codes(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Terminal:
    """One command's way to the user.

    Parameters
    ----------
    as_json
        The result is one JSON document on standard output; the words for people fall silent.
    """

    def __init__(self, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        # Python has none where the shell has closed it.
        self.out = out or sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
        self.err = err or sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        for stream in (self.out, self.err):
            # A locale that knows less than Unicode shall cost letters, not the answer.
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                with contextlib.suppress(ValueError, OSError):
                    reconfigure(errors="backslashreplace")

    @property
    def has_colours(self) -> bool:
        """Whether results may be coloured."""
        return not self.as_json and knows_codes(self.out) and not os.environ.get("NO_COLOR")

    @property
    def is_watched(self) -> bool:
        """Whether somebody sees how standard error moves."""
        return not self.as_json and knows_codes(self.err)

    # --- results ------------------------------------------------------------------------------------------------------

    def say(self, text: str = "", style: str = "") -> None:
        """A line of the result; ``style`` is rich's name of one, for terminals."""
        if self.as_json:
            return
        if style and self.has_colours:
            self.console(self.out).print(harmless(text), style=style, soft_wrap=True)
        else:
            print(harmless(text), file=self.out)

    def stream(self, text: str) -> None:
        """A piece of an answer, as it comes; a terminal gets no codes of a model's, a file every letter."""
        if not self.as_json:
            self.out.write(harmless(text) if self.out.isatty() else text)
            self.out.flush()

    def wrapped(self, text: str, indent: int) -> str:
        """Prose that begins in a column and stays to the right of it where the terminal ends; a file has no end."""
        if not self.out.isatty():
            return text
        width = max(LEAST_COLUMNS, shutil.get_terminal_size().columns - indent)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * indent).join(lines)

    def table(self, table: Table) -> None:
        """A table."""
        if self.as_json:
            return
        clean = tables.Table(
            table.columns, tuple(tuple(harmless(cell) for cell in row) for row in table.rows), table.has_titles
        )
        if not self.has_colours:
            self.out.write(tables.plain(clean))
        elif tables.fits(clean, (console := self.console(self.out)).width):
            console.print(tables.drawn(clean))
        else:
            for line in tables.stacked(clean):
                self.say(line, "" if line.startswith(tables.GAP) else "bold")

    def document(self, value: msgspec.Struct) -> None:
        """The result for a program; nothing without ``--json``."""
        if self.as_json:
            self.out.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")

    # --- about them ---------------------------------------------------------------------------------------------------

    def note(self, text: str, style: str = "dim") -> None:
        """A line beside the result."""
        if self.as_json:
            return
        if self.is_watched and not os.environ.get("NO_COLOR"):
            self.console(self.err).print(harmless(text), style=style, soft_wrap=True)
        else:
            print(harmless(text), file=self.err)

    def warn(self, text: str) -> None:
        """Something that the user should know and that stops nothing."""
        self.note(f"warning: {text}", "yellow")

    def fail(self, error: BotframeworkError) -> None:
        """Why it could not be done."""
        if self.as_json:
            from botframework.cli.documents import Error, Failure

            kind = type(error).__name__
            self.document(
                Failure(
                    error=Error(
                        kind=kind, code=error.code, message=error.message, retryable=error.retryable, data=error.data
                    )
                )
            )
        else:
            self.note(f"botframework: {error.message}", "red")

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[Waiting]:
        """Show that something takes its time, for as long as it does and somebody watches."""
        if not self.is_watched:
            yield Waiting(None)
            return
        with self.console(self.err).status(harmless(text), spinner="line") as status:
            yield Waiting(status)

    def console(self, stream: TextIO) -> Console:
        """Make rich's door to a stream."""
        from rich.console import Console

        return Console(file=stream, highlight=False, emoji=False, markup=False)


class Waiting:
    """What is being waited for."""

    def __init__(self, status: Any) -> None:
        self._status = status

    def tell(self, text: str) -> None:
        """How far it is."""
        if self._status is not None and text:
            self._status.update(harmless(text))
