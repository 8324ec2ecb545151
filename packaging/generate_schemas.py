"""Write ``schemas/*.json`` from the message structs (``make schemas``); ``--check`` only says whether they are current.

One file for each border: ``lsp.json`` (editor and daemon, from ``lsp/messages.py``), ``wire.json`` (daemon and worker,
from ``wire/messages.py``) and ``cli.json`` (``--json``, from ``cli/documents.py``). All are JSON Schema 2020-12, every
struct of the module is a definition, and the docstrings under the fields become descriptions.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "schemas"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of schemas and where it comes from."""

    file: str
    module: str
    title: str
    description: str
    unions: tuple[str, ...] = ()
    """Names of the module's unions that get a definition of their own."""


SOURCES = (
    Source(
        file="lsp.json",
        module="botframework.lsp.messages",
        title="botframework: editor and daemon",
        description="What the editor and the daemon say beyond the LSP. PROTOCOL.md tells which method carries which.",
    ),
    Source(
        file="wire.json",
        module="botframework.wire.messages",
        title="botframework: daemon and worker",
        description="What daemon and worker say on their local socket, there as MessagePack. Internal: it changes with "
        "PROTOCOL_VERSION.",
        unions=("ToWorker", "ToDaemon"),
    ),
    Source(
        file="cli.json",
        module="botframework.cli.documents",
        title="botframework: commands and programs",
        description="What a command prints with --json: the document of its name, or a Failure. Fields are only added.",
    ),
)


def structs(module: ModuleType) -> list[type[msgspec.Struct]]:
    """The structs that the module defines or names in its methods, without the empty bases that only share options."""
    return (
        [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, msgspec.Struct)
            and value.__module__ == module.__name__
            and (value.__struct_fields__ or not value.__subclasses__())
        ]
        + [
            struct
            for method in getattr(module, "METHODS", {}).values()
            for struct in (method.params, method.result)
            if struct is not None and struct.__module__ != module.__name__
        ]
        + [struct for struct in getattr(module, "DOCUMENTS", {}).values() if struct.__module__ != module.__name__]
    )


@functools.cache
def field_docs(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class name to field name to the docstring that stands under the field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        docs = found.setdefault(node.name, {})
        for field, text in zip(node.body, node.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as doc)),
                ):
                    docs[name] = " ".join(inspect.cleandoc(doc).split())
    return found


def named_structs(module: ModuleType) -> dict[str, type[msgspec.Struct]]:
    """Every struct that the module defines or imports, and that their own modules do, by its name."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting = [module]
    while waiting:
        for value in vars(waiting.pop()).values():
            if not (inspect.isclass(value) and issubclass(value, msgspec.Struct)) or value.__name__ in found:
                continue
            found[value.__name__] = value
            if value.__module__.startswith("botframework."):
                waiting.append(sys.modules[value.__module__])
    return found


def methods(module: ModuleType) -> dict[str, Any]:
    """Which method carries which struct, for a module that has such a table."""
    return {
        method.name: {
            "sender": method.sender,
            "kind": method.kind,
            "params": {"$ref": f"#/$defs/{method.params.__name__}"},
            **({"result": {"$ref": f"#/$defs/{method.result.__name__}"}} if method.result else {}),
        }
        for method in getattr(module, "METHODS", {}).values()
    }


def documents(module: ModuleType) -> dict[str, Any]:
    """Which command prints which struct, for a module that has such a table."""
    table = getattr(module, "DOCUMENTS", {})
    return {name: {"$ref": f"#/$defs/{struct.__name__}"} for name, struct in table.items()}


def error_table(module: ModuleType) -> dict[str, Any]:
    """What ``error.data.kind`` may be, for a module that has methods."""
    from botframework import errors

    if not hasattr(module, "METHODS"):
        return {}
    return {
        name: {"code": value.code, "retryable": value.retryable, "description": summary(value)}
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.BotframeworkError)
    }


def summary(value: type) -> str:
    """A docstring on one line."""
    return " ".join((inspect.getdoc(value) or "").split())


def describe(component: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    """Put the docstrings of a struct and of its fields, inherited ones included, into its schema."""
    if "description" in component:
        component["description"] = " ".join(component["description"].split())
    for cls in reversed(struct.__mro__):
        if not cls.__module__.startswith("botframework."):
            continue
        for field, text in field_docs(sys.modules[cls.__module__]).get(cls.__name__, {}).items():
            if field in struct.__struct_fields__:
                encoded = struct.__struct_encode_fields__[struct.__struct_fields__.index(field)]
                component["properties"][encoded]["description"] = text


def render(source: Source) -> str:
    """The text of one schema file."""
    module = importlib.import_module(source.module)
    known = named_structs(module)
    _, components = msgspec.json.schema_components(structs(module), ref_template="#/$defs/{name}")
    for name, component in components.items():
        if name in known:
            describe(component, known[name])
    for name in source.unions:
        members = [{"$ref": f"#/$defs/{member.__name__}"} for member in get_args(getattr(module, name))]
        components[name] = {"title": name, "anyOf": members}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": source.title,
        "description": source.description,
        "$comment": "Generated by packaging/generate_schemas.py; do not edit.",
        **({"protocolVersion": module.PROTOCOL_VERSION} if hasattr(module, "METHODS") else {}),
        **({"methods": table} if (table := methods(module)) else {}),
        **({"documents": printed} if (printed := documents(module)) else {}),
        **({"errors": kinds} if (kinds := error_table(module)) else {}),
        "$defs": dict(sorted(components.items())),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def stale() -> dict[Path, str]:
    """The files whose text is not what the structs say, with the text that they should have."""
    wanted = {SCHEMAS / source.file: render(source) for source in SOURCES}
    return {path: text for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text}


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is not current")
    arguments = parser.parse_args()
    SCHEMAS.mkdir(exist_ok=True)
    for path, text in stale().items():
        if arguments.check:
            print(f"not current: {path.relative_to(ROOT)}; run `make schemas`")
            continue
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 1 if arguments.check and stale() else 0


if __name__ == "__main__":
    sys.exit(main())
