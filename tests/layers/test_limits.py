"""The limits table of ARCHITECTURE.md and the limits in the code are the same, and every test it names exists."""

from __future__ import annotations

import ast
import operator
import re

import pytest

from support.source_tree import ROOT, Module, modules

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "million": 1_000_000}
"""Units that multiply; seconds, tokens and the like are the constant's own."""

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}


class NotANumber(Exception):
    """The constant is not arithmetic of numbers."""


def evaluate(node: ast.expr, names: dict[str, float]) -> float:
    """The value of an arithmetic expression; modules are not imported, because some of them load llama.cpp."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -evaluate(operand, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            result: float = OPERATORS[type(op)](evaluate(left, names), evaluate(right, names))
            return result
    raise NotANumber(ast.dump(node))


def constants(module: Module) -> dict[str, float]:
    """The module's named numbers."""
    found: dict[str, float] = {}
    for node in module.tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    found[name] = evaluate(value, found)
                except NotANumber:
                    continue
    return found


def code_limits() -> dict[str, float]:
    """Every named number of the package, as ``wire.messages.MAX_STOP_STRINGS``."""
    return {
        f"{module.name}.{name}": value
        for module in modules()
        for name, value in constants(module).items()
        if name.isupper()
    }


def written_limits() -> dict[str, float]:
    """The table under "Limits" of ARCHITECTURE.md: constant, value, reason."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = re.search(r"^## Limits$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = re.findall(r"^\| `([\w.]+)` \| ([\d.,_-]+) ?(\w*)[^|]*\|", section.group(1), re.MULTILINE)
    return {name: float(number.replace(",", "").replace("_", "")) * UNITS.get(unit, 1) for name, number, unit in rows}


def test_the_table_tells_the_truth() -> None:
    """Every limit in the table is a constant in the code, with that value."""
    in_code = code_limits()
    written = written_limits()

    assert written
    assert {name: in_code.get(name) for name in written} == written


def test_the_table_is_complete() -> None:
    """Every constant that is called a maximum stands in the table."""
    maxima = {name for name in code_limits() if name.rsplit(".", 1)[-1].startswith("MAX_")}

    assert maxima - set(written_limits()) == set()


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
