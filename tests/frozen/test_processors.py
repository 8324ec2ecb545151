"""The portable llama.cpp runs on every processor, and well on a new one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from botframework.manager.load import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frozen.conftest import Binary

pytestmark = [pytest.mark.binary, pytest.mark.timeout(300)]

EMULATOR = "qemu-x86_64"
OLDEST = "Nehalem"
"""x86-64-v2, of 2008: SSE 4.2, no AVX."""
COMPUTES = """
import json, sys
from botframework.worker import llama, sampling
llama.initialise(lambda level, line: None, lambda text: print(text, file=sys.stderr))
model = llama.Model(sys.argv[1], n_gpu_layers=0, use_mmap=True, progress=lambda _: True)
context = llama.Context(model, n_ctx=256, n_seq=1, n_ubatch=16, n_threads=1, flash_attn=True, kv_type="f16")
chain = llama.SamplerChain(model.vocab, [sampling.Greedy()])
tokens = [1, 2, 3, 4, 5, 6, 7, 8]
context.decode_chunk(0, 0, tokens, output=True)
found = [context.sample(chain, len(tokens) - 1)]
for position in range(len(tokens), len(tokens) + 8):
    context.decode_chunk(0, position, found[-1:], output=True)
    found.append(context.sample(chain, 0))
print(json.dumps({"features": llama.features(), "tokens": found}))
"""
"""A program that computes some tokens with our layer over llama.cpp: it needs no more of the processor than we do."""


@pytest.fixture(scope="module")
def libraries(one_folder: Binary) -> Path:
    """llama.cpp's, inside the binary."""
    folder = one_folder.path.parent / "_internal" / "llama_cpp" / "lib"
    if not list(folder.glob("libggml-cpu-*")):
        pytest.skip("this binary's llama.cpp was built for one processor only (make binary VARIANT=native)")
    return folder


def compute(libraries: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run `COMPUTES` with the interpreter of the tests and another llama.cpp."""
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": str(libraries), "LD_LIBRARY_PATH": str(libraries.parents[1])}
    command = [*before, sys.executable, "-c", COMPUTES, str(EMBEDDED_MODEL)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def copied(libraries: Path, folder: Path, generations: Sequence[str]) -> Path:
    """Of the libraries that compute only some."""
    shutil.copytree(libraries, folder)
    for library in folder.glob("libggml-cpu-*"):
        if library.stem.removeprefix("libggml-cpu-") not in generations:
            library.unlink()
    return folder


def flags() -> set[str]:
    """What this machine's processor can do, in the kernel's words."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return set(next(line for line in lines if line.startswith("flags")).split())


def test_the_best_library_is_taken(libraries: Path) -> None:
    """What this processor can do is used, and nothing else."""
    answer = compute(libraries)

    assert (answer.returncode, answer.stderr) == (0, "")
    features = json.loads(answer.stdout)["features"]
    for name, flag in (("AVX2", "avx2"), ("AVX512", "avx512f"), ("AVX512_VNNI", "avx512_vnni")):
        assert (f" {name} = 1 " in features) == (flag in flags()), features


def test_the_plainest_library_computes(libraries: Path, tmp_path: Path) -> None:
    """With nothing but what every x86-64 can do."""
    answer = compute(copied(libraries, tmp_path / "lib", ["x64"]))

    assert (answer.returncode, answer.stderr) == (0, "")
    told: dict[str, Any] = json.loads(answer.stdout)
    assert " AVX" not in told["features"]
    assert len(told["tokens"]) == 9


def test_a_broken_library_is_passed_over(libraries: Path, tmp_path: Path) -> None:
    """The next best one computes instead."""
    folder = copied(libraries, tmp_path / "lib", ["x64", "sse42"])
    (folder / "libggml-cpu-sse42.so").write_bytes(b"\x7fELF")

    assert compute(folder).returncode == 0


def test_without_any_library_the_folder_is_named(libraries: Path, tmp_path: Path) -> None:
    """What is wrong, where, and what to do."""
    folder = copied(libraries, tmp_path / "lib", [])

    answer = compute(folder)

    assert answer.returncode == 1
    assert f"no library for this processor in {folder}; install botframework again" in answer.stderr


@pytest.mark.skipif(shutil.which(EMULATOR) is None, reason=f"needs {EMULATOR}: apt-get install qemu-user")
def test_an_old_processor_is_enough(libraries: Path) -> None:
    """No instruction is used that a processor of 2008 does not have."""
    answer = compute(libraries, EMULATOR, "-cpu", OLDEST)

    assert answer.returncode == 0, answer.stderr
    assert " AVX" not in json.loads(answer.stdout)["features"]
