"""Machines as a probe would describe them, for what has to be decided on others than the one that runs the tests."""

from __future__ import annotations

from botframework.models.hardware import Gpu, Hardware

GIB = 1 << 30


def card(name: str, gib: float, gb_per_s: float, *, index: int = 0) -> Gpu:
    """An NVIDIA card that nobody uses."""
    return Gpu(
        index=index,
        vendor="nvidia",
        name=name,
        vram_total=int(gib * GIB),
        vram_used=0,
        driver="580.65.06",
        bandwidth_gb_s=gb_per_s,
    )


def apple(name: str, gib: float) -> Gpu:
    """The GPU of an Apple chip; ``gib`` is what Metal lets one program have."""
    return Gpu(0, "apple", name, int(gib * GIB), 0, is_integrated=True, source="llama.cpp")


def machine(
    cpu: str,
    cores: int,
    ram_gib: float,
    *gpus: Gpu,
    sets: tuple[str, ...] = ("AVX", "AVX2"),
    gb_per_s: float | None = None,
    unified: bool = False,
) -> Hardware:
    """A machine on which a quarter of the memory is in use."""
    ram = int(ram_gib * GIB)
    return Hardware(
        cpu=cpu,
        physical_cores=cores,
        logical_cores=cores,
        ram_total=ram,
        ram_available=ram * 3 // 4,
        gpus=gpus,
        instruction_sets=sets,
        memory_bandwidth_gb_s=gb_per_s,
        unified_memory=unified,
        devices_known=True,
    )


INTEL_IGPU = Gpu(0, "intel", "Intel Iris Xe Graphics", None, None, is_integrated=True, source="llama.cpp")

MACHINES: dict[str, Hardware] = {
    "laptop_4gb": machine("Intel Celeron N4020", 2, 3.7, sets=()),
    "laptop_16gb_igpu": machine("Intel Core i7-1165G7", 4, 15.4, INTEL_IGPU, sets=("AVX", "AVX2", "AVX-512")),
    "gpu_4gb": machine("Intel Core i5-9300H", 4, 15.5, card("NVIDIA GeForce GTX 1650", 4.0, 128.0), gb_per_s=30.0),
    "gpu_6gb": machine("AMD Ryzen 5 3600", 6, 15.6, card("NVIDIA GeForce RTX 2060", 6.0, 336.0), gb_per_s=35.0),
    "gpu_8gb": machine("AMD Ryzen 7 5700X", 8, 31.3, card("NVIDIA GeForce RTX 4060", 8.0, 272.0)),
    "gpu_12gb": machine("AMD Ryzen 5 5600X", 6, 31.3, card("NVIDIA GeForce RTX 3060", 12.0, 360.0)),
    "gpu_24gb": machine("AMD Ryzen 9 7950X", 16, 62.7, card("NVIDIA GeForce RTX 4090", 24.0, 1008.0)),
    "two_gpus_12gb": machine(
        "AMD Ryzen 9 5950X",
        16,
        62.7,
        card("NVIDIA GeForce RTX 3060", 12.0, 360.0),
        card("NVIDIA GeForce RTX 3060", 12.0, 360.0, index=1),
    ),
    "apple_16gb": machine("Apple M2", 8, 16.0, apple("Apple M2", 10.7), sets=("NEON",), gb_per_s=100.0, unified=True),
    "apple_64gb": machine(
        "Apple M3 Max", 16, 64.0, apple("Apple M3 Max", 48.0), sets=("NEON",), gb_per_s=400.0, unified=True
    ),
    "server_2_cores": machine("Intel Xeon Platinum 8259CL", 2, 7.6, sets=("AVX", "AVX2", "AVX-512")),
    "workstation_no_gpu": machine("AMD Ryzen 9 3950X", 16, 62.7, gb_per_s=45.0),
}
"""By the name of their golden table."""
