"""The extension's settings are the daemon's."""

from __future__ import annotations

import json
import subprocess
import sys

from botframework.config.settings import MACHINE_SETTINGS
from support.source_tree import ROOT

MANIFEST = ROOT / "vscode-extension" / "package.json"


def test_settings_are_current() -> None:
    """Names, types, limits, defaults and descriptions in package.json are the code's; `make schemas` writes them."""
    script = ROOT / "packaging" / "generate_vscode_settings.py"
    ran = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=30, check=False)

    assert (ran.returncode, ran.stdout) == (0, "")


def test_no_workspace_can_set_what_belongs_to_the_machine() -> None:
    """VS Code itself refuses such a setting in a workspace's settings.json, trusted or not."""
    parts = json.loads(MANIFEST.read_text(encoding="utf-8"))["contributes"]["configuration"]
    scopes = {name: each["scope"] for part in parts for name, each in part["properties"].items()}
    belonging = ("path", "interpreter", *MACHINE_SETTINGS)
    machine = {name for name in scopes if name.removeprefix("botframework.").startswith(belonging)}

    assert machine
    assert {scopes[name] for name in machine} == {"machine"}
