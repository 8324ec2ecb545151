"""Where the demo's cursor is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botframework.demo.editor import DemoError

OWN_FILE = Path(__file__).parent.with_name("errors.py")
OWN_SPOT = "        self."
"""The default position is behind this text in ``OWN_FILE``; the rest of that line counts as not yet typed."""


_TARGET = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?::(?P<column>\d+))?")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a text: where the cursor is."""

    path: Path
    text: str
    line: int
    column: int
    """0-based, in characters of a Python string."""

    @property
    def lines(self) -> list[str]:
        """The text's lines as the LSP counts them; other line breaks of Unicode are none there."""
        return self.text.split("\n")

    @property
    def document(self) -> dict[str, Any]:
        """The text as ``textDocument/didOpen`` takes it."""
        suffix = self.path.suffix
        language = "python" if suffix in {".py", ".pyi"} else suffix.lstrip(".") or "plaintext"
        return {"uri": self.uri, "languageId": language, "version": 1, "text": self.text}

    @property
    def uri(self) -> str:
        """The file's."""
        return self.path.resolve().as_uri()

    @property
    def position(self) -> dict[str, int]:
        """The place as the LSP counts it: in UTF-16 code units."""
        before = self.lines[self.line][: self.column]
        return {"line": self.line, "character": len(before.encode("utf-16-le", "surrogatepass")) // 2}


def default_spot() -> Spot:
    """A line of this package that is just being written."""
    lines = OWN_FILE.read_text(encoding="utf-8").split("\n")
    line = next(number for number, text in enumerate(lines) if text.startswith(OWN_SPOT))
    lines[line] = OWN_SPOT
    return Spot(OWN_FILE, "\n".join(lines), line, len(OWN_SPOT))


def parse_spot(target: str) -> Spot:
    """``FILE:LINE:COL``, both 1-based as compilers print them; without a column the end of the line is meant.

    Raises
    ------
    DemoError
        There is no such place.
    """
    found = _TARGET.fullmatch(target)
    if found is None:
        raise DemoError(f"{target!r} is not FILE:LINE:COL")
    path = Path(found["file"])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DemoError(f"cannot read {path}: {error}") from error
    return spot_in(path, text, int(found["line"]), int(found["column"]) if found["column"] else None)


def spot_in(path: Path, text: str, line: int, column: int | None) -> Spot:
    """The place in a text that is there already; numbers as in `parse_spot`, None is the end of the line.

    Raises
    ------
    DemoError
        There is no such place.
    """
    lines = text.split("\n")
    if not 1 <= line <= len(lines):
        raise DemoError(f"{path} has {len(lines)} lines, there is no line {line}")
    length = len(lines[line - 1])
    if column is None:
        column = length + 1
    if not 1 <= column <= length + 1:
        raise DemoError(f"line {line} of {path} has columns 1 to {length + 1}, there is no column {column}")
    return Spot(path, text, line - 1, column - 1)
