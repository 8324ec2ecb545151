"""How much of a model fits on which machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botframework.models.fit import (
    LEAST_CTX_CHAT,
    ContextPlan,
    Fit,
    demand,
    divide,
    fit,
    fit_as_told,
    gpu_room,
    ram_room,
)
from botframework.models.hardware import Gpu, Hardware
from botframework.models.shape import ModelShape, plain_shape
from botframework.quantities import GIB

ORDER = ("none", "cpu", "partial", "gpu")
PLAN = ContextPlan(n_ctx_chat=16_384)


def billions(weights_gib: float) -> ModelShape:
    """A model of 32 layers with so many GiB of weights; its caches take 2.5 GiB with `PLAN`."""
    return plain_shape(
        weights_bytes=int(weights_gib * GIB), n_layers=32, n_head=32, n_head_kv=8, head_dim=128, n_vocab=32_000
    )


def machine(ram: float, *vram: float, free: float = 1.0) -> Hardware:
    """A machine with so many GiB of memory and such GPUs, of which that share is free."""
    gpus = tuple(
        Gpu(number, "nvidia", "gpu", int(gib * GIB), int(gib * GIB * (1 - free))) for number, gib in enumerate(vram)
    )
    total = int(ram * GIB)
    return Hardware("cpu", 4, 8, total, int(total * free), gpus)


def integrated(ram: float, vram: float | None = None) -> Hardware:
    """A machine whose GPU shares its memory."""
    total = None if vram is None else int(vram * GIB)
    return replace(machine(ram), gpus=(Gpu(0, "amd", "igpu", total, None, is_integrated=True),))


@pytest.mark.parametrize(
    ("here", "weights", "placement", "n_gpu_layers"),
    [
        (machine(4), 1, "none", 0),
        (machine(8), 2, "cpu", 0),
        (machine(16), 8, "cpu", 0),
        (machine(16), 14, "none", 0),
        (machine(16, 8), 4, "gpu", 33),
        (machine(32, 8), 9, "partial", 23),
        (machine(32, 2), 12, "partial", 3),
        (machine(32, 1), 12, "cpu", 0),
        (machine(8, 24), 18, "gpu", 33),
        (machine(64, 12, 12), 18, "gpu", 33),
        (machine(64, 24, 4), 20, "gpu", 33),
        (machine(64, 12, 12), 40, "partial", 16),
        (integrated(16), 8, "gpu", 33),
        (integrated(16, 4), 8, "partial", 15),
        (integrated(16, 64), 14, "none", 0),
    ],
)
def test_where_a_model_goes(here: Hardware, weights: float, placement: str, n_gpu_layers: int) -> None:
    """Onto the GPU if it fits there, else as many layers as do, else into the machine's memory, else nowhere."""
    found = fit(billions(weights), PLAN, here)

    assert (found.placement, found.n_gpu_layers) == (placement, n_gpu_layers)


@pytest.mark.parametrize("here", [machine(16), machine(8, 9.0), integrated(16, 10.0)])
def test_the_context_shrinks_first(here: Hardware) -> None:
    """As far as is needed and no farther, before a layer is given up; completion's context stays."""
    room = gpu_room(here.gpus[0], here) if here.gpus else ram_room(here)
    shape = billions((room - 2.3 * GIB) / GIB)
    whole, found = fit(shape, replace(PLAN, n_ctx_chat=LEAST_CTX_CHAT), here), fit(shape, PLAN, here)
    one_step = replace(found.plan, n_ctx_chat=found.n_ctx + 256)

    assert found.placement == whole.placement != "none"
    assert LEAST_CTX_CHAT < found.n_ctx < PLAN.n_ctx_chat
    assert found.n_ctx % 256 == 0
    assert found.plan.n_ctx_fim == PLAN.n_ctx_fim
    assert found.demand == demand(shape, found.plan)
    assert fit_as_told(shape, found.plan, here, found.n_gpu_layers).placement == found.placement
    assert fit_as_told(shape, one_step, here, found.n_gpu_layers).placement == "none"
    assert any(f"{found.n_ctx:,} tokens instead of 16,384" in reason for reason in found.reasons)


def test_what_is_left_alone() -> None:
    """A GiB of each GPU, a fifth of the memory and at least 2 GiB, half of the smallest machine."""
    here = machine(64, 24, 0.5)
    untold = replace(here.gpus[0], vram_total=None)

    assert [ram_room(machine(ram)) / GIB for ram in (2, 4, 8, 10, 64)] == pytest.approx([1, 2, 6, 8, 51.2])
    assert [gpu_room(gpu, here) / GIB for gpu in here.gpus] == [23, 0]
    assert gpu_room(untold, here) == 0
    assert gpu_room(integrated(16).gpus[0], integrated(16)) == ram_room(integrated(16))


def test_what_is_free_has_no_say() -> None:
    """Every window decides alike, though the first one has filled the memory."""
    assert fit(billions(6), PLAN, machine(16, 12, free=0.1)) == fit(billions(6), PLAN, machine(16, 12))


