"""What a load takes, and whether there is room for it: pure arithmetic."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from botframework.manager import need
from botframework.manager.holders import Holder
from botframework.manager.need import Need, Room
from botframework.models import hardware
from botframework.models.shape import plain_shape
from botframework.wire.messages import Device, DeviceShare, Measured

GIB = 1 << 30
CPU = Device(name="CPU", description="", kind="cpu", total_bytes=16 * GIB, free_bytes=8 * GIB)
CARD = Device(name="CUDA0", description="", kind="gpu", total_bytes=8 * GIB, free_bytes=6 * GIB)
SHARED = Device(name="Vulkan0", description="", kind="igpu", total_bytes=16 * GIB, free_bytes=8 * GIB)
SHAPE = plain_shape(
    weights_bytes=1_200, n_layers=3, n_head=1, n_head_kv=1, head_dim=1, n_embd=1, n_ff=1, n_vocab=1, n_ctx_train=1
)


def share(device: str, kv: int, compute: int) -> DeviceShare:
    """What a device holds beside the weights."""
    return DeviceShare(device=device, kv_bytes=kv, recurrent_bytes=0, compute_bytes=compute)


def holder(*, mapped: int = 0, coming: int = 0) -> Holder:
    """A worker."""
    return Holder("0" * 16, 1, "/a.gguf", mapped, mapped, coming, 1, 0.0)


def test_a_model_in_main_memory() -> None:
    """Everything counts there."""
    measured = Measured(weights_bytes=100, shares=(share("CPU", 10, 1),), layer_devices=("CPU",) * 4, devices=(CPU,))

    assert need.exact(measured, SHAPE) == Need(111, 0)


def test_a_model_in_both() -> None:
    """The weights by the layers' places, the rest as each device says."""
    measured = Measured(
        weights_bytes=1_500,
        shares=(share("CPU", 10, 1), share("CUDA0", 30, 3)),
        layer_devices=("CPU", "CUDA0", "CUDA0", "CUDA0"),
        devices=(CPU, CARD),
    )
    shape = dataclasses.replace(SHAPE, weights_bytes=1_500, input_bytes=200, output_bytes=100)

    assert need.exact(measured, shape) == Need(400 + 200 + 11, 800 + 100 + 33)
    assert need.exact(measured, shape).total == 1_544
    tied = dataclasses.replace(shape, is_tied=True)
    assert need.exact(measured, tied) == Need(400 + 200 + 11, 800 + 100 + 200 + 33)


def test_a_gpu_that_shares_the_machine_s_memory_has_none_of_its_own() -> None:
    """What goes there is taken from the machine."""
    measured = Measured(
        weights_bytes=100, shares=(share("Vulkan0", 10, 1),), layer_devices=("Vulkan0",) * 2, devices=(CPU, SHARED)
    )

    assert need.exact(measured, SHAPE) == Need(111, 0)
    assert Room(5, None).with_devices(measured) == Room(5, None)


def test_both_kinds_of_memory_have_to_hold() -> None:
    """Room on the card is none in main memory; what nobody can measure is no reason to refuse."""
    assert Room(10, 10).holds(Need(10, 10))
    assert not Room(10, 10).holds(Need(11, 0))
    assert not Room(10, 10).holds(Need(0, 11))
    assert Room(10, None).holds(Need(0, 11))


def test_a_card_that_only_llama_cpp_sees() -> None:
    """Its free memory counts, unless the driver's own library has told."""
    measured = Measured(devices=(CPU, CARD))

    assert Room(1, None).with_devices(measured) == Room(1, 6 * GIB)
    assert Room(1, 2).with_devices(measured) == Room(1, 2)
    assert Room(1, None).with_whole_devices(measured) == Room(1, CARD.total_bytes - GIB // 2)


def test_a_card_that_does_not_tell_its_memory() -> None:
    """Some drivers say nothing: then it is unknown, and not none."""
    silent = msgspec.structs.replace(CARD, total_bytes=0, free_bytes=0)
    measured = Measured(devices=(CARD, silent))

    assert Room(1, None).with_devices(measured) == Room(1, None).with_whole_devices(measured) == Room(1, None)
    assert not Room(1, None).lacks(measured)


@pytest.mark.parametrize(
    ("wanted", "left"),
    [(Need(5, 0), Room(100 - 30 - 8, 50)), (Need(0, 5), Room(100 - 30, 50 - 8)), (Need(500, 0), Room(62, 50))],
)
def test_what_others_use_and_will_take(wanted: Need, left: Room) -> None:
    """Mapped files are called available by the system and are not; a loading worker takes what we need, too."""
    assert Room(100, 50).less([holder(mapped=10, coming=8), holder(mapped=20)], wanted) == left


def test_never_less_than_nothing() -> None:
    """A full machine has no negative room."""
    assert Room(5, 5).less([holder(mapped=10, coming=10)], Need(1, 0)) == Room(0, 5)


def test_a_margin_stays_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a GiB on a large machine and card, a tenth of a small one."""
    card = hardware.DeviceMemory(0, "Card", "gpu", 24 * GIB, 4 * GIB)
    large = hardware.MemorySample(32 * GIB, 20 * GIB, (card,))
    monkeypatch.setattr(hardware, "sample", lambda: large)
    assert need.free() == Room(20 * GIB - GIB // 2, 20 * GIB - GIB // 2)
    assert need.whole() == Room(32 * GIB - GIB // 2, 24 * GIB - GIB // 2)

    monkeypatch.setattr(hardware, "sample", lambda: hardware.MemorySample(2_000, 150))
    assert need.free() == Room(0, None)
    assert need.whole() == Room(1_800, None)
