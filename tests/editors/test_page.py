"""The page itself: what stands on it can be read by machines, and its figures and links are true."""

from __future__ import annotations

import ast
import json
import re
import tomllib

import pytest

from editors.page import PAGE, ROOT, blocks

TEXT = PAGE.read_text("utf-8")
READERS = {"json": json.loads, "toml": tomllib.loads}


def test_every_configuration_has_a_name() -> None:
    """A block without a name would be run by no test."""
    fences = re.findall(r"^```([a-z]+)$", TEXT, re.MULTILINE)

    assert [found.language for found in blocks()] == fences
    assert len({found.name for found in blocks()}) == len(fences)


@pytest.mark.parametrize("name", [found.name for found in blocks() if found.language in READERS])
def test_well_formed(name: str) -> None:
    """JSON is JSON, without comments, and TOML is TOML."""
    (found,) = (one for one in blocks() if one.name == name)

    assert READERS[found.language](found.text)


def test_every_configuration_is_used() -> None:
    """Each name occurs in a test; what no test can run is listed here."""
    never_run = {"neovim-ghost-text", "lsp-mode-ghost-text", "coc-tab", "zed-extension", "zed-cargo", "zed-rust"}
    words: set[str] = set()
    for file in (ROOT / "tests" / "editors").glob("test_*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        words |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }

    assert {found.name for found in blocks()} <= words | never_run


def test_links_lead_somewhere() -> None:
    """Files that the page points to exist, and so do its own headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT)

    assert targets
    for target in targets:
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists() if path else anchor in anchors, target
