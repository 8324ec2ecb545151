"""How many bytes a model takes, beside what llama.cpp itself says without loading it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from botframework.config import Engine
from botframework.errors import BotframeworkError
from botframework.models.demand import ContextPlan, demand, kv_bytes, plan_contexts, recurrent_bytes
from botframework.models.fit import fit
from botframework.models.gguf import read_header
from botframework.models.hardware import Gpu, Hardware
from botframework.models.header import ArrayValue, ValueType
from botframework.models.shape import plain_shape, shape_of, with_weights
from botframework.wire.messages import LoadModel
from support.hostile_gguf import handcrafted, mutants
from support.laid_out import layout
from support.shaped_gguf import MODELS, write_shaped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.laid_out import Ask

EXACTNESS = 0.02
MIB = 1 << 20
PLANS = {
    "default": ContextPlan(),
    "long": ContextPlan(n_ctx_fim=8_192, n_ctx_chat=65_536, n_ubatch_chat=512),
    "q8_0": ContextPlan(n_ctx_chat=32_768, kv_type="q8_0"),
    "no flash attention": ContextPlan(flash_attention=False),
    "odd": ContextPlan(n_ctx_fim=1_000, n_ctx_chat=5_001, n_seq_fim=3, n_seq_chat=1, n_ubatch_fim=9, n_ubatch_chat=100),
}
SLIDING = ("gemma2", "gemma3", "gemma4", "gpt-oss", "phi3")

RARE_KEYS = (
    "attention.recurrent_layers",
    "attention.shared_kv_layers",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "full_attention_interval",
    "kda.head_dim",
    "nextn_predict_layers",
    "shortconv.l_cache",
    "wkv.head_size",
)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """What llama.cpp says of a load, without carrying it out."""
    with layout() as answer:
        yield answer


def load_of(path: Path, plan: ContextPlan) -> LoadModel:
    """The load that a plan amounts to."""
    return LoadModel(
        path=str(path),
        n_gpu_layers=0,
        n_threads=(1,),
        n_ctx_fim=plan.n_ctx_fim,
        n_ctx_chat=plan.n_ctx_chat,
        n_seq_fim=plan.n_seq_fim,
        n_seq_chat=plan.n_seq_chat,
        n_ubatch_fim=plan.n_ubatch_fim,
        n_ubatch_chat=plan.n_ubatch_chat,
        flash_attn=plan.flash_attention,
        kv_type="q8_0" if plan.kv_type == "q8_0" else "f16",
    )


@pytest.mark.parametrize("name", MODELS)
def test_what_llama_cpp_says(tmp_path: Path, ask: Ask, name: str) -> None:
    """Weights, caches, states and the whole are within 2 % of what llama.cpp lays out, for each architecture."""
    path = write_shaped(tmp_path / "a.gguf", MODELS[name])
    shape = shape_of(read_header(path))
    for plan in PLANS.values():
        told = ask(load_of(path, plan))
        needed = demand(shape, plan)
        whole = told.weights_bytes + told.kv_bytes + told.recurrent_bytes + told.compute_bytes

        assert needed.weights == pytest.approx(told.weights_bytes, rel=EXACTNESS)
        assert needed.kv == pytest.approx(told.kv_bytes, rel=EXACTNESS)
        assert needed.recurrent == pytest.approx(told.recurrent_bytes, rel=EXACTNESS)
        assert needed.total == pytest.approx(whole, rel=EXACTNESS)
        assert needed.compute == pytest.approx(told.compute_bytes, rel=0.15), "an estimate, but not far off"


@pytest.mark.parametrize("name", SLIDING)
def test_a_window_that_forgets(tmp_path: Path, ask: Ask, name: str) -> None:
    """As llama.cpp makes contexts by itself, layers with a sliding window keep a few windows of cells only."""
    path = write_shaped(tmp_path / "a.gguf", MODELS[name])
    shape, plan = shape_of(read_header(path)), ContextPlan(n_ctx_fim=2_048, n_ctx_chat=32_768)
    told = ask(load_of(path, plan), keeps_window=False)
    short = sum(kv_bytes(shape, *context, keeps_window=False) for context in plan.contexts)

    assert short == pytest.approx(told.kv_bytes, rel=EXACTNESS)
    assert (short < demand(shape, plan).kv) == bool(shape.sliding_window)


def test_the_arithmetic_by_hand() -> None:
    """Cells x layers x heads x (key + value) x bytes: 32 layers of 8 heads of 128 keep 128 KiB for each cell."""
    shape = plain_shape(weights_bytes=1, n_layers=32, n_head=32, n_head_kv=8, head_dim=128)

    assert kv_bytes(shape, 8_192, 1, 1) == 8_192 * 128 * 1_024 == 1 << 30
    assert kv_bytes(shape, 8_192, 1, 1, "q8_0") == (1 << 30) * 17 // 32
    assert kv_bytes(shape, 8_191, 9, 99) == 1 << 30, "whole blocks of 256 cells, whoever uses them"
    assert kv_bytes(shape, 0, 1, 1) == recurrent_bytes(shape, 8) == 0


def test_a_context_that_is_not_made_takes_nothing() -> None:
    """With 0 cells; so a model can be asked for one purpose alone."""
    shape = plain_shape(weights_bytes=100, n_layers=2, n_head=4, n_head_kv=4, head_dim=64, n_vocab=1_000)
    chat, fim = ContextPlan(n_ctx_fim=0), ContextPlan(n_ctx_chat=0)
    both, parts = demand(shape, ContextPlan()), [demand(shape, plan) for plan in (chat, fim)]

    assert both.kv == sum(part.kv for part in parts)
    assert both.compute == sum(part.compute for part in parts)
    assert demand(shape, ContextPlan(n_ctx_fim=0, n_ctx_chat=0)).total == 100


def test_the_plan_of_the_settings() -> None:
    """The defaults are the settings'; more cells than all sequences can use are left out, but completion keeps some."""
    assert plan_contexts(Engine()) == ContextPlan()
    assert plan_contexts(Engine(), 512) == ContextPlan(n_ctx_fim=4_096, n_ctx_chat=2_048)
    assert plan_contexts(Engine(n_seq_fim=1, n_seq_chat=1), 512).contexts == ((1_024, 1, 64), (512, 1, 128))
    assert plan_contexts(Engine(), 1 << 20) == ContextPlan()


