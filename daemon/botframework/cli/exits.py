"""Exit codes of the commands; those of ``--stdio`` are the LSP's."""

from __future__ import annotations

DONE = 0
FAILED = 1
"""It could not be done, and the message says why; of ``doctor``: something is wrong."""
INTERRUPTED = 130
"""Ctrl-C: 128 and the signal's number, as shells say it."""
BROKEN_PIPE = 141
"""Nobody reads standard output any more, such as ``| head``."""
