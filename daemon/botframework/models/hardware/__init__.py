"""What this machine has, and what it has free.

psutil, pynvml and ctypes are imported on use, so that a daemon that has not asked yet has not paid. A container's
limits count as the machine's. Linux is run; the macOS and Windows branches were never run.
"""

from __future__ import annotations

from botframework.models.hardware.card_list import cards
from botframework.models.hardware.devices import sample_with_devices, with_devices
from botframework.models.hardware.history import since_last_look
from botframework.models.hardware.machine import Battery, DeviceMemory, Gpu, Hardware, MemorySample
from botframework.models.hardware.nvidia import has_nvidia_driver
from botframework.models.hardware.probing import probe, sample, survey
from botframework.models.hardware.words import changes

__all__ = [
    "Battery",
    "DeviceMemory",
    "Gpu",
    "Hardware",
    "MemorySample",
    "cards",
    "changes",
    "has_nvidia_driver",
    "probe",
    "sample",
    "sample_with_devices",
    "since_last_look",
    "survey",
    "with_devices",
]
