"""From which sources a binary was made: what ``build.json`` inside it says."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLDEST_TIME = 315_532_800
"""1980-01-01: what an archive without a commit is dated; zip knows no earlier year."""


def fingerprint(root: Path = ROOT) -> str:
    """SHA-256 of everything that ends up in the program, and of what decides how."""
    digest = hashlib.sha256()
    files = [
        path
        for folder in ("daemon", "packaging/binary", "schemas")
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]
    for path in sorted([*files, root / "uv.lock"]):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def commit() -> tuple[str, int]:
    """HEAD, with ``-dirty`` behind it if the tree differs, and its time in seconds; ("", `OLDEST_TIME`) without git."""
    try:
        head, time = _git("show", "--no-patch", "--format=%H %ct", "HEAD").split()
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError, ValueError):
        return "", OLDEST_TIME
    return head + ("-dirty" if changed else ""), int(time)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
