"""The bill of materials lists what is inside and nothing else; `tests/frozen` looks at that of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.binary_scripts import script

if TYPE_CHECKING:
    from types import ModuleType

RULE = "-" * 80


@pytest.fixture
def sbom() -> ModuleType:
    """The script."""
    return script("sbom")


def bill(*names: str) -> dict[str, Any]:
    """One as the tools make it, each component needing the next."""
    refs = [f"{name}==1" for name in names]
    return {
        "metadata": {"component": {"bom-ref": "root"}, "timestamp": "now"},
        "serialNumber": "urn:uuid:1",
        "components": [{"name": name, "version": "1", "bom-ref": ref} for name, ref in zip(names, refs, strict=True)],
        "dependencies": [
            {"ref": "root", "dependsOn": refs},
            *({"ref": ref, "dependsOn": [after]} for ref, after in zip(refs, [*refs[1:], "root"], strict=True)),
        ],
    }


def test_what_is_not_inside_leaves_no_trace(sbom: ModuleType) -> None:
    """Neither as a component nor as something that another one needs."""
    kept = sbom.only(bill("inside", "tool"), lambda component: component["name"] == "inside")

    assert [component["name"] for component in kept["components"]] == ["inside"]
    assert kept["dependencies"] == [{"ref": "root", "dependsOn": ["inside==1"]}, {"ref": "inside==1", "dependsOn": []}]
    assert "tool" not in str(kept)


def test_what_is_added_is_needed_by_the_program(sbom: ModuleType) -> None:
    """llama.cpp and the like hang on the program itself."""
    made = bill("library")
    sbom.add_dependencies(made, ["llama.cpp@1"])

    assert made["dependencies"][0] == {"ref": "root", "dependsOn": ["library==1", "llama.cpp@1"]}
    assert made["dependencies"][-1] == {"ref": "llama.cpp@1"}


def test_nothing_in_it_depends_on_the_day(sbom: ModuleType) -> None:
    """Two builds of the same parts have the same bill: no time, no number, no folder, one order."""
    made = bill("zebra", "Apple")
    made["components"][0]["externalReferences"] = [{"url": "file:///build/x"}, {"url": "https://example.org/x"}]
    made["components"][1]["properties"] = [{"name": "path", "value": "/build"}]
    sbom._settle(made, "botframework")

    assert [component["name"] for component in made["components"]] == ["Apple", "zebra"]
    assert made["components"][1]["externalReferences"] == [{"url": "https://example.org/x"}]
    assert "timestamp" not in made["metadata"]
    assert "serialNumber" not in made
    assert "/build" not in str(made)


def test_what_the_extension_bundles(sbom: ModuleType) -> None:
    """Its notices name every package with its version; a text that looks like a heading is none."""
    text = f"one 1.0.0 (MIT)\n\nthe text 2 (b)\n\n{RULE}\n\n@scope/two 2.0.0-beta.1 ((MIT OR CC0-1.0))\n\nthe text\n"

    assert sbom.read_notices(text) == [("one", "1.0.0"), ("@scope/two", "2.0.0-beta.1")]
    with pytest.raises(SystemExit, match=r"not as esbuild\.mjs writes it"):
        sbom.read_notices("something else")
