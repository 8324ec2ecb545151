"""What a load would take, asked from llama.cpp without carrying it out: a process of its own, for one question.

llama.cpp can lay a model and its contexts out without allocating anything (``no_alloc``), and then says in its log what
each part would have taken. It reads the header only, which takes less than a second for any model. The question is one
line of JSON on standard input, the answer one on standard output. Who asked keeps standard input open; at its end this
process ends too.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import defaultdict
from typing import NoReturn

import msgspec

from botframework.errors import BotframeworkError, InvalidRequest
from botframework.process.streams import take_stdin, take_stdout
from botframework.wire import messages as wire

HOST = "CPU"
"""llama.cpp's name of the machine's memory."""
MAX_QUESTION_BYTES = 1 << 20
"""Far beyond a load with the longest path."""
_MIB = 1 << 20

_ASSIGNED = re.compile(r"^load_tensors: layer +(\d+) assigned to device (.+), is_swa")
_CACHED = re.compile(r"^(\w+)[:,] layer +\d+: dev = (.+)$")
_SIZE = re.compile(r"^(\w+): size = +([\d.]+) MiB \(")
_BUFFER = re.compile(r"^\w+: +(\S+) +(compute|output) buffer size = +([\d.]+) MiB")


class Reading:
    """Picks the figures out of llama.cpp's log; `line` is fed every line, in order."""

    def __init__(self) -> None:
        self._assigned: dict[int, str] = {}
        self._of_cache: list[str] = []
        self._kv: dict[str, float] = defaultdict(float)
        self._recurrent: dict[str, float] = defaultdict(float)
        self._compute: dict[str, float] = defaultdict(float)

    def line(self, text: str) -> None:
        """Take one line of the log."""
        if match := _ASSIGNED.match(text):
            self._assigned[int(match[1])] = match[2]
        elif match := _CACHED.match(text):
            self._of_cache.append(match[2])
        elif match := _SIZE.match(text):
            self._cache(match[1], float(match[2]) * _MIB)
        elif match := _BUFFER.match(text):
            self._compute[match[1]] += float(match[3]) * _MIB

    def _cache(self, name: str, n_bytes: float) -> None:
        """A cache is complete: its layers, whose devices came before, are of one size each."""
        sizes = self._recurrent if "recurrent" in name else self._kv
        devices, self._of_cache = self._of_cache or [HOST], []
        for device in devices:
            sizes[device] += n_bytes / len(devices)

    def measured(self, weights_bytes: int, devices: tuple[wire.Device, ...]) -> wire.Measured:
        """Everything that was said."""
        known = {device.name for device in devices}
        # The host memory that a GPU reads fast has a name of its own, and is the machine's.
        compute: dict[str, float] = defaultdict(float)
        for name, n_bytes in self._compute.items():
            compute[name if name in known else HOST] += n_bytes
        names = sorted({*self._kv, *self._recurrent, *compute}, key=lambda name: (name == HOST, name))
        return wire.Measured(
            weights_bytes=weights_bytes,
            kv_bytes=round(sum(self._kv.values())),
            recurrent_bytes=round(sum(self._recurrent.values())),
            compute_bytes=round(sum(compute.values())),
            shares=tuple(
                wire.DeviceShare(
                    device=name,
                    kv_bytes=round(self._kv.get(name, 0.0)),
                    recurrent_bytes=round(self._recurrent.get(name, 0.0)),
                    compute_bytes=round(compute.get(name, 0.0)),
                )
                for name in names
            ),
            layer_devices=tuple(device for _, device in sorted(self._assigned.items())),
            devices=devices,
        )


def measure(load: wire.LoadModel | None) -> wire.Measured:
    """Ask llama.cpp; without a load only for its devices. Once in a process: the figures come through its log.

    Raises
    ------
    ModelCorrupt, ModelDoesNotFit
        As `llama.Model` and `llama.Context`.
    """
    from botframework.worker import llama

    reading = Reading()
    llama.initialise(lambda _, line: reading.line(line), _say)
    devices = llama.devices()
    if load is None:
        return wire.Measured(devices=devices, engine=llama.describe(), features=llama.features())
    model = llama.Model(
        load.path, n_gpu_layers=load.n_gpu_layers, use_mmap=False, progress=lambda _: True, weights=False
    )
    for n_ctx, n_seq, n_ubatch in (
        (load.n_ctx_fim, load.n_seq_fim, load.n_ubatch_fim),
        (load.n_ctx_chat, load.n_seq_chat, load.n_ubatch_chat),
    ):
        llama.Context(
            model,
            n_ctx=n_ctx,
            n_seq=n_seq,
            n_ubatch=n_ubatch,
            n_threads=1,
            flash_attn=load.flash_attn,
            kv_type=load.kv_type,
        )
    return reading.measured(model.size_bytes, devices)


def _say(text: str) -> None:
    """Say something to whoever reads standard error: the last words before llama.cpp ends the process."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> NoReturn:
    """Answer the one question on standard input."""
    stdout, stdin = take_stdout(), take_stdin()
    answer: wire.Measured | wire.LoadFailed
    try:
        load = _question(stdin)
        threading.Thread(target=_end_with, args=(stdin,), name="asker", daemon=True).start()
        answer = measure(load)
    except BotframeworkError as error:
        answer = wire.LoadFailed(kind=type(error).__name__, message=error.message, data=error.data)
    with os.fdopen(stdout, "wb") as out:
        out.write(msgspec.json.encode(answer) + b"\n")
    os._exit(0)  # without llama.cpp's own tidying up: a driver may take its time, or worse


def _question(stdin: int) -> wire.LoadModel | None:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(stdin, MAX_QUESTION_BYTES)
        line += piece
        if not piece or len(line) > MAX_QUESTION_BYTES:
            raise InvalidRequest("standard input holds no question: one line of JSON, a load or null")
    try:
        return msgspec.json.decode(line, type=wire.LoadModel | None)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"the question is no load: {error}") from error


def _end_with(stdin: int) -> None:
    """End with whoever asked."""
    while os.read(stdin, 1):
        pass
    os._exit(1)
