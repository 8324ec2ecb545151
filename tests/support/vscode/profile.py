"""The folders and settings of one VS Code: a clean home, so that nothing of a test reaches the next, nor the user's."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support.vscode.installation import DAEMON

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

QUIET_SETTINGS: dict[str, Any] = {
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "extensions.autoUpdate": False,
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "workbench.startupEditor": "none",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.tips.enabled": False,
    # VS Code's own assistant. Inline completion of other extensions still works.
    "chat.disableAIFeatures": True,
    # The list of words would hide the ghost text.
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.wordBasedSuggestions": "off",
    "editor.parameterHints.enabled": False,
    # What a test types shall stand in the file as it was typed.
    "editor.autoClosingBrackets": "never",
    "editor.autoClosingQuotes": "never",
    "editor.autoIndent": "none",
    "editor.cursorBlinking": "solid",
    "editor.minimap.enabled": False,
    "editor.accessibilitySupport": "off",
    "files.autoSave": "off",
    "git.enabled": False,
    "security.workspace.trust.startupPrompt": "never",
    "security.workspace.trust.banner": "never",
    "window.title": "${activeEditorShort}${separator}${rootName}",
}
"""What keeps VS Code silent, still and offline."""
OUR_SETTINGS: dict[str, Any] = {
    # Greedy and at once: a test that types waits for no rhythm.
    "botframework.completion.debounceMs": 0,
    "botframework.completion.deadlineMs": 10_000,
}


SYSTEM_PATH = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin"))


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that one VS Code writes."""

    folder: Path
    """Short, since names of UNIX sockets hold 108 bytes."""
    carries_daemon: bool = False
    """Whether the extension brings its daemon: then no setting names one, and the PATH leads to no program at all."""

    @classmethod
    def make(cls, *, carries_daemon: bool = False) -> Self:
        """Empty folders."""
        profile = cls(Path(tempfile.mkdtemp(prefix="bf-")), carries_daemon)
        for folder in (
            profile.workspace,
            profile.runtime,
            profile.home,
            profile.no_programs,
            profile.data / "User",
            profile.data / "Machine",
        ):
            folder.mkdir(parents=True)
        profile.runtime.chmod(0o700)
        return profile

    @property
    def workspace(self) -> Path:
        """What the window opens."""
        return self.folder / "work"

    @property
    def runtime(self) -> Path:
        """Of the daemon; the mark by which its processes are found."""
        return self.folder / "run"

    @property
    def home(self) -> Path:
        """Instead of the user's."""
        return self.folder / "home"

    @property
    def data(self) -> Path:
        """VS Code's user data."""
        return self.folder / "data"

    @property
    def no_programs(self) -> Path:
        """An empty folder, for a PATH that leads nowhere."""
        return self.folder / "bin"

    def write_files(self, files: Mapping[str, str | bytes]) -> None:
        """Put files into the workspace."""
        for name, content in files.items():
            path = self.workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Set the user's settings; None takes one away.

        A browser's window reads the settings of machine scope from another file than the user's others, the one that VS
        Code calls remote settings, so both get all of them.
        """
        daemon = {} if self.carries_daemon else {"botframework.path": str(DAEMON)}
        merged = {**QUIET_SETTINGS, **OUR_SETTINGS, **daemon, **settings}
        text = json.dumps({key: value for key, value in merged.items() if value is not None}, indent=2)
        for name in ("User", "Machine"):
            written = self.data / name / "new.json"
            written.write_text(text, encoding="utf-8")
            written.replace(self.data / name / "settings.json")

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Of the server and all that it starts: the system's programs, and nothing of whoever runs the tests.

        ``$WORKSPACE`` in a value of ``more`` stands for the folder.
        """
        own = {
            "HOME": str(self.home),
            "PATH": str(self.no_programs) if self.carries_daemon else SYSTEM_PATH,
            "LANG": "C.UTF-8",
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "share"),
            "XDG_RUNTIME_DIR": str(self.home),
            "TMPDIR": str(self.home),
            "BOTFRAMEWORK_RUNTIME_DIR": str(self.runtime),
            "EXTENSIONS_GALLERY": '{"serviceUrl":""}',
        }
        return own | {name: value.replace("$WORKSPACE", str(self.workspace)) for name, value in more.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
