"""A worker as the daemon has it, without the daemon around it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from botframework import config
from botframework.manager.router import Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from botframework.manager.supervisor import Supervisor
    from botframework.wire.messages import Loaded

LOAD_DEADLINE_S = 120.0


@contextlib.asynccontextmanager
async def attached(model: Path) -> AsyncIterator[tuple[Supervisor, Loaded]]:
    """The supervisor of a loaded model; the worker ends with the block."""
    ready: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
    router = Router(
        config.Settings(model=str(model)),
        on_change=lambda: None,
        on_ready=ready.set_result,
        on_progress=lambda _: None,
    )
    await router.start()
    try:
        loaded = await asyncio.wait_for(ready, LOAD_DEADLINE_S)
        supervisor = router.supervisor("fim")
        assert supervisor is not None
        yield supervisor, loaded
    finally:
        await router.stop()
