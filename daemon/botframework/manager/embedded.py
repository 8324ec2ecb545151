"""The file of the embedded model: the same one at every start.

A program of one file unpacks itself into another folder at every start, and removes it when it ends. But the key of a
worker and the fingerprint of a snapshot name a file of the disk, and a worker may outlive the daemon that started it.
So such a program uses a copy in the user's cache folder, which all of its starts share.
"""

from __future__ import annotations

import filecmp
import functools
import logging
from typing import TYPE_CHECKING

import botframework
from botframework import config
from botframework.process import durable, program

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)


def place(packed: Path) -> Path:
    """Where the model that the package has at ``packed`` is opened; nothing is made by asking."""
    if program.form() != "file":
        return packed
    return config.cache_dir() / f"embedded-{botframework.__version__}.gguf"


@functools.cache
def lasting(packed: Path) -> Path:
    """The same, with the copy there and equal to what is packed. Reads the disk: not for an event loop.

    If no copy can be made it is ``packed``: then each start has a worker of its own and knows no snapshot.
    """
    copy = place(packed)
    if copy == packed or not packed.is_file():
        return packed
    try:
        if not copy.is_file() or not filecmp.cmp(copy, packed, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            durable.replace_whole(copy, packed.read_bytes())
    except OSError as error:
        _log.warning("the embedded model cannot be kept in %s: %s", copy.parent, error)
        return packed
    return copy
