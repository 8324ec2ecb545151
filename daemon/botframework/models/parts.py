"""The files of a model that is split into several, by their names. Pure.

``name-00001-of-00003.gguf`` is the first of three: llama.cpp opens it and finds the others by the same rule.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAX_PARTS = 65_535
"""The number in the file has 16 bits."""

_NAME = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


def number(path: Path | str) -> int | None:
    """Which part a file is, from 1; None: its name says that it is no part."""
    match = _NAME.search(str(path))
    return int(match[1]) if match else None


def others(path: Path, n_files: int) -> tuple[Path, ...]:
    """The other files of a model whose first one is ``path``; none of them is looked at.

    ``n_files`` is what its header says. Empty for a model in one file, and for one whose name tells of no others.
    """
    match = _NAME.search(path.name)
    if match is None or not 1 < n_files <= MAX_PARTS or int(match[2]) != n_files:
        return ()
    stem, ending = path.name[: match.start()], path.name[-len(".gguf") :]
    names = (f"{stem}-{part:05}-of-{n_files:05}{ending}" for part in range(1, n_files + 1) if part != int(match[1]))
    return tuple(path.with_name(name) for name in names)
