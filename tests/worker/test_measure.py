"""llama.cpp's log, read for what a load would take. On GPUs that this machine does not have: the lines are its own."""

from __future__ import annotations

from botframework.wire.messages import Device, DeviceShare
from botframework.worker.measure import Reading

MIB = 1 << 20
DEVICES = (
    Device(name="CUDA0", description="", kind="gpu", total_bytes=1, free_bytes=1),
    Device(name="CUDA1", description="", kind="gpu", total_bytes=1, free_bytes=1),
    Device(name="CPU", description="", kind="cpu", total_bytes=1, free_bytes=1),
)


def read(text: str) -> Reading:
    """What was picked out of these lines."""
    reading = Reading()
    for line in text.splitlines():
        reading.line(line.strip())
    return reading


def test_two_gpus_and_the_processor() -> None:
    """Each layer's part of a cache is on its device; memory that a GPU reads fast is the machine's all the same."""
    told = read("""
        llama_model_loader: - kv   0: general.architecture str = llama
        load_tensors: layer   0 assigned to device CPU, is_swa = 0
        load_tensors: layer   1 assigned to device CUDA0, is_swa = 0
        load_tensors: layer   2 assigned to device CUDA1, is_swa = 1
        load_tensors: layer   3 assigned to device CUDA1, is_swa = 0
        llama_context:  CUDA_Host  output buffer size =     4.00 MiB
        llama_kv_cache: layer   0: dev = CPU
        llama_kv_cache: layer   1: dev = CUDA0
        llama_kv_cache: layer   2: filtered
        llama_kv_cache: size =  512.00 MiB (  4096 cells,   2 layers,  8/1 seqs)
        llama_kv_cache: layer   2: dev = CUDA1
        llama_kv_cache: size =   32.00 MiB (   768 cells,   1 layers,  8/1 seqs)
        sched_reserve:      CUDA0 compute buffer size =   100.00 MiB
        sched_reserve:      CUDA1 compute buffer size =   200.00 MiB
        sched_reserve:  CUDA_Host compute buffer size =    10.50 MiB
        sched_reserve: reserve took 12.00 ms, sched copies = 1
    """).measured(7_000, DEVICES)

    assert (told.weights_bytes, told.kv_bytes, told.recurrent_bytes) == (7_000, 544 * MIB, 0)
    assert told.compute_bytes == int(314.5 * MIB)
    assert told.layer_devices == ("CPU", "CUDA0", "CUDA1", "CUDA1")
    assert told.shares == (
        DeviceShare(device="CUDA0", kv_bytes=256 * MIB, recurrent_bytes=0, compute_bytes=100 * MIB),
        DeviceShare(device="CUDA1", kv_bytes=32 * MIB, recurrent_bytes=0, compute_bytes=200 * MIB),
        DeviceShare(device="CPU", kv_bytes=256 * MIB, recurrent_bytes=0, compute_bytes=int(14.5 * MIB)),
    )
    assert told.devices == DEVICES


def test_a_hybrid_model_with_two_contexts() -> None:
    """States and cells are counted apart, and every context adds its own."""
    context = """
        llama_kv_cache: layer   1: dev = CUDA0
        llama_kv_cache: size =   64.00 MiB (  4096 cells,   1 layers,  8/1 seqs)
        llama_memory_recurrent, layer   0: dev = CPU
        llama_memory_recurrent, layer   1: skipped
        llama_memory_recurrent:        CPU RS buffer size =    24.00 MiB
        llama_memory_recurrent: size =   24.00 MiB (     8 cells,   2 layers,  8 seqs  0 rs_seq), R (f32):    8.00 MiB
        sched_reserve:        CPU compute buffer size =    16.00 MiB
    """
    told = read(context + context).measured(1, DEVICES)

    assert (told.kv_bytes, told.recurrent_bytes, told.compute_bytes) == (128 * MIB, 48 * MIB, 32 * MIB)
    assert {share.device: share.recurrent_bytes for share in told.shares} == {"CUDA0": 0, "CPU": 48 * MIB}