@pytest.mark.parametrize("name", ["llama", "deepseek2", "falcon-h1"])
def test_the_pieces_are_the_whole(tmp_path: Path, name: str) -> None:
    """Blocks, input and output are all the weights; other weights keep the proportions."""
    shape = shape_of(read_header(write_shaped(tmp_path / "a.gguf", MODELS[name])))
    pieces = sum(layer.weights_bytes for layer in shape.layers) + shape.input_bytes + shape.output_bytes
    more = with_weights(shape, 2 * shape.weights_bytes)

    assert pieces == shape.weights_bytes
    assert shape.is_tied == (name == "llama")
    assert more.weights_bytes == 2 * shape.weights_bytes
    assert sum(layer.weights_bytes for layer in more.layers) == pytest.approx(
        more.weights_bytes - shape.input_bytes - shape.output_bytes, abs=100
    )
    assert replace(more, weights_bytes=1).is_exact is False


def test_what_an_architecture_keeps(tmp_path: Path) -> None:
    """Windows, shared caches, compressed keys and recurrent states are seen in the header."""
    shapes = {name: shape_of(read_header(write_shaped(tmp_path / name, model))) for name, model in MODELS.items()}

    assert {name: shape.sliding_window for name, shape in shapes.items() if shape.sliding_window} == {
        "gemma2": 4_096,
        "gemma3": 1_024,
        "gemma4": 512,
        "gpt-oss": 128,
    }
    assert [layer.is_sliding for layer in shapes["gemma3"].layers[:7]] == [True] * 5 + [False, True]
    assert [layer.is_sliding for layer in shapes["gpt-oss"].layers[:3]] == [True, False, True]
    assert [layer.n_head_kv for layer in shapes["gemma4"].layers[18:22]] == [1, 1, 0, 0]
    assert {layer.key_length for layer in shapes["gemma4"].layers[:20]} == {256, 512}
    assert {layer.value_length for layer in shapes["deepseek2"].layers} == {0}
    assert shapes["deepseek2"].latent_length == 512
    assert [bool(layer.recurrent_bytes) for layer in shapes["granitehybrid"].layers[4:7]] == [True, False, True]
    assert all(layer.recurrent_bytes and layer.n_head_kv for layer in shapes["falcon-h1"].layers)
    assert not any(layer.n_head_kv for layer in shapes["mamba"].layers)
    assert [name for name, shape in shapes.items() if not shape.is_exact] == []
    assert [name for name, shape in shapes.items() if not shape.is_gated] == ["starcoder2"]


def test_a_hostile_header_gets_figures_too(tmp_path: Path) -> None:
    """Whatever numbers a file that passes for a model gives itself, the arithmetic ends with one of 0 or more."""
    here = Hardware("cpu", 4, 8, 16 << 30, 16 << 30, (Gpu(0, "nvidia", "gpu", 8 << 30, 0),))
    accepted = 0
    for data in (*handcrafted().values(), *mutants(400, seed=5)):
        path = tmp_path / "a.gguf"
        path.write_bytes(data)
        try:
            header = read_header(path)
        except BotframeworkError:
            continue
        accepted += 1
        shape = shape_of(header)
        needed = demand(shape, plan_contexts(Engine(), shape.n_ctx_train))
        assert min(needed.weights, needed.kv, needed.recurrent, needed.compute) >= 0
        assert fit(shape, ContextPlan(), here).placement in {"gpu", "partial", "cpu", "none"}

    assert accepted > 50


@pytest.mark.parametrize("name", MODELS)
def test_any_number_in_a_header(tmp_path: Path, name: str) -> None:
    """Each key that counts, with the least, the largest and the wrong kind of value: figures of 0 or more."""
    header = read_header(write_shaped(tmp_path / "a.gguf", MODELS[name]))
    keys = {key for key in header.metadata if key.startswith(f"{name}.")} | {f"{name}.{key}" for key in RARE_KEYS}
    lists = [ArrayValue(ValueType.UINT32, items) for items in ((), (0,) * header.n_layers, ("a",), (2**32 - 1,) * 600)]
    for key in keys - {f"{name}.block_count"}:
        values: tuple[int | float | str | ArrayValue, ...] = (0, 1, 2**32 - 1, -5, True, 1.5, "x", *lists)
        for value in values:
            needed = demand(shape_of(replace(header, metadata={**header.metadata, key: value})), ContextPlan())
            assert min(needed.kv, needed.recurrent, needed.compute) >= 0, (key, value)
