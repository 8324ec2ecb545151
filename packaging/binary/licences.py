"""The licences of everything inside the program, in one file: called by the spec when PyInstaller knows what it packs.

``LICENSES.txt`` goes into the program, ``components.json`` stays outside for ``sbom.py``.
"""

from __future__ import annotations

import functools
import json
from itertools import takewhile
from typing import TYPE_CHECKING

from components import Component, Entry, common_licences, components

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TEXT_NAME = "LICENSES.txt"
"""At the root of the program; `botframework --licences` prints it."""
COMPONENTS_NAME = "components.json"

WIDTH = 100
RULE = "=" * WIDTH
THIN_RULE = "-" * WIDTH
HEAD = """\
botframework is under the Apache License 2.0. This program contains the work of others, each part under the licence of
its own that is printed below. Nothing of them was changed but by compiling and leaving symbols out.
"""


def gather(entries: Iterable[Entry], folder: Path) -> list[Entry]:
    """Write both files into a folder.

    Parameters
    ----------
    entries
        All that is packed, as PyInstaller lists it.

    Returns
    -------
    list[Entry]
        What has to be packed beside it.

    Raises
    ------
    OwnerUnknownError
        Somebody's terms are not known.
    """
    found = components(entries)
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / TEXT_NAME
    text.write_text(render(found), encoding="utf-8")
    told = [
        {
            "name": each.owner.name,
            "version": each.owner.version,
            "kind": each.owner.kind,
            "licence": each.owner.licence,
            "purl": each.owner.purl,
            "files": each.files,
        }
        for each in found
    ]
    (folder / COMPONENTS_NAME).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return [(TEXT_NAME, str(text), "DATA")]


def render(found: list[Component]) -> str:
    """A table of the parts, then every text; the same parts always give the same file."""
    width = max(len(f"{each.owner.name} {each.owner.version}") for each in found)
    lines = [HEAD]
    for each in found:
        name = f"{each.owner.name} {each.owner.version}"
        lines.append(f"  {name:{width}}  {each.owner.licence}")
    named: dict[Path, None] = {}
    for each in found:
        lines += ["", RULE, f"{each.owner.name} {each.owner.version}", RULE]
        for path in each.owner.texts:
            text = _read(path)
            lines += ["", text, "", THIN_RULE] if path != each.owner.texts[-1] else ["", text]
            named.update(dict.fromkeys(common_licences(text)))
    for path in named:
        lines += ["", RULE, f"{path.name}, which is named above", RULE, "", _read(path)]
    return "\n".join(lines) + "\n"


@functools.cache
def _read(path: Path) -> str:
    """A licence's text; of a module the comment at its head."""
    text = path.read_text(encoding="utf-8", errors="replace").expandtabs()
    if path.suffix == ".py":
        head = takewhile(lambda line: line.startswith("#"), text.splitlines())
        text = "\n".join(line.lstrip("#").removeprefix(" ") for line in head)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
