"""Put a real VS Code for the browser suite into ``.tools/vscode``; ``make vscode`` runs it.

The code-server that `tests/vscode/package-lock.json` pins comes from npm, by the Node.js of the environment, and no
script of any package is run. It carries VS Code, whose own dependencies npm then installs by the lock that lies beside
them; ``npm ci`` refuses that lock (it names another tslib than its package.json), hence ``npm install``. Some 620 MB on
the disk, 20 to 60 seconds. Nothing to do when it was made from the present lock: a stamp tells.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tests" / "vscode"
TARGET = ROOT / ".tools" / "vscode"
STAMP = TARGET / "stamp"
LOG = ROOT / ".tools" / "code-server.log"
VSCODE = TARGET / "node_modules" / "code-server" / "lib" / "vscode"
STEPS = (
    ("code-server and axe-core", TARGET, ("ci",)),
    ("VS Code's own dependencies", VSCODE, ("install", "--omit=dev")),
    ("those of its built-in extensions", VSCODE / "extensions", ("install", "--omit=dev")),
)
"""What, where, and with which command of npm."""
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
STEP_DEADLINE_S = 900
"""A step takes seconds; a registry may be slow."""
LOG_TAIL_CHARS = 4_000


def say(message: str) -> None:
    """Report a step."""
    print(f"code-server: {message}", file=sys.stderr, flush=True)


def fingerprint() -> str:
    """What the installation depends on."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name in ("package.json", "package-lock.json"):
        digest.update((PINS / name).read_bytes())
    return digest.hexdigest()


def is_current() -> bool:
    """Whether the installation was made from what is checked out now."""
    try:
        return STAMP.read_text(encoding="utf-8").strip() == fingerprint()
    except OSError:
        return False


def npm(folder: Path, arguments: tuple[str, ...]) -> None:
    """Run npm there; end with what it said if it fails."""
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [str(programs / "npm"), *arguments, *QUIET]
    with LOG.open("a", encoding="utf-8") as log:
        try:
            subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=STEP_DEADLINE_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = LOG.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:]
            say(f"npm failed ({error}); behind a proxy set HTTPS_PROXY, with a mirror npm_config_registry.\n{said}")
            raise SystemExit(1) from None


def main() -> int:
    """Bring ``.tools/vscode`` up to date."""
    if is_current():
        return 0
    say(f"installing into {TARGET.relative_to(ROOT)} (620 MB, once; later runs find it ready)")
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    LOG.unlink(missing_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name, TARGET)
    started = time.monotonic()
    for what, folder, arguments in STEPS:
        say(f"{time.monotonic() - started:3.0f} s  {what} …")
        npm(folder, arguments)
    STAMP.write_text(fingerprint() + "\n", encoding="utf-8")
    say(f"{time.monotonic() - started:3.0f} s  ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
