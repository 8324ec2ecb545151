"""Extensions in a folder of their own, installed from packages as users install them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.vscode.installation import EXTENSION, ROOT, VSIX, node
from support.vscode.server import install

BARE = ROOT / "tests" / "vscode" / "bare_extension"
WITNESS = ROOT / "tests" / "vscode" / "witness_extension"
BUILD_S = 120.0


def install_ours(folder: Path, package: Path = VSIX) -> Path:
    """The extension as it is shipped."""
    install(package, folder)
    return folder


def install_bare(folder: Path) -> Path:
    """The peer, bundled with the same language client by the same tools."""
    return _install_built(BARE, folder)


def install_witness(folder: Path) -> Path:
    """An extension that watches what the extension host connects to."""
    return _install_built(WITNESS, folder)


def _install_built(extension: Path, folder: Path) -> Path:
    source = folder.with_name(f"{extension.name}-source")
    source.mkdir(parents=True)
    for name in ("package.json", "extension.js"):
        (source / name).write_bytes((extension / name).read_bytes())
    modules = EXTENSION / "node_modules"
    bundle = ["--bundle", "--platform=node", "--format=cjs", "--external:vscode", "--outfile=dist/extension.js"]
    _run([modules / "esbuild" / "bin" / "esbuild", "extension.js", *bundle], source, NODE_PATH=str(modules))
    package = source / "packed.vsix"
    unquestioned = ["--no-dependencies", "--allow-missing-repository", "--skip-license"]
    _run([node(), modules / "@vscode" / "vsce" / "vsce", "package", *unquestioned, "--out", package], source)
    install(package, folder)
    return folder


def pack(package: Path, binary: Path | None = None, **environ: str) -> Path:
    """Make the ``.vsix`` from the bundles that are there, with this folder of the program inside."""
    carried = () if binary is None else ("--binary", binary)
    _run([node(), "vsix.mjs", *carried, "--out", package], EXTENSION, **environ)
    return package


def _run(command: list[str | Path], folder: Path, **environ: str) -> None:
    programs = os.pathsep.join((str(Path(sys.executable).parent), "/usr/bin", "/bin"))
    answer = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": programs, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
