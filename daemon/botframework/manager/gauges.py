"""The figures of the heartbeat: the machine's, the daemon's, and the worker's as far as it tells them in time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from botframework.errors import BotframeworkError
from botframework.manager.status import Problem, Snapshot
from botframework.manager.supervisor import WorkerState
from botframework.process import rss_bytes

if TYPE_CHECKING:
    from botframework.manager.supervisor import Supervisor
    from botframework.wire.messages import Stats

STATS_DEADLINE_S = 0.25
"""The worker answers from a thread of its own; a heartbeat that comes late is worse than one with old figures."""

_log = logging.getLogger(__name__)


class Gauges:
    """Reads them, and remembers the worker's."""

    def __init__(self) -> None:
        self._stats: Stats | None = None

    def forget(self) -> None:
        """The worker is another one now."""
        self._stats = None

    async def read(
        self,
        supervisor: Supervisor | None,
        state: WorkerState,
        last_error: BotframeworkError | None,
        *,
        model_name: str,
        model_path: str,
        log_file: str,
    ) -> Snapshot:
        """How everything is, now."""
        await self._ask(supervisor)
        stats = self._stats
        error = last_error if state in {WorkerState.ERROR, WorkerState.RESTARTING} else None
        from botframework.models import hardware  # on use: an editor waits for the daemon's start

        # In a thread: a driver may take its time.
        memory = await asyncio.to_thread(hardware.sample)
        snapshot = Snapshot(
            state=state.value,
            model_name=model_name,
            model_path=model_path,
            load_percent=int(supervisor.load_fraction * 100) if supervisor is not None else 0,
            vram_used=memory.vram_used,
            vram_total=memory.vram_total,
            ram_used=memory.ram_used,
            ram_total=memory.ram_total,
            daemon_rss=rss_bytes(),
            worker_pid=supervisor.worker_pid if supervisor is not None else 0,
            log_file=log_file,
            error=Problem(kind=type(error).__name__, message=str(error)) if error is not None else None,
        )
        if supervisor is not None and supervisor.loaded is not None:
            snapshot = msgspec.structs.replace(snapshot, can_cut_tail=supervisor.loaded.model.can_cut_tail)
        return snapshot if stats is None or snapshot.worker_pid == 0 else _with_stats(snapshot, stats)

    async def _ask(self, supervisor: Supervisor | None) -> None:
        if supervisor is None or supervisor.worker_pid == 0:
            self._stats = None
            return
        try:
            async with asyncio.timeout(STATS_DEADLINE_S):
                self._stats = await supervisor.stats()
        except (TimeoutError, BotframeworkError) as error:
            _log.debug("no figures from the worker: %s", error)


def _with_stats(snapshot: Snapshot, stats: Stats) -> Snapshot:
    """The worker's own figures; VRAM too, where the daemon cannot find it out itself."""
    gpus = [device for device in stats.devices if device.kind != "cpu"]
    if snapshot.vram_total is None and gpus:
        total = sum(device.total_bytes for device in gpus)
        used = total - sum(device.free_bytes for device in gpus)
        snapshot = msgspec.structs.replace(snapshot, vram_total=total, vram_used=used)
    return msgspec.structs.replace(
        snapshot,
        worker_rss=stats.rss_bytes,
        clients=stats.clients,
        kv_tokens=stats.kv_tokens,
        kv_cells=stats.kv_cells,
        queued=stats.queued,
        running=stats.running,
        tokens_per_second=stats.tokens_per_s,
        last_first_token_ms=stats.last_first_token_ms,
        prompt_tokens_read=stats.prompt_tokens_read,
        background_tokens_read=stats.background_tokens_read,
        chat_tokens_discarded=stats.chat_tokens_discarded,
        tokens_generated=stats.tokens_generated,
    )
