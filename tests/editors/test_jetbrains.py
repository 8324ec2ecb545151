"""The template for LSP4IJ: what it holds is what LSP4IJ reads (`test_launch` starts what it names)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from editors.page import JETBRAINS

# LanguageServerTemplateManager takes these files out of the folder and leaves all others alone.
FILES = {
    "template.json",
    "settings.json",
    "settings.schema.json",
    "initializationOptions.json",
    "experimental.json",
    "clientSettings.json",
    "installer.json",
    "README.md",
}
# ServerTemplateJsonDeserializer and LanguageServerTemplateDeserializer read these names.
TEMPLATE_KEYS = {
    "id",
    "name",
    "dev",
    "url",
    "programArgs",
    "env",
    "languageMappings",
    "fileTypeMappings",
    "expandConfiguration",
    "disablePromotionFor",
}
SYSTEMS = {"windows", "mac", "unix", "default"}


def read(name: str) -> Any:
    """One file of the template."""
    return json.loads((JETBRAINS / name).read_text("utf-8"))


def test_only_files_that_are_imported() -> None:
    """A file under another name would be left behind by the import without a word."""
    assert {"template.json", "README.md"} <= {file.name for file in JETBRAINS.iterdir()} <= FILES


@pytest.mark.parametrize("name", ["template", "settings", "initializationOptions", "clientSettings"])
def test_well_formed(name: str) -> None:
    """Each is one JSON object."""
    assert isinstance(read(f"{name}.json"), dict)


def test_template_has_the_keys_that_are_read() -> None:
    """A misspelt key is ignored by the import, a missing one ends it with an exception."""
    template = read("template.json")

    assert {"id", "name", "programArgs", "fileTypeMappings"} <= template.keys() <= TEMPLATE_KEYS
    assert "default" in template["programArgs"].keys() <= SYSTEMS
    for mapping in template["fileTypeMappings"]:
        assert mapping.keys() == {"fileType", "languageId"}
        assert {"patterns"} <= mapping["fileType"].keys() <= {"name", "patterns"}


def test_windows_starts_the_same_program() -> None:
    """The same program and arguments, without a shell that Windows has not."""
    commands = read("template.json")["programArgs"]

    assert commands["windows"] == "botframework.exe --stdio"
    assert "botframework --stdio" in commands["default"]
