"""The package's own source, read as text and syntax trees: what the tests of the layers have in common."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daemon" / "botframework"


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One module of the package."""

    path: Path
    """Relative to the package, as in ``worker/llama/vocab.py``."""
    tree: ast.Module

    @property
    def name(self) -> str:
        """Its dotted name below the package; empty for the package itself."""
        parts = [*self.path.parent.parts, self.path.stem]
        return ".".join(part for part in parts if part != "__init__")

    @property
    def room(self) -> str:
        """The room it belongs to: its folder, or its own name on the ground floor."""
        return self.path.parts[0] if len(self.path.parts) > 1 else self.path.stem


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, by its absolute name."""

    importer: Module
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer.path}:{self.line} imports {self.target}"


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return tuple(Module(file.relative_to(PACKAGE), ast.parse(file.read_text(encoding="utf-8"))) for file in files)


@functools.cache
def imports(module: Module) -> tuple[Import, ...]:
    """Everything that a module imports anywhere in it: at the top, on use, and for the type checker only."""
    package = ["botframework", *module.path.parent.parts]
    known = {other.name for other in modules()}
    found: list[Import] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found += [Import(module, alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from botframework.wire import messages` names a module, `from … import Link` something inside one.
                inner = f"{origin}.{alias.name}"
                is_module = inner.removeprefix("botframework.") in known and inner.startswith("botframework.")
                found.append(Import(module, inner if is_module else origin, node.lineno))
    return tuple(found)
