"""Sizes of memory in sentences. Pure."""

from __future__ import annotations

GIB = 1 << 30


def in_words(n_bytes: float) -> str:
    """Bytes as ``4.4 GiB``, and what is less than a tenth of one as ``63 MiB``."""
    return f"{int(n_bytes) >> 20} MiB" if n_bytes < GIB // 10 else f"{n_bytes / GIB:.1f} GiB"
