"""The doctor's checks on machines that are not this one, and on stores that something happened to."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import pytest

from botframework.cli.checks import folders, hub, installation, machine, models, workers
from botframework.cli.checks.finding import Case
from botframework.config import Settings
from botframework.config.settings import Models
from botframework.errors import WorkerStartFailed
from botframework.models.hardware import Battery, Gpu, Hardware
from botframework.models.store.store import Store
from botframework.wire.flight import FlightWriter
from support.gguf_factory import tiny_llama

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from botframework.cli.documents import Finding

GIB = 1 << 30
SOUND = Hardware(
    cpu="A processor",
    physical_cores=8,
    logical_cores=16,
    ram_total=16 * GIB,
    ram_available=12 * GIB,
    gpus=(),
    instruction_sets=("AVX", "AVX2"),
)
CARD = Gpu(0, "nvidia", "A card", 8 * GIB, 0, driver="570")


def case(settings: Settings | None = None, **changes: Any) -> Case:
    """A case on a sound machine with some changes."""
    return Case(settings or Settings(), (), dataclasses.replace(SOUND, **changes), (), None)


def worst(check: Callable[[Case], Iterable[Finding]], here: Case) -> Finding:
    """The first finding that is not well, or the first; a cure goes with everything that is not well."""
    found = list(check(here))
    assert all(finding.cure for finding in found if finding.outcome != "ok")
    return next((finding for finding in found if finding.outcome != "ok"), found[0])


@pytest.mark.parametrize(
    ("check", "changes", "outcome", "words"),
    [
        (machine.processor, {}, "ok", "8 cores"),
        (machine.processor, {"instruction_sets": ("AVX",)}, "warning", "without AVX2"),
        (machine.processor, {"physical_cores": 1}, "warning", "share one core"),
        (machine.memory, {}, "ok", "12.0 GiB of 16.0 GiB"),
        (machine.memory, {"ram_available": GIB}, "warning", "1.0 GiB of 16.0 GiB"),
        (machine.battery, {"battery": Battery(80, plugged=False)}, "ok", "80 %, in use"),
        (machine.battery, {"battery": Battery(9, plugged=False)}, "warning", "9 %"),
        (machine.battery, {"battery": Battery(9, plugged=True)}, "ok", "plugged in"),
        (installation.gpus, {"gpus": (CARD,)}, "ok", "A card, driver 570"),
        (installation.gpus, {"gpus": (dataclasses.replace(CARD, is_usable=False),)}, "warning", "cannot use A card"),
    ],
)
def test_a_machine(
    monkeypatch: pytest.MonkeyPatch,
    check: Callable[[Case], Iterable[Finding]],
    changes: dict[str, Any],
    outcome: str,
    words: str,
) -> None:
    """Each weakness is told, and nothing where there is none."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(installation, "has_nvidia_driver", lambda: False)
    found = worst(check, case(**changes))

    assert (found.outcome, words in found.told) == (outcome, True)


def test_a_driver_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a driver's update, or in a container that was not given the GPU."""
    monkeypatch.setattr(installation, "has_nvidia_driver", lambda: True)
    found = worst(installation.gpus, case())

    assert found.outcome == "warning"
    assert "nvidia-smi" in found.cure


def test_a_llama_cpp_that_does_not_run() -> None:
    """As one that was built for another processor: the error's words, and how it is built anew."""
    here = Case(Settings(), (), SOUND, (), WorkerStartFailed("the process was killed by SIGILL"))
    found = worst(installation.engine, here)

    assert (found.outcome, found.told) == ("failed", "the process was killed by SIGILL")
    assert "pip install" in found.cure


