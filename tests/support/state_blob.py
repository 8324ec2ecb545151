"""Reads positions out of a state as llama.cpp saves it, for the tests that must know what the KV cache really holds."""

from __future__ import annotations

import struct

_BEGINNING = struct.Struct("<IiII")
"""Magic, sequence, streams, cells."""
_CELL = struct.Struct("<iIi")
"""Position, number of sequences, the sequence."""


def positions_in(state: bytes) -> list[int]:
    """Positions of the cells in the order of the cache; of attention caches without M-RoPE, in one stream."""
    _, sequence, streams, cells = _BEGINNING.unpack_from(state)
    if streams != 1:
        raise ValueError(f"{streams} streams")
    found = []
    for index in range(cells):
        position, owners, owner = _CELL.unpack_from(state, _BEGINNING.size + index * _CELL.size)
        if (owners, owner) != (1, sequence):
            raise ValueError(f"cell {index} belongs to {owners} sequences, the first is {owner}, not {sequence}")
        found.append(position)
    return found
