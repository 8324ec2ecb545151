"""The figures of the heartbeat: the machine's, the daemon's, and the workers' as far as they tell them in time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from botframework.errors import BotframeworkError
from botframework.manager.state import WorkerState
from botframework.manager.status import Battery, DeviceMemory, Problem, RoleModel, Snapshot
from botframework.process import rss_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from botframework.manager.hosted import HostedModel
    from botframework.manager.library import Library
    from botframework.manager.status import Download
    from botframework.manager.supervisor import Supervisor
    from botframework.models.hardware import MemorySample
    from botframework.models.recommendation import Role
    from botframework.wire.messages import Stats

STATS_DEADLINE_S = 0.25
"""A worker answers from a thread of its own; a heartbeat that comes late is worse than one with old figures."""

_log = logging.getLogger(__name__)


class Gauges:
    """Reads them, and remembers the workers'."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._stats: dict[Supervisor, Stats] = {}

    async def read(self, serving: Mapping[Role, HostedModel], *, log_file: str, notice: str) -> Snapshot:
        """How everything is, now.

        Parameters
        ----------
        serving
            The model of each role; empty when none is wanted.
        log_file, notice
            As in the snapshot.
        """
        models = tuple(dict.fromkeys(serving.values()))
        await self._ask(models)
        pids = tuple(model.supervisor.worker_pid for model in models if model.supervisor is not None)
        # In a thread: a driver may take its time.
        memory, downloads = await asyncio.to_thread(self._measure, tuple(pid for pid in pids if pid))
        first = serving.get("fim")
        supervisor = first.supervisor if first is not None else None
        state = first.state if first is not None else WorkerState.STOPPED
        error = first.last_error if first is not None else None
        loaded = supervisor.loaded if supervisor is not None else None
        stats = tuple(self._stats.values())
        own = self._stats.get(supervisor) if supervisor is not None else None
        return Snapshot(
            state=state.value,
            model_name=first.name if first is not None else "",
            model_path=_path(first) if first is not None else "",
            load_percent=_percent(supervisor),
            models=tuple(_role_model(role, model) for role, model in serving.items()),
            vram_used=memory.vram_used,
            vram_total=memory.vram_total,
            devices=_devices(memory),
            ram_used=memory.ram_used,
            ram_total=memory.ram_total,
            daemon_rss=rss_bytes(),
            worker_rss=sum(each.rss_bytes for each in stats),
            worker_pid=supervisor.worker_pid if supervisor is not None else 0,
            clients=own.clients if own is not None else 0,
            kv_tokens=sum(each.kv_tokens for each in stats),
            kv_cells=sum(each.kv_cells for each in stats),
            kv_bytes=_kv_bytes(models, self._stats),
            can_cut_tail=loaded.model.can_cut_tail if loaded is not None else None,
            queued=sum(each.queued for each in stats),
            running=sum(each.running for each in stats),
            tokens_per_second=_speed(stats),
            last_first_token_ms=own.last_first_token_ms if own is not None else 0.0,
            prompt_tokens_read=sum(each.prompt_tokens_read for each in stats),
            background_tokens_read=sum(each.background_tokens_read for each in stats),
            chat_tokens_discarded=sum(each.chat_tokens_discarded for each in stats),
            tokens_generated=sum(each.tokens_generated for each in stats),
            battery=Battery.of(memory.battery),
            downloads=downloads,
            error=_problem(error) if state in {WorkerState.ERROR, WorkerState.RESTARTING} else None,
            log_file=log_file,
            notice=notice,
        )

    async def _ask(self, models: Sequence[HostedModel]) -> None:
        """Ask each worker, at the same time; of one that does not answer the last figures stay."""
        asked = [m.supervisor for m in models if m.supervisor is not None and m.supervisor.worker_pid]
        self._stats = {supervisor: stats for supervisor, stats in self._stats.items() if supervisor in asked}
        await asyncio.gather(*(self._ask_one(supervisor) for supervisor in asked))

    async def _ask_one(self, supervisor: Supervisor) -> None:
        try:
            async with asyncio.timeout(STATS_DEADLINE_S):
                self._stats[supervisor] = await supervisor.stats()
        except (TimeoutError, BotframeworkError) as error:
            _log.debug("no figures from the worker: %s", error)

    def _measure(self, pids: tuple[int, ...]) -> tuple[MemorySample, tuple[Download, ...]]:
        from botframework.models import hardware  # on use: an editor waits for the daemon's start

        memory = hardware.sample(pids)
        for stats in list(self._stats.values()):
            memory = hardware.sample_with_devices(memory, stats.devices)
        return memory, self._library.downloads()


def _path(model: HostedModel) -> str:
    return model.choice.load.path if model.choice is not None else model.path


def _percent(supervisor: Supervisor | None) -> int:
    return int(supervisor.load_fraction * 100) if supervisor is not None else 0


def _role_model(role: Role, model: HostedModel) -> RoleModel:
    supervisor = model.supervisor
    return RoleModel(
        role=role,
        name=model.name,
        path=_path(model),
        state=model.state.value,
        load_percent=_percent(supervisor),
        worker_pid=supervisor.worker_pid if supervisor is not None else 0,
    )


def _problem(error: BotframeworkError | None) -> Problem | None:
    return Problem(kind=type(error).__name__, message=str(error)) if error is not None else None


def _devices(memory: MemorySample) -> tuple[DeviceMemory, ...]:
    return tuple(
        DeviceMemory(
            name=device.name,
            kind=device.kind,
            vram_used=device.vram_used,
            vram_total=device.vram_total,
            own_bytes=device.own_bytes,
        )
        for device in memory.devices
    )


def _speed(stats: Sequence[Stats]) -> float:
    """Of the worker that is answering; when several are, or none is, of the fastest."""
    busy = [each for each in stats if each.running]
    return max((each.tokens_per_s for each in busy or stats), default=0.0)


def _kv_bytes(models: Sequence[HostedModel], stats: Mapping[Supervisor, Stats]) -> int | None:
    """By the arithmetic that is checked against llama.cpp; a chat's context counts once the first chat has made it."""
    found = [
        (model.choice, stats[model.supervisor].kv_cells)
        for model in models
        if model.choice is not None and model.supervisor is not None and model.supervisor in stats
    ]
    if not found:
        return None
    from botframework.manager.load import plan_of
    from botframework.models.demand import kv_bytes

    total = 0
    for choice, cells in found:
        plan = plan_of(choice.load)
        made = plan.contexts if cells >= plan.n_ctx_fim + plan.n_ctx_chat else plan.contexts[:1]
        total += sum(
            kv_bytes(choice.shape, *context, plan.kv_type, flash_attention=plan.flash_attention) for context in made
        )
    return total
