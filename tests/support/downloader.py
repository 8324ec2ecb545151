"""A download in a process of its own, to be killed: prints how many bytes it has, one number a line.

``python -m support.downloader PART SOURCE-AS-JSON``
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import msgspec

from botframework.models.store.download import download
from botframework.models.store.remote import RemoteFile


def show(done: int, total: int) -> None:
    """Tell whoever started us."""
    del total
    sys.stdout.write(f"{done}\n")
    sys.stdout.flush()


def main() -> int:
    """Download and print the digest at the end."""
    source = msgspec.json.decode(sys.argv[2], type=RemoteFile)
    digest = download(source, Path(sys.argv[1]), on_progress=show, stop=threading.Event())
    sys.stdout.write(f"{digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
