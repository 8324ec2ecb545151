"""The documents tell the truth about limits, settings, tests and dependencies."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from support.source_tree import ROOT, imports, modules

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The script that writes the tables."""
    spec = importlib.util.spec_from_file_location("generate_tables", ROOT / "packaging" / "generate_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Its dataclasses look themselves up there.
    spec.loader.exec_module(module)
    return module


def architecture() -> str:
    """The document."""
    return (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "README.md"])
def test_tables_are_current(tables: ModuleType, document: str) -> None:
    """Every limit and every setting of the code stands in its table; `make schemas` writes them."""
    assert tables.render(document) == (ROOT / document).read_text(encoding="utf-8")


def test_every_limit_has_a_reason(tables: ModuleType) -> None:
    """A number without a reason cannot be judged, nor changed."""
    assert [limit.name for limit in tables.all_limits() if not limit.reason] == []


def test_every_library_of_the_extension_has_a_reason() -> None:
    """Each package that a module of the extension imports has its row, and no other has one."""
    section = architecture().split("### Of the extension")[1].split("\n## ")[0]
    rows = set(re.findall(r"^\| `([\w.-]+)` \|", section, re.MULTILINE))
    source = ROOT / "vscode-extension" / "src"
    text = "\n".join(path.read_text(encoding="utf-8") for path in source.rglob("*.ts"))
    imported = {
        name.split("/")[0] for name in re.findall(r"^(?:import|\}) .*?from '([^.'][^']*)';", text, re.MULTILINE)
    }
    imported -= {"vscode"} | {name for name in imported if name.startswith("node:")}

    assert rows == imported


def test_every_dependency_has_a_reason() -> None:
    """Each library that the package needs has its row, and the row says truly where it is imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=!~ ]", line)[0] for line in project["dependencies"]}
    section = architecture().split("## Dependencies")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\|[^|]*\| ([^|]*) \|", section, re.MULTILINE)
    homes = {name: set(re.findall(r"`([\w./]+)`", home)) for name, home in rows}
    module_names = {"llama-cpp-python": "llama_cpp", "nvidia-ml-py": "pynvml"}
    where: dict[str, set[str]] = {name: set() for name in declared}
    for module in modules():
        for found in imports(module):
            for name in declared:
                if found.target.split(".")[0] == module_names.get(name, name):
                    where[name].add(module.path.as_posix())

    assert set(homes) == declared
    wrong = {
        name: path
        for name, paths in where.items()
        for path in paths
        if not any(path.startswith(home) for home in homes[name] | ({""} if name == "msgspec" else set()))
    }
    assert wrong == {}


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_named_tests_exist(document: str) -> None:
    """A document that names a test as its witness names one that there is."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / document).read_text(encoding="utf-8"))
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / path).exists() or (test and f"def {test}(" not in (ROOT / path).read_text(encoding="utf-8"))
    ]

    assert missing == []