def test_limits_of_the_shell() -> None:
    """`ulimit` that leaves too little is told with the command that lifts it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        found = worst(machine.limits, case())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert found.outcome == "warning"
    assert "ulimit -n" in found.cure


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Little room warns, none fails."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    usage = type("usage", (), {"free": GIB})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    little = worst(folders.disks, case())
    monkeypatch.setattr(usage, "free", 1 << 20)
    none = worst(folders.disks, case())

    assert (little.outcome, none.outcome) == ("warning", "failed")


def test_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all are there; one that is not, and one of another version, are named."""
    from importlib import metadata

    assert worst(installation.packages, case()).outcome == "ok"
    monkeypatch.setattr(
        metadata, "requires", lambda _: ["rich>=1", "no-such-thing>=2", "msgspec==0.0.1", "x; extra == 'y'"]
    )
    found = worst(installation.packages, case())

    assert found.outcome == "failed"
    assert "no-such-thing is not installed" in found.told
    assert f"msgspec {metadata.version('msgspec')} is installed, 0.0.1 is needed" in found.told
    assert "rich" not in found.told


def test_errors_in_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of the last hour are counted, and the last one is told."""
    monkeypatch.setattr(workers, "_log_file", lambda: tmp_path / "log")
    now = dt.datetime.now().astimezone()
    lines = [
        f"{(now - dt.timedelta(hours=age)):%Y-%m-%d %H:%M:%S}.123 {level:7} 7 botframework.x: {age} hours ago"
        for age, level in ((3, "ERROR"), (2, "INFO"), (0, "INFO"))
    ]
    (tmp_path / "log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    quiet = worst(workers.log, case())
    (tmp_path / "log").write_text("\n".join([*lines, lines[2].replace("INFO ", "ERROR")]) + "\n", encoding="utf-8")
    loud = worst(workers.log, case())

    assert quiet.outcome == "ok"
    assert (loud.outcome, loud.told) == (
        "warning",
        "1 error within the last hour, the last one: botframework.x: 0 hours ago",
    )


def test_a_worker_that_does_not_answer(runtime_dir: Path) -> None:
    """It lives and holds memory: told with what to do."""
    FlightWriter(runtime_dir / "0123456789abcdef.flight").set_phase("serving")
    found = worst(workers.running, case())

    assert found.outcome == "warning"
    assert f"process {os.getpid()} holds" in found.told


@pytest.fixture
def pulled(tmp_path: Path) -> tuple[Settings, Path]:
    """A store with one model; its settings, and the model's path."""
    settings = Settings(models=Models(folder=str(tmp_path / "models")))
    found = Store(tmp_path / "models").pull(str(tiny_llama(tmp_path / "mine.gguf")))
    return settings, tmp_path / "models" / found.name


def test_a_sound_store(pulled: tuple[Settings, Path]) -> None:
    """Says how many models there are."""
    found = worst(models.store, case(pulled[0]))

    assert (found.outcome, found.told.startswith("1 model, ")) == ("ok", True)


def test_a_torn_model(pulled: tuple[Settings, Path]) -> None:
    """A file that somebody cut: found by its size alone, without reading gigabytes."""
    settings, path = pulled
    with path.open("r+b") as file:
        file.truncate(1_000)
    found = worst(models.store, case(settings))

    assert found.outcome == "failed"
    assert "local/mine.gguf" in found.told
    assert "models remove local/mine.gguf" in found.cure


def test_what_was_broken_off(pulled: tuple[Settings, Path]) -> None:
    """The rest of a download that nobody carries out takes room."""
    settings, path = pulled
    (path.parents[1] / "blobs" / f"sha256-{'0' * 64}.part").write_bytes(bytes(8_192))
    found = worst(models.store, case(settings))

    assert found.outcome == "warning"
    assert "8.0 KiB" in found.told


@pytest.mark.parametrize(
    ("environ", "outcome", "words"),
    [
        ({}, "ok", "none; only gated models"),
        ({"HF_TOKEN": "hf_abc"}, "ok", "the environment variable HF_TOKEN"),
        ({"HF_TOKEN": "two words"}, "failed", "HF_TOKEN holds no token"),
    ],
)
def test_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environ: dict[str, str], outcome: str, words: str
) -> None:
    """Where it is from is told, what it is never."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = worst(hub.token, case())

    assert (found.outcome, words in found.told) == (outcome, True)
    assert "hf_abc" not in found.told


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens there: failed, with what to look at."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    found = worst(hub.reachable, case())

    assert found.outcome == "failed"
    assert "HF_ENDPOINT" in found.cure
