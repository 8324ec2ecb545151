"""Damaged snapshots of a real state, given to a reader in a process of its own that has the real llama.cpp.

``python -m support.snapshot_mutations WHAT MODEL FOLDER SEED COUNT`` prints one JSON object with how many files were
tried, missed, still there after the miss, and taken; what is taken is loaded and must answer as the original. WHAT is
``flips`` (COUNT random ones), ``cuts`` (every structural border and COUNT random lengths), ``all`` (every single byte
flipped and every length), or ``raw`` (COUNT flips given to llama.cpp itself, without our container).
"""

from __future__ import annotations

import json
import logging
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from botframework.worker import llama, parked
from botframework.worker.fingerprint import DIGEST_BYTES, FINGERPRINT_BYTES
from botframework.worker.snapshots import SnapshotFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.worker.parked import ParkedState

KEY = bytes(range(DIGEST_BYTES))
HEADER_BORDERS = (0, 1, 8, 12, 16, 24, 32, 32 + FINGERPRINT_BYTES, 32 + FINGERPRINT_BYTES + DIGEST_BYTES)
"""Between the fields of the header."""
N_UBATCH = 32
TOKENS = [(index * 37 + index * index) % 250 for index in range(48)]
NOTE = b"a note"


class Bench:
    """A context with one state, its file, and what it answers."""

    def __init__(self, model: str, folder: Path) -> None:
        llama.initialise(lambda _level, _line: None, lambda text: print(text, file=sys.stderr))  # noqa: T201
        loaded = llama.Model(model, n_gpu_layers=0, use_mmap=True, progress=lambda _: True)
        self.context = llama.Context(
            loaded, n_ctx=256, n_seq=2, n_ubatch=N_UBATCH, n_threads=1, flash_attn=True, kv_type="f16"
        )
        for start in range(0, len(TOKENS), N_UBATCH):
            self.context.decode_chunk(0, start, TOKENS[start : start + N_UBATCH], output=False)
        state = parked.save(self.context, 0, TOKENS, NOTE)
        if state is None:
            raise AssertionError("there is no state")
        self.state = state
        self.context.forget(0)
        self.folder = SnapshotFolder(folder, limit_bytes=1 << 24, fingerprint=b"f" * FINGERPRINT_BYTES)
        self.folder.write(KEY, state)
        (self.path,) = folder.glob("*.kv")
        self.whole = self.path.read_bytes()
        self.expected = self.answer(state)

    def answer(self, state: ParkedState) -> np.ndarray | None:
        """The logits behind one more token; None when the state is not loaded."""
        if not parked.load(self.context, 1, state):
            return None
        self.context.decode_chunk(1, len(TOKENS), [65], output=True)
        logits = self.context.logits(0)
        self.context.forget(1)
        return logits

    def is_right(self, state: ParkedState) -> bool:
        """Whether it is loaded and answers as the original."""
        logits = self.answer(state)
        return logits is not None and self.expected is not None and np.array_equal(logits, self.expected)

    def borders(self) -> list[int]:
        """Lengths at which a part of the file begins, and those beside them."""
        parts = [4 * len(TOKENS), len(NOTE)]
        at = HEADER_BORDERS[-1]
        borders = [*HEADER_BORDERS]
        for part in parts:
            at += part
            borders.append(at)
        # Inside the state: its own header, and the rows of every layer, which begin behind four- and eight-byte fields.
        borders += [at + offset for offset in (4, 8, 12, 16, 20, 24, 28, 16 + 12 * len(TOKENS), 24 + 12 * len(TOKENS))]
        borders.append(len(self.whole) - DIGEST_BYTES)
        return sorted({near for border in borders for near in (border - 1, border, border + 1)} - {-1})

    def try_all(self, mutants: Iterator[bytes]) -> dict[str, int]:
        """Give each to a reader, as a worker would meet it."""
        counts = {"tried": 0, "missed": 0, "left": 0, "taken": 0, "wrong": 0}
        for mutant in mutants:
            counts["tried"] += 1
            self.path.write_bytes(mutant)
            found = self.folder.read(KEY)
            if found is None:
                counts["missed"] += 1
                counts["left"] += self.path.exists()
                continue
            counts["taken"] += 1
            counts["wrong"] += found != self.state or not self.is_right(found)
        # The process and its context are as good as before.
        self.path.write_bytes(self.whole)
        last = self.folder.read(KEY)
        counts["healthy"] = last is not None and self.is_right(last)
        return counts


def flip(data: bytes, at: int, mask: int) -> bytes:
    """With some bits of one byte turned."""
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def main() -> None:
    """See the module."""
    what, model, folder, seed, count = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    bench = Bench(model, Path(folder))
    chance = random.Random(int(seed))
    whole = bench.whole
    if what == "flips":
        places = [*range(HEADER_BORDERS[-1]), *(chance.randrange(len(whole)) for _ in range(int(count)))]
        result = bench.try_all(flip(whole, at, chance.randrange(1, 256)) for at in places)
    elif what == "cuts":
        lengths = [*bench.borders(), *(chance.randrange(len(whole)) for _ in range(int(count)))]
        result = bench.try_all(whole[:length] for length in lengths)
    elif what == "all":
        flips = (flip(whole, at, 1 << chance.randrange(8)) for at in range(len(whole)))
        cuts = (whole[:length] for length in range(len(whole)))
        result = bench.try_all(mutant for mutants in (flips, cuts) for mutant in mutants)
    else:
        result = {"tried": 0, "taken": 0, "wrong": 0}
        for _ in range(int(count)):
            state = flip(bench.state.state, chance.randrange(len(bench.state.state)), chance.randrange(1, 256))
            damaged = parked.ParkedState(bench.state.tokens, state)
            result["tried"] += 1
            taken = bench.answer(damaged) is not None
            result["taken"] += taken
            result["wrong"] += taken and not bench.is_right(damaged)
            print(json.dumps(result), flush=True)  # noqa: T201 - it may not live to the end
    print(json.dumps(result))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
