"""A process that pulls one model, for tests with several of them.

``python -m support.store_puller FOLDER REFERENCE`` prints JSON lines: ``[done, total]`` whenever the bytes have
changed, at the end the model, or ``{"error": …, "message": …}``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from botframework.errors import BotframeworkError
from botframework.models.store.foreign import Surroundings
from botframework.models.store.store import Store


def main() -> None:
    """Pull."""
    folder, reference = Path(sys.argv[1]), sys.argv[2]
    told: list[tuple[int, int | None]] = []

    def tell(done: int, total: int | None) -> None:
        if told[-1:] != [(done, total)]:
            told.append((done, total))
            print(json.dumps([done, total]), flush=True)  # noqa: T201 - the result

    try:
        found = Store(folder, Surroundings({}, folder.parent / "nobody")).pull(reference, on_progress=tell)
        print(msgspec.json.encode(found).decode(), flush=True)  # noqa: T201 - the result
    except BotframeworkError as error:
        print(json.dumps({"error": type(error).__name__, "message": error.message}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
