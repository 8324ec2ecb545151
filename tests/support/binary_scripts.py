"""The scripts of ``packaging/binary`` as modules; they are no package, and import each other by their names."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from support.source_tree import ROOT

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = ROOT / "packaging" / "binary"


def script(name: str) -> ModuleType:
    """One of them; nothing else finds them afterwards."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
