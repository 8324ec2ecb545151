"""Write the daemon's settings into the extension's package.json (``make schemas``).

The first part of ``contributes.configuration`` is the extension's own and written by hand; this writes the parts behind
it: names, types, limits, defaults and descriptions come from ``config/settings.py``. All of them are closed to
workspaces that the user does not trust. With ``--check`` nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import msgspec

from generate_tables import PACKAGE, ROOT, field_docs

MANIFEST = ROOT / "vscode-extension" / "package.json"
SECTION = "botframework"
NOT_OFFERED = frozenset({"workspaceTrusted"})
"""The extension says it itself."""
KEPT = ("type", "enum", "minimum", "maximum", "maxLength")
"""Of a schema; VS Code checks these while somebody writes settings.json, and the extension before it sends a value."""
FIRST_ORDER = 3
"""Of `model`, which stands among the extension's own settings, between the places of the daemon and `enable`."""


def parts() -> list[dict[str, Any]]:
    """The parts of ``contributes.configuration`` that belong to the daemon."""
    from botframework.config.settings import MACHINE_SETTINGS, Settings

    docs = field_docs(PACKAGE / "config" / "settings.py")
    schema = msgspec.json.schema(Settings)["$defs"]
    plain: dict[str, Any] = {}
    groups: list[dict[str, Any]] = []
    for field in msgspec.structs.fields(Settings):
        group = field.type if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct) else None
        struct = group or Settings
        properties: dict[str, Any] = {}
        for leaf in msgspec.structs.fields(group) if group else (field,):
            key = f"{field.encode_name}.{leaf.encode_name}" if group else leaf.encode_name
            if key in NOT_OFFERED:
                continue
            properties[f"{SECTION}.{key}"] = {
                **value_schema(schema[struct.__name__]["properties"][leaf.encode_name]),
                "scope": "machine" if key.startswith(MACHINE_SETTINGS) else "window",
                "markdownDescription": docs[struct.__name__].get(leaf.name, "").replace("\\|", "|"),
            }
        if group is None:
            plain |= properties
        else:
            groups.append({"title": field.encode_name.capitalize(), "properties": properties})
    plain[f"{SECTION}.model"]["order"] = FIRST_ORDER
    return [{"title": "Daemon", "properties": plain}, *groups]


def value_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """One setting's schema as VS Code's editor of settings understands it."""
    if "anyOf" not in schema:
        found = {key: whole(schema[key]) for key in KEPT if key in schema}
        if "enum" in found:
            found["type"] = "string"
        return {**found, "default": whole(schema["default"])}
    (inner,) = (part for part in schema["anyOf"] if part.get("type") != "null")
    found = value_schema({**inner, "default": None})
    if found["type"] == "string":
        # The editor of settings has a box for a text, none for "text or null"; the extension sends no empty one.
        return {**found, "default": ""}
    return {**found, "type": [found["type"], "null"]}


def whole(value: Any) -> Any:
    """Numbers as npm writes them when it rewrites the manifest: 2, not 2.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def render() -> str:
    """The manifest with current settings."""
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    own, *_ = manifest["contributes"]["configuration"]
    configuration = [own, *parts()]
    manifest["contributes"]["configuration"] = configuration
    names = [name for part in configuration for name in part["properties"]]
    # VS Code then shows in its editor of settings what an untrusted workspace says, and that nobody listens.
    manifest["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] = names
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if it is not current")
    check = parser.parse_args().check
    wanted = render()
    if wanted == MANIFEST.read_text(encoding="utf-8"):
        return 0
    if check:
        print("the settings in vscode-extension/package.json are not current; run `make schemas`")
        return 1
    MANIFEST.write_text(wanted, encoding="utf-8")
    print("wrote the settings in vscode-extension/package.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