@pytest.mark.parametrize("n_gpu_layers", [0, 1, 20, 33])
def test_what_is_where(n_gpu_layers: int) -> None:
    """The parts in the machine's memory and on the GPUs are the whole; both compute, so both need working memory."""
    shape = billions(8)
    on_host, on_gpus = divide(shape, PLAN, n_gpu_layers)
    whole = demand(shape, PLAN)

    assert on_host + on_gpus == whole.total + (whole.compute if n_gpu_layers else 0)
    assert (on_gpus > 0) == (n_gpu_layers > 0)
    assert on_gpus >= (whole.total - whole.compute) * (n_gpu_layers - 1) // 32


def test_what_the_user_has_set_is_not_changed() -> None:
    """It fits as it is, or it does not."""
    shape = billions(8)

    assert fit_as_told(shape, PLAN, machine(32, 24), 99) == fit_as_told(shape, PLAN, machine(32, 24), 33)
    assert fit_as_told(shape, PLAN, machine(32, 24), 33).placement == "gpu"
    assert fit_as_told(shape, PLAN, machine(32, 24), 5).placement == "partial"
    assert fit_as_told(shape, PLAN, machine(32, 24), 0).placement == "cpu"
    assert fit_as_told(shape, PLAN, machine(32), 33).placement == "cpu", "there is no GPU"
    assert fit_as_told(shape, PLAN, machine(32, 8), 33).placement == "none"
    assert fit_as_told(shape, PLAN, machine(8), 0).plan == PLAN


def test_which_gpus_count() -> None:
    """Those that llama.cpp can use; one that shares the machine's memory only if there is no other."""
    own = Gpu(0, "nvidia", "card", 8 * GIB, 0)
    shared = Gpu(1, "intel", "igpu", None, None, is_integrated=True)
    hidden = replace(own, is_usable=False)
    both, only_hidden = (replace(machine(16), gpus=gpus) for gpus in ((own, shared), (hidden,)))

    assert both.usable_gpus == (own,)
    assert replace(both, gpus=(shared,)).usable_gpus == (shared,)
    assert fit(billions(4), PLAN, only_hidden) == fit(billions(4), PLAN, machine(16))


@pytest.mark.parametrize(
    ("here", "weights", "words"),
    [
        (machine(16), 4, "It fits into the machine's memory: 6."),
        (machine(16, 12), 4, "It fits into the GPU's memory: 6."),
        (machine(16, 12, 12), 4, "It fits into the memory of 2 GPUs: 6."),
        (integrated(16), 4, "It fits into the memory that GPU and processor share: 6."),
        (machine(32, 8), 9, "23 of 33 layers fit on the GPU, the processor computes the others"),
        (machine(4), 9, "GiB, and 2.0 GiB can be had"),
    ],
)
def test_it_says_why(here: Hardware, weights: float, words: str) -> None:
    """One sentence with the figures, and that they come from no file."""
    reasons = fit(billions(weights), PLAN, here).reasons

    assert words in reasons[0]
    assert reasons[0].endswith(", by estimate.")


sizes = st.floats(min_value=0.5, max_value=96, allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(sizes, sizes, st.lists(sizes, max_size=1), sizes, st.sampled_from([2_048, 8_192, 65_536]))
def test_more_memory_is_never_worse(
    weights: float, ram: float, vram: list[float], more: float, n_ctx_chat: int
) -> None:
    """Not the placement, and not the context where it is the same; and what fits is no larger than the room."""
    shape, plan = billions(weights), ContextPlan(n_ctx_chat=n_ctx_chat)
    small, large = machine(ram, *vram), machine(ram + more, *(gib + more for gib in vram))
    before, after = fit(shape, plan, small), fit(shape, plan, large)

    assert ORDER.index(before.placement) <= ORDER.index(after.placement)
    if before.placement == after.placement:
        assert before.n_ctx <= after.n_ctx or before.placement == "partial"
        assert before.n_gpu_layers <= after.n_gpu_layers
    for found in (before, after):
        _holds_together(found, n_ctx_chat)


@settings(max_examples=100, deadline=None)
@given(sizes, sizes, st.lists(sizes, min_size=2, max_size=4))
def test_any_number_of_gpus(weights: float, ram: float, vram: list[float]) -> None:
    """What is found holds as it stands, and with one layer more on the GPUs it would not."""
    shape, here = billions(weights), machine(ram, *vram)
    found = fit(shape, PLAN, here)

    _holds_together(found, PLAN.n_ctx_chat)
    if found.placement != "none":
        assert fit_as_told(shape, found.plan, here, found.n_gpu_layers).placement == found.placement
    if found.placement == "partial":
        assert fit_as_told(shape, found.plan, here, found.n_gpu_layers + 1).placement == "none"


def _holds_together(found: Fit, n_ctx_chat: int) -> None:
    assert min(n_ctx_chat, LEAST_CTX_CHAT) <= found.n_ctx <= n_ctx_chat
    if found.placement in {"gpu", "cpu"}:
        assert found.demand.total <= found.available
    assert (found.n_gpu_layers > 0) == (found.placement in {"gpu", "partial"})
