"""Make the binary, from nothing but a Python and a C++ compiler: ``make binary``.

1. an environment of its own, ``build/binary/<variant>/venv``, by the pinned uv and ``uv.lock``; in it llama.cpp is
   compiled as `variants` says, once;
2. PyInstaller makes one folder and one file from ``botframework.spec``;
3. both are started in an empty environment, where they say their version;
4. they replace what was in ``dist/``: ``botframework/`` and ``onefile/botframework``, with licences and bill of
   materials beside them. If anything fails before, ``dist/`` stays as it was.

Run on Linux x86-64; the macOS and Windows branches are written with care and were never run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGING = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PACKAGING), str(PACKAGING / "binary")]

import sources  # noqa: E402 - packaging is no package
from variants import VARIANTS, Variant  # noqa: E402

import bootstrap  # noqa: E402

ROOT = PACKAGING.parent
BUILD = ROOT / "build" / "binary"
DIST = ROOT / "dist"
PROGRAM = "botframework.exe" if os.name == "nt" else "botframework"

COMPILE_NOTE = "llama.cpp is compiled for every generation of processors: about a quarter of an hour on 2 cores, once"
HASH_SEED = "1"
"""Any, but always the same: the order of sets becomes part of compiled modules."""
VERSION_DEADLINE_S = 120
"""For the first start, which unpacks the one file on a busy machine."""
LOG_TAIL_CHARS = 4_000

_GLIBC = re.compile(rb"\x00GLIBC_2\.(\d+)(?=\x00)")


def say(message: str) -> None:
    """Report a step."""
    print(f"binary: {message}", file=sys.stderr, flush=True)


def make_environment(variant: Variant, folder: Path) -> Path:
    """Bring the variant's environment up to date; returns its interpreter."""
    venv = folder / "venv"
    bootstrap.check_toolchain(venv)
    options = ("--no-default-groups", "--group", "binary", "--no-install-project", *variant.options())
    bootstrap.sync(bootstrap.find_uv(), venv, folder / "uv.log", *options, compile_note=COMPILE_NOTE)
    if not variant.defines:
        copy_engine(venv)
    return bootstrap.venv_python(venv)


def copy_engine(venv: Path) -> None:
    """Take llama.cpp as ``.venv`` has it, which ``make setup`` compiled."""
    found = sorted(bootstrap.VENV.glob("**/site-packages/llama_cpp*"))
    if not found:
        raise SystemExit(f"binary: {bootstrap.VENV} has no llama.cpp to copy: make setup")
    for source in found:
        target = venv / source.relative_to(bootstrap.VENV)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)


def freeze(python: Path, variant: Variant, folder: Path) -> Path:
    """Run PyInstaller; returns the folder with what it made."""
    made, work, log_file = folder / "dist", folder / "work", folder / "pyinstaller.log"
    for old in (made, work):
        shutil.rmtree(old, ignore_errors=True)
    work.mkdir(parents=True)
    commit, committed_at = sources.commit()
    info = folder / "build.json"
    about = {"variant": variant.name, "commit": commit, "sources": sources.fingerprint()}
    info.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment |= {
        "PYTHONHASHSEED": HASH_SEED,
        "SOURCE_DATE_EPOCH": str(committed_at),
        "PYINSTALLER_CONFIG_DIR": str(folder / "cache"),
    }
    command = [
        *(str(python), "-P", "-m", "PyInstaller", "--noconfirm", "--log-level", "INFO"),
        *("--distpath", str(made), "--workpath", str(work), str(Path(__file__).with_name("botframework.spec"))),
        *("--", "--build-info", str(info)),
    ]
    with log_file.open("w", encoding="utf-8") as log:
        ended = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
    if ended.returncode != 0:
        said = log_file.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:]
        raise SystemExit(
            f"{said}\nbinary: PyInstaller ended with {ended.returncode}; all that it said is in {log_file}"
        )
    shutil.copy(work / "botframework" / "LICENSES.txt", made)
    bill = (Path(__file__).with_name("sbom.py"), "program", work / "botframework" / "components.json")
    subprocess.run([python, *bill, "--output", made / "botframework.cdx.json"], env=environment, check=True)
    return made


def try_out(program: Path) -> str:
    """What it says about its version, in an environment where nothing of this machine can help it."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {"HOME": empty, "TMPDIR": empty, "PATH": empty}
        if os.name == "nt":  # Never run.
            environment |= {"SYSTEMROOT": os.environ["SYSTEMROOT"], "TEMP": empty}
        answer = subprocess.run(
            [program, "--version"],
            cwd=empty,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=VERSION_DEADLINE_S,
            check=False,
        )
    if answer.returncode != 0 or not answer.stdout.startswith("botframework "):
        raise SystemExit(f"binary: {program} --version ended with {answer.returncode}: {answer.stdout}{answer.stderr}")
    return answer.stdout.splitlines()[0]


def publish(made: Path, dist: Path) -> None:
    """Put what was made in the place of what was there."""
    dist.mkdir(parents=True, exist_ok=True)
    for source in made.iterdir():
        target = dist / source.name
        with tempfile.TemporaryDirectory(dir=dist, prefix=".old-") as aside:
            if target.exists():
                target.rename(Path(aside) / target.name)
            source.rename(target)


def oldest_glibc(folder: Path) -> str:
    """The lowest version of the GNU C library that every file inside can do with; empty where none is asked for."""
    versions = {
        int(found)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
        for found in _GLIBC.findall(_if_elf(path))
    }
    return f"2.{max(versions)}" if versions else ""


def _if_elf(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(4)
        return file.read() if head == b"\x7fELF" else b""


def size_mb(path: Path) -> float:
    """Of a file, or of all files of a folder, in 10^6 bytes."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files) / 1e6


def main() -> int:
    """Build a variant."""
    parser = argparse.ArgumentParser(description="Make the binary: one folder, and one file.")
    parser.add_argument("--variant", choices=VARIANTS, default="cpu", help="where llama.cpp computes (%(default)s)")
    parser.add_argument("--dist", type=Path, default=DIST, help="where the results go (%(default)s)")
    options = parser.parse_args()
    variant = VARIANTS[options.variant]
    if obstacle := variant.obstacle():
        raise SystemExit(f"binary: {obstacle}")
    if not variant.was_built:
        say(f"nobody has built the variant {variant.name!r} so far: tell what you see")
    folder = BUILD / variant.name
    began = time.monotonic()
    python = make_environment(variant, folder)
    say(f"{time.monotonic() - began:4.0f} s  {variant.name}: for {variant.computes_on}; packing …")
    made = freeze(python, variant, folder)
    one_folder, one_file = made / "botframework", made / "onefile" / PROGRAM
    for program in (one_folder / PROGRAM, one_file):
        version = try_out(program)
    sizes = f"folder {size_mb(one_folder):.0f} MB, file {size_mb(one_file):.0f} MB"
    glibc = oldest_glibc(one_folder)
    publish(made, options.dist)
    say(
        f"{time.monotonic() - began:4.0f} s  {version} is in {options.dist}; {sizes}"
        + (glibc and f", glibc {glibc} or newer")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
