"""The configurations that EDITORS.md shows, taken out of the page, so that it shows what is run and nothing else."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "EDITORS.md"
JETBRAINS = ROOT / "packaging" / "jetbrains"

_BLOCK = re.compile(
    r"^<!-- (?P<name>[a-z0-9-]+) -->\n```(?P<language>[a-z]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """One configuration on the page."""

    name: str
    """What the comment above it says."""
    language: str
    text: str


@functools.cache
def blocks() -> tuple[Block, ...]:
    """Every block that has a name, in the page's order."""
    return tuple(Block(**found.groupdict()) for found in _BLOCK.finditer(PAGE.read_text("utf-8")))


def block(name: str) -> str:
    """The text of a block."""
    (text,) = (found.text for found in blocks() if found.name == name)
    return text
