"""Which file, how, under which key: decided the same by every daemon, before a worker is asked."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import botframework
from botframework.config import Engine, Settings
from botframework.errors import ModelNotConfigured, ModelNotFound, ModelRefused
from botframework.manager import load, machine
from botframework.manager.load import choose, decide_load, find_fit, model_path, whole_shape, worker_key
from botframework.models.fit import demand, plan_contexts
from botframework.models.gguf import read_header
from botframework.models.hardware import Gpu, Hardware
from botframework.models.shape import shape_of
from support.gguf_factory import tiny_llama

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.models.gguf import GgufHeader
    from botframework.wire.messages import LoadModel

GIB = 1 << 30
MACHINE = Hardware("a cpu", physical_cores=8, logical_cores=16, ram_total=32 * GIB, ram_available=16 * GIB, gpus=())


@pytest.fixture
def header(tmp_path: Path) -> GgufHeader:
    """Of a tiny model whose training context is 512."""
    return read_header(tiny_llama(tmp_path / "tiny.gguf"))


def with_gpu(total: int | None) -> Hardware:
    """The machine with one GPU."""
    return replace(MACHINE, gpus=(Gpu(0, "nvidia", "a gpu", total, 0, "1.0", is_integrated=total is None),))


def engine(**values: Any) -> Settings:
    """Settings of the engine."""
    return Settings(engine=Engine(**values))


def decided(settings: Settings, here: Hardware, header: GgufHeader) -> LoadModel:
    """How a model is loaded on a machine."""
    return decide_load(settings, here, header, find_fit(settings, here, whole_shape(header)))


@pytest.mark.parametrize(("cores", "expected"), [(1, (1,)), (2, (1, 2)), (3, (2,)), (8, (7,)), (64, (63,))])
def test_one_core_is_left_to_the_editor(header: GgufHeader, cores: int, expected: tuple[int, ...]) -> None:
    """Physical cores minus one; on two cores the worker measures."""
    assert decided(Settings(), replace(MACHINE, physical_cores=cores), header).n_threads == expected


def test_contexts_are_no_larger_than_the_model_can_use(header: GgufHeader) -> None:
    """Chat: what its sequences can fill; completion: the same, but never under 1,024 cells by itself."""
    default = decided(Settings(), MACHINE, header)
    few = decided(engine(n_seq_fim=1, n_seq_chat=1), MACHINE, header)
    small = decided(engine(n_ctx_fim=256, n_ctx_chat=300), MACHINE, header)

    assert header.n_ctx_train == 512
    assert (default.n_ctx_fim, default.n_ctx_chat) == (4_096, 2_048)
    assert (few.n_ctx_fim, few.n_ctx_chat) == (1_024, 512)
    assert (small.n_ctx_fim, small.n_ctx_chat) == (256, 300)


@pytest.mark.parametrize(
    ("machine", "layers"),
    [(MACHINE, 0), (with_gpu(24 * GIB), 3), (with_gpu(GIB), 0), (with_gpu(None), 3)],
    ids=["no gpu", "large gpu", "too small", "shares the machine's memory"],
)
def test_layers_go_to_the_gpu(header: GgufHeader, machine: Hardware, layers: int) -> None:
    """All of them and the output where weights, cache and buffers fit beside what the screen needs."""
    assert decided(Settings(), machine, header).n_gpu_layers == layers


def test_a_model_that_does_not_fit_whole(tmp_path: Path) -> None:
    """Its chat context shrinks first, then its layers on the GPU; what the user has set stays as it is."""
    made = tiny_llama(tmp_path / "a.gguf", n_layers=32, d=256, n_heads=4, n_kv_heads=4, n_ctx_train=1 << 20)
    header = read_header(made)
    asked = {"n_ctx_chat": 32_768}
    sizes = [demand(shape_of(header), plan_contexts(Engine(n_ctx_chat=n))).total for n in (4_096, 32_768)]
    roomy, tight = (with_gpu(GIB + size) for size in ((sizes[0] + sizes[1]) // 2, sizes[0] // 2))

    shortened = decided(engine(**asked), roomy, header)
    shared = decided(engine(**asked), tight, header)
    told = decided(engine(**asked, n_gpu_layers=33), tight, header)

    assert shortened.n_gpu_layers == 33
    assert 4_096 < shortened.n_ctx_chat < 32_768
    assert 0 < shared.n_gpu_layers < 33
    assert shared.n_ctx_chat == 4_096
    assert (told.n_gpu_layers, told.n_ctx_chat) == (33, 32_768)


def test_what_a_machine_does_not_allow_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded otherwise than asked has a sentence about it; a model that finds its place has none."""
    path = tiny_llama(tmp_path / "a.gguf", n_layers=32, d=256, n_heads=4, n_kv_heads=4, n_ctx_train=1 << 20)
    asked = Settings(model=str(path), engine=Engine(n_ctx_chat=32_768))
    monkeypatch.setattr(machine, "present", lambda: MACHINE)
    assert choose(asked).given_up == ""

    needed, _ = choose(asked).bytes_by_place
    monkeypatch.setattr(machine, "present", lambda: with_gpu(GIB + needed // 2))
    shorter = choose(asked)
    assert shorter.load.n_ctx_chat < 32_768
    assert shorter.given_up == (
        f"tiny-llama: The chat context has {shorter.load.n_ctx_chat:,} tokens instead of 32,768."
    )

    told = Settings(model=str(path), engine=Engine(n_ctx_chat=32_768, n_gpu_layers=8))
    on_host, on_gpu = choose(told).bytes_by_place
    assert min(on_host, on_gpu) > 0
    assert "8 of 33 layers fit on the GPU" in choose(told).given_up

    monkeypatch.setattr(machine, "present", lambda: MACHINE)
    assert choose(told).bytes_by_place == (needed, 0), "there is no GPU, whatever the user says"


def test_a_part_of_a_split_model_keeps_its_name(tmp_path: Path) -> None:
    """In the cache of Hugging Face it is a link; by the target's name llama.cpp would not find the other parts."""
    content = tmp_path / "blobs" / "0123"
    content.parent.mkdir()
    content.touch()
    for name in ("m-00001-of-00002.gguf", "m.gguf"):
        (tmp_path / name).symlink_to(content)

    assert model_path(str(tmp_path / "m-00001-of-00002.gguf")) == tmp_path / "m-00001-of-00002.gguf"
    assert model_path(str(tmp_path / "m.gguf")) == content


def test_settings_come_before_our_own_judgement(header: GgufHeader) -> None:
    """What the user says about the engine is what the worker is told."""
    settings = engine(
        n_gpu_layers=7,
        n_threads=3,
        n_ubatch_fim=32,
        n_ubatch_chat=256,
        flash_attention=True,
        kv_type="q8_0",
        mmap=False,
        fim_order="spm",
        fim_typed="after",
        parked_mib=3,
    )

    told = decided(settings, with_gpu(24 * GIB), header)

    assert (told.n_gpu_layers, told.n_threads, told.n_ubatch_fim, told.n_ubatch_chat) == (7, (3,), 32, 256)
    assert (told.flash_attn, told.kv_type, told.use_mmap, told.fim_order) == (True, "q8_0", False, "spm")
    assert (told.fim_typed, told.parked_bytes) == ("after", 3 << 20)


def test_free_memory_has_no_say(header: GgufHeader) -> None:
    """The second window must decide as the first did, though the first has filled the GPU."""
    full = replace(MACHINE, ram_available=1, gpus=(Gpu(0, "nvidia", "a gpu", 24 * GIB, 24 * GIB, "1.0"),))

    assert decided(Settings(), full, header) == decided(Settings(), with_gpu(24 * GIB), header)


def test_every_difference_makes_another_key(header: GgufHeader, monkeypatch: pytest.MonkeyPatch) -> None:
    """File identity, each load parameter, llama.cpp's build and the package's version are all part of the key."""
    told = decided(Settings(), MACHINE, header)
    status = os.stat(header.path)  # noqa: PTH116 - the value is built upon below
    changed = {
        "path": "other",
        "n_threads": (99,),
        "flash_attn": False,
        "use_mmap": False,
        "kv_type": "q8_0",
        "fim_order": "psm",
    }
    keys = [worker_key(told, status)]
    for name in told.__struct_fields__:
        value = changed.get(name, 99)
        keys.append(worker_key(msgspec.structs.replace(told, **{name: value}), status))
    os.utime(header.path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    keys.append(worker_key(told, os.stat(header.path)))  # noqa: PTH116
    with monkeypatch.context() as patch:
        patch.setattr(botframework, "__version__", "99")
        keys.append(worker_key(told, status))
    with monkeypatch.context() as patch:
        patch.setattr(load, "engine_version", lambda: "99")
        keys.append(worker_key(told, status))

    assert len(set(keys)) == len(keys) == len(told.__struct_fields__) + 4
    assert worker_key(told, status) == keys[0]
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_a_link_to_a_model_is_the_model(tmp_path: Path) -> None:
    """Two names of one file make one worker."""
    path = tiny_llama(tmp_path / "tiny.gguf")
    (tmp_path / "link.gguf").symlink_to(path)

    assert choose(Settings(model=str(tmp_path / "link.gguf"))) == choose(Settings(model=str(path)))


def test_without_a_model_the_embedded_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And if the package came without it, that is said."""
    monkeypatch.setattr(load, "EMBEDDED_MODEL", tiny_llama(tmp_path / "embedded.gguf"))
    assert choose(Settings()).load.path == str(tmp_path / "embedded.gguf")

    monkeypatch.setattr(load, "EMBEDDED_MODEL", tmp_path / "none.gguf")
    with pytest.raises(ModelNotConfigured):
        choose(Settings())


@pytest.mark.parametrize(
    "name", ["none.gguf", "none/none.gguf", "nul\0.gguf", "x" * 5_000, "\udcff.gguf", "~nobody-of-us/x.gguf"]
)
def test_a_path_that_leads_nowhere_is_not_found(tmp_path: Path, name: str) -> None:
    """Whatever is wrong with it, `ModelNotFound` says so."""
    with pytest.raises(ModelNotFound):
        choose(Settings(model=name if name.startswith("~") else f"{tmp_path}/{name}"))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """Before anything is started."""
    path = tmp_path / "not.gguf"
    path.write_bytes(b"PK\3\4" + bytes(100))

    with pytest.raises(ModelRefused):
        choose(Settings(model=str(path)))
