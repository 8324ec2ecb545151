"""The published protocol is the one that the code speaks."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from lsprotocol import types

from botframework import errors, process
from botframework.lsp import framing
from botframework.lsp.filters import Reason, Source
from botframework.lsp.messages import METHODS
from botframework.manager.status import State
from botframework.wire import messages as wire
from support.source_tree import modules

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
PROTOCOL = (ROOT / "schemas" / "PROTOCOL.md").read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    """A script of ``packaging/`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "packaging" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Its dataclasses look themselves up there.
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script behind `make schemas`."""
    return script("generate_schemas")


@pytest.fixture(scope="module")
def typescript() -> ModuleType:
    """The script that writes the extension's types."""
    return script("generate_typescript")


@pytest.fixture(scope="module")
def editor_schema() -> dict[str, Any]:
    """The published schema between editor and daemon."""
    return dict(json.loads((ROOT / "schemas" / "lsp.json").read_text(encoding="utf-8")))


def sections() -> dict[str, str]:
    """The headings of PROTOCOL.md that name a method, and the text under each."""
    found = re.findall(r"^### `([^`]+)`\n(.*?)(?=^#|\Z)", PROTOCOL, re.MULTILINE | re.DOTALL)
    return dict(found)


def interfaces() -> dict[str, dict[str, str]]:
    """Every TypeScript interface of PROTOCOL.md with its own fields."""
    found = {}
    for name, body in re.findall(r"^interface (\w+)[^{]*\{\n(.*?)^\}", PROTOCOL, re.MULTILINE | re.DOTALL):
        found[name] = dict(re.findall(r"^  (\w+)\??: (.+);$", body, re.MULTILINE))
    return found


def test_schemas_are_current(generator: ModuleType) -> None:
    """The files in ``schemas/`` are what the structs say now; `make schemas` writes them."""
    assert [path.name for path in generator.stale()] == []


def test_schemas_are_closed(generator: ModuleType) -> None:
    """Every reference in a schema leads to a definition in the same file."""
    for source in generator.SOURCES:
        document = json.loads(generator.render(source))
        wanted = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(document)))

        assert wanted <= set(document["$defs"])


def test_the_types_of_the_extension_are_current(typescript: ModuleType) -> None:
    """``protocol.ts`` is what the schema says now; `make schemas` writes it."""
    assert typescript.stale() is None


def test_what_the_daemon_sends_has_every_field(typescript: ModuleType, editor_schema: dict[str, Any]) -> None:
    """A field with a default may be left out by the client only; the daemon always writes it."""
    definitions = editor_schema["$defs"]
    snapshot = typescript.interface("Snapshot", definitions["Snapshot"], is_whole=True)
    sampling = typescript.interface("Sampling", definitions["Sampling"], is_whole=False)

    assert {"Snapshot", "StreamValue", "EditResult", "TextEdit", "ModelEntry"} <= typescript.sent_by_daemon(
        editor_schema
    )
    assert "Sampling" not in typescript.sent_by_daemon(editor_schema)
    assert "  modelName: string;" in snapshot
    assert "?:" not in snapshot
    assert "  seed?: number | null;" in sampling


def test_a_struct_with_defaults_travels_one_way(typescript: ModuleType, editor_schema: dict[str, Any]) -> None:
    """Or one type could not describe it: the generator refuses."""
    methods = editor_schema["methods"] | {
        "botframework/both": {"sender": "server", "kind": "notification", "params": {"$ref": "#/$defs/Sampling"}}
    }
    with pytest.raises(ValueError, match="Sampling has defaults"):
        typescript.sent_by_daemon(editor_schema | {"methods": methods})


def test_types_and_comments(typescript: ModuleType) -> None:
    """Every kind of schema has its TypeScript, and a long text is broken into lines that fit."""
    text = {"type": "string"}
    kinds = [
        {"anyOf": [{"type": "integer"}, text, {"type": "null"}]},
        {"type": "array", "items": {"anyOf": [text, {"type": "null"}]}},
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"enum": ["a", "b"]},
        {"$ref": "#/$defs/Range"},
        {},
    ]

    assert [typescript.type_of(kind) for kind in kinds] == [
        "number | string | null",
        "(string | null)[]",
        "{ [key: string]: number }",
        "'a' | 'b'",
        "Range",
        "unknown",
    ]
    assert typescript.comment("``x`` */ y") == "/** `x` *\\/ y */\n"
    assert max(len(line) for line in typescript.comment("word " * 100, "  ").splitlines()) <= 120


