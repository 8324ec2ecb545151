"""Write the tables of limits (ARCHITECTURE.md) and of settings (README.md) from the code: ``make schemas``.

A limit is a module-level number whose name begins with ``MAX_``, or one of `ALSO`; its docstring is the reason.
Modules are read, not imported: some of them would load llama.cpp. With ``--check`` nothing is written.
"""

from __future__ import annotations

import argparse
import ast
import json
import operator
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "daemon" / "botframework"
BEGIN = "<!-- written by `make schemas` -->"
END = "<!-- end -->"

PREFIX = "MAX_"
ALSO = {
    "ABSENT_S",
    "ABSURD_BODY",
    "ANSWER_S",
    "BEHIND_BYTES",
    "BLOCK_BYTES",
    "BUDGET_STARTS",
    "BUDGET_WINDOW_S",
    "CHANGE_OVER_PATIENCE_S",
    "CHAT_CHUNK_S",
    "COMPILE_LIMIT_S",
    "CONNECTIONS",
    "CONNECT_S",
    "CONTEXT_CHARS",
    "DEVICES_RETRY_S",
    "DOWNLOAD_STALL_S",
    "DRAIN_IDLE_S",
    "DROP_BYTES",
    "FATAL_CALLS_LIMIT",
    "FIRST_CONNECTION_S",
    "GPU_MARGIN",
    "HANG_LIMIT_S",
    "HIGH_WATER",
    "HOPELESS_BYTES",
    "LAST_RESORT_S",
    "LEAST_CTX_CHAT",
    "LEAVE_DEADLINE_S",
    "LOAD_DEATHS_LIMIT",
    "LOCK_PATIENCE_S",
    "LOG_BYTES_PER_S",
    "LONGEST_RUN",
    "MARGIN_BYTES",
    "MEASURE_DEADLINE_S",
    "MEMORY_HEADROOM",
    "MEMORY_RETRY_S",
    "QUEUE_HIGH_TOKENS",
    "RAM_MARGIN",
    "READING_S",
    "RENDER_LIMIT_S",
    "REQUEST_BLOCKS",
    "SIGNAL_LAST_RESORT_S",
    "STALL_BYTES",
    "START_DEADLINE_S",
    "STARVATION_S",
    "STOP_PATIENCE_S",
    "SUSPICION_S",
    "TAIL_BYTES",
    "UNFINISHED_AGE_S",
}
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


@dataclass(frozen=True, slots=True)
class Limit:
    """One named number."""

    name: str
    """As in ``wire.link.MAX_FRAME``."""
    value: float
    reason: str

    @property
    def row(self) -> str:
        """Its line of the table."""
        return f"| `{self.name}` | {readable(self.value)} | {self.reason} |"


def evaluate(node: ast.expr, names: dict[str, float]) -> float:
    """The value of an arithmetic expression of numbers and of constants above it."""
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


def limits_of(path: Path) -> list[Limit]:
    """The limits of one module, each with the docstring below it."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    module = ".".join(part for part in parts if part != "__init__")
    body = ast.parse(path.read_text(encoding="utf-8")).body
    values: dict[str, float] = {}
    found: list[Limit] = []
    for node, below in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        try:
            values[name] = evaluate(value, values)
        except NotANumber:
            continue
        match below:
            case ast.Expr(value=ast.Constant(value=str() as doc)):
                reason = " ".join(doc.split()).replace("|", "\\|").replace("``", "`")
            case _:
                reason = ""
        if name.startswith(PREFIX) or name in ALSO:
            found.append(Limit(f"{module}.{name}", values[name], reason))
    return found


def all_limits() -> list[Limit]:
    """Every limit of the package, by module."""
    return [limit for path in sorted(PACKAGE.rglob("*.py")) for limit in limits_of(path)]


def readable(value: float) -> str:
    """A number for people: powers of two from 8,192 on in units, the rest with separators."""
    if isinstance(value, int) and value >= 8_192 and value.bit_count() == 1:
        for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
            if value >= size and value < size << 13:
                return f"{value // size:,} {unit}"
        return f"2^{value.bit_length() - 1}"
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20:,} Mi"
    if isinstance(value, int) and value >= 1 << 15 and value % (1 << 10) == 0:
        return f"{value >> 10:,} Ki"
    return f"{value:,}"


def limits_table() -> str:
    """The table of limits."""
    return "\n".join(["| constant | value | what, and why |", "|---|---|---|", *(limit.row for limit in all_limits())])


def field_docs(path: Path) -> dict[str, dict[str, str]]:
    """Class name to field name to the docstring below the field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as doc)):
                    found.setdefault(node.name, {})[name] = " ".join(doc.split()).replace("``", "`").replace("|", "\\|")
    return found


def settings_table() -> str:
    """Every setting with its default; a star: no workspace may set it; two: it may only switch it off."""
    from botframework.config.settings import MACHINE_SETTINGS, ONLY_OFF, Settings

    docs = field_docs(PACKAGE / "config" / "settings.py")
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for field in msgspec.structs.fields(Settings):
        group = field.type if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct) else None
        inner = msgspec.structs.fields(group) if group else (field,)
        for leaf in inner:
            key = f"{field.encode_name}.{leaf.encode_name}" if group else leaf.encode_name
            star = " \\*" if key.startswith(MACHINE_SETTINGS) else " \\*\\*" if key in ONLY_OFF else ""
            default = "" if leaf.default is None else f"`{json.dumps(leaf.default)}`"
            doc = docs[group.__name__ if group else "Settings"].get(leaf.name, "")
            rows.append(f"| `{key}`{star} | {default} | {doc} |")
    return "\n".join(rows)


TABLES = {"ARCHITECTURE.md": limits_table, "README.md": settings_table}


def render(name: str) -> str:
    """A document with a current table."""
    head, _, rest = (ROOT / name).read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{TABLES[name]()}\n\n{END}{tail}"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a table is not current")
    check = parser.parse_args().check
    code = 0
    for name in TABLES:
        wanted = render(name)
        if wanted == (ROOT / name).read_text(encoding="utf-8"):
            continue
        if check:
            code = 1
            print(f"the table in {name} is not current; run `make schemas`")
        else:
            (ROOT / name).write_text(wanted, encoding="utf-8")
            print(f"wrote the table in {name}")
    return code


if __name__ == "__main__":
    sys.exit(main())
