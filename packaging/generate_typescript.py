"""Write the extension's ``protocol.ts`` from ``schemas/lsp.json`` (``make schemas``); ``--check`` writes nothing.

The extension then cannot disagree with the daemon about a field's name or type without the compiler noticing. What the
daemon sends has every field; what it is sent may lack those that have a default.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "schemas" / "lsp.json"
OUTPUT = ROOT / "vscode-extension" / "src" / "protocol.ts"

WIDTH = 120
HEAD = """\
/**
 * What editor and daemon say beyond the LSP; schemas/PROTOCOL.md is the specification. Times are milliseconds, sizes
 * bytes, counts of text tokens unless the name says otherwise.
 *
 * Generated from schemas/lsp.json by `make schemas`; do not edit.
 */
"""
SENT_IN_PASSING = ("StreamValue",)
"""What the daemon sends inside messages of the LSP."""

Schema = dict[str, Any]


def comment(text: str, indent: str = "") -> str:
    """A TSDoc comment; empty for no text."""
    if not text:
        return ""
    text = text.replace("``", "`").replace("*/", "*\\/")
    one_line = f"{indent}/** {text} */"
    if len(one_line) <= WIDTH:
        return one_line + "\n"
    lines = textwrap.wrap(text, WIDTH - len(indent) - 3, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f"{indent}/**", *(f"{indent} * {line}" for line in lines), f"{indent} */", ""])


def references(node: Any) -> Iterator[str]:
    """The names of the definitions that a schema leads to directly."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def reachable(roots: set[str], definitions: Mapping[str, Schema]) -> set[str]:
    """These definitions and all that they lead to."""
    found: set[str] = set()
    waiting = set(roots)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= set(references(definitions[name])) - found
    return found


def sent_by_daemon(document: Schema) -> set[str]:
    """The definitions of what the daemon sends.

    Raises
    ------
    ValueError
        A struct with defaults travels both ways: whether its fields may be missing could not be said.
    """
    theirs: set[str] = set()
    ours: set[str] = set(SENT_IN_PASSING)
    for method in document["methods"].values():
        (ours if method["sender"] == "server" else theirs).update(references(method["params"]))
        ours.update(references(method.get("result", {})))
    definitions = document["$defs"]
    sent = reachable(ours, definitions)
    for name in sorted(sent & reachable(theirs, definitions)):
        if set(definitions[name].get("properties", {})) != set(definitions[name].get("required", ())):
            raise ValueError(f"{name} has defaults and travels both ways")
    return sent


PLAIN = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


def type_of(node: Schema) -> str:
    """A schema as a TypeScript type."""
    match node:
        case {"$ref": str() as reference}:
            found = reference.rpartition("/")[2]
        case {"anyOf": list() as choices}:
            found = " | ".join(dict.fromkeys(type_of(choice) for choice in choices))
        case {"enum": list() as values}:
            found = " | ".join(f"'{value}'" for value in values)
        case {"type": "array"}:
            item = type_of(node.get("items", {}))
            found = f"({item})[]" if " | " in item else f"{item}[]"
        case {"type": "object"}:
            found = f"{{ [key: string]: {type_of(node.get('additionalProperties', {}))} }}"
        case {"type": str() as plain}:
            found = PLAIN[plain]
        case _:
            found = "unknown"
    return found


def interface(name: str, definition: Schema, *, is_whole: bool) -> str:
    """One struct; with ``is_whole`` no field may be missing."""
    text = comment(definition.get("description", ""))
    fields = definition.get("properties", {})
    if not fields:
        return f"{text}export type {name} = Record<string, never>;\n"
    required = set(definition.get("required", ()))
    lines = [f"{text}export interface {name} {{\n"]
    for field, schema in fields.items():
        mark = "" if is_whole or field in required else "?"
        lines.append(comment(schema.get("description", ""), "  "))
        lines.append(declaration(f"  {field}{mark}:", type_of(schema)))
    return "".join([*lines, "}\n"])


def declaration(left: str, kind: str) -> str:
    """A field; a union that does not fit the line gets a line for each choice."""
    line = f"{left} {kind};\n"
    if len(line) <= WIDTH + 1:
        return line
    return "\n".join([left, *(f"    | {choice}" for choice in kind.split(" | "))]) + ";\n"


def method_table(title: str, text: str, methods: Mapping[str, Schema], *, is_request: bool) -> str:
    """An interface from method names to what they carry."""
    lines = [comment(text), f"export interface {title} {{\n"]
    for name, method in methods.items():
        params = type_of(method["params"])
        value = f"{{ params: {params}; result: {type_of(method['result'])} }}" if is_request else params
        lines.append(f"  '{name}': {value};\n")
    return "".join([*lines, "}\n"])


def error_table(errors: Mapping[str, Schema]) -> str:
    """The codes by kind, and what `error.data` holds."""
    lines = [comment("The code of every kind of error."), "export const errorCodes = {\n"]
    for kind, error in errors.items():
        lines.append(comment(error["description"], "  "))
        lines.append(f"  {kind}: {error['code']},\n")
    lines.append("} as const;\n\n")
    lines.append(comment("What `error.data.kind` may be; a newer daemon may have others."))
    lines.append("export type ErrorKind = keyof typeof errorCodes;\n\n")
    lines.append(
        comment("The `data` of an error that the daemon raised on purpose; some kinds add fields of their own.")
    )
    lines.append("export interface ErrorData {\n  kind: ErrorKind;\n")
    lines.append(comment("Whether the same request may succeed later without being changed.", "  "))
    lines.append("  retryable: boolean;\n")
    lines.append(comment("When to try again, of the kinds that know it.", "  "))
    lines.append("  retryAfterMs?: number;\n}\n")
    return "".join(lines)


def render(document: Schema) -> str:
    """The text of the whole file."""
    sent = sent_by_daemon(document)
    chosen = {
        (sender, kind): {
            name: method
            for name, method in document["methods"].items()
            if (method["sender"], method["kind"]) == (sender, kind)
        }
        for sender in ("client", "server")
        for kind in ("request", "notification")
    }
    if chosen["server", "request"]:
        raise ValueError("the daemon sends requests of its own: give them a table")
    parts = [
        HEAD,
        comment("What a daemon tells as `capabilities.experimental.botframework.protocolVersion`.")
        + f"export const protocolVersion = {document['protocolVersion']};\n",
        method_table("Requests", "Requests to the daemon.", chosen["client", "request"], is_request=True),
        method_table(
            "Notifications", "Notifications to the daemon.", chosen["client", "notification"], is_request=False
        ),
        method_table(
            "DaemonNotifications", "Notifications from the daemon.", chosen["server", "notification"], is_request=False
        ),
        error_table(document["errors"]),
        *(interface(name, schema, is_whole=name in sent) for name, schema in sorted(document["$defs"].items())),
    ]
    return "\n".join(parts)


def stale() -> str | None:
    """The text that the file should have, if it has another."""
    wanted = render(json.loads(SCHEMA.read_text(encoding="utf-8")))
    found = OUTPUT.read_text(encoding="utf-8") if OUTPUT.exists() else None
    return None if found == wanted else wanted


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the file is not current")
    check = parser.parse_args().check
    wanted = stale()
    if wanted is None:
        return 0
    shown = OUTPUT.relative_to(ROOT)
    if check:
        print(f"not current: {shown}; run `make schemas`")
        return 1
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(wanted, encoding="utf-8")
    print(f"wrote {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