def test_every_own_method_is_documented() -> None:
    """PROTOCOL.md has a section for each method beyond the LSP, and for no other."""
    written = set(sections()) - set(types.METHOD_TO_TYPES)

    assert written == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_section_names_sender_and_structs(name: str) -> None:
    """A method's section says who sends it, whether it is answered, and with which structs."""
    method, text = METHODS[name], sections()[name]
    direction = "client to server" if method.sender == "client" else "server to client"

    assert f"*{method.kind.capitalize()}, {direction}.*" in text
    for struct in (method.params, method.result):
        if struct is not None and struct.__struct_fields__:
            fields = set(struct.__struct_encode_fields__)
            assert f"`{struct.__name__}`" in text or all(f"{field}:" in text for field in fields)


def test_interfaces_have_the_fields_of_their_structs(generator: ModuleType) -> None:
    """An interface block lists exactly the fields that its struct has, inherited ones where it says so."""
    document = json.loads(generator.render(generator.SOURCES[0]))
    written = interfaces()
    for child, parent in re.findall(r"^interface (\w+) extends (\w+)", PROTOCOL, re.MULTILINE):
        written[child] = written[parent] | written[child]
    differing = {
        name: set(fields) ^ set(document["$defs"][name]["properties"])
        for name, fields in written.items()
        if name in document["$defs"]
    }

    assert {name: fields for name, fields in differing.items() if fields} == {}
    assert {"Snapshot", "Usage", "Timings", "Sampling", "ChatParams", "ModelReady", "InspectResult"} <= set(written)


def test_every_reason_is_documented() -> None:
    """The table of reasons has every one that inspect may give, in the order of the code."""
    table = sections()["botframework/inspect"]
    written = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)

    assert written == [reason for reason in get_args(Reason) if reason]
    assert all(f"'{source}'" in table for source in get_args(Source))


def test_unions_list_every_value() -> None:
    """A field that takes one of several words is documented with all of them."""
    for name, values in {"state": State, "finishReason": wire.FinishReason, "where": wire.Whereabouts}.items():
        (written,) = re.findall(rf"^  {name}: ('.+');$", PROTOCOL, re.MULTILINE)

        assert re.findall(r"'(\w+)'", written) == list(get_args(values))


def test_documented_methods_are_bound() -> None:
    """Each method that a client may call and PROTOCOL.md describes is bound in the server, and no unknown one is."""
    server = next(module for module in modules() if module.path.as_posix() == "lsp/server.py")
    names = {node.value for node in ast.walk(server.tree) if isinstance(node, ast.Constant)}
    features = {node.attr for node in ast.walk(server.tree) if isinstance(node, ast.Attribute)}

    assert {method.name for method in METHODS.values() if method.sender == "client"} <= names
    assert {"INITIALIZE", "TEXT_DOCUMENT_INLINE_COMPLETION", "WORKSPACE_EXECUTE_COMMAND"} <= features
    assert {"initialize", "textDocument/inlineCompletion", "workspace/executeCommand"} <= set(sections())
    assert {name for name in names if str(name).startswith(("botframework/", "$/botframework/"))} <= set(METHODS)


def all_errors(cls: type[errors.BotframeworkError] = errors.BotframeworkError) -> list[type[errors.BotframeworkError]]:
    """Every error class below the root."""
    return [leaf for sub in cls.__subclasses__() for leaf in (sub, *all_errors(sub))]


def test_error_table_is_the_error_tree() -> None:
    """PROTOCOL.md lists every error with its code and whether it may be tried again."""
    written = re.findall(r"^\| (\w+) \| (-\d+) \| (yes|no) \|", PROTOCOL, re.MULTILINE)
    raised = {
        (cls.__name__, str(cls.code), "yes" if cls.retryable else "no")
        for cls in all_errors()
        if cls.__module__ == errors.__name__
    }

    assert set(written) == raised


def test_exit_codes_are_those_of_the_process() -> None:
    """The table of exit codes has every code that the daemon ends with on purpose."""
    table = PROTOCOL.split("### Exit codes")[1].split("## ")[0]
    written = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}

    assert written == {0, 1, 2, process.EXIT_PARENT_GONE, process.EXIT_PIPE_BROKEN, process.EXIT_LAST_RESORT}
    assert f"{process.EXIT_SIGNAL} + n" in table
    assert f"within {process.LAST_RESORT_S:.0f} s" in table


def test_framing_limits_are_those_of_the_parser() -> None:
    """The base protocol's limits stand in PROTOCOL.md as they are in the code."""
    assert f"| header block | {framing.MAX_HEADER >> 10} KiB |" in PROTOCOL
    assert f"| message body | {framing.MAX_BODY >> 20} MiB |" in PROTOCOL
    assert f"| announced length | {framing.ABSURD_BODY >> 30} GiB |" in PROTOCOL
