"""``botframework/models/…``: which model files there are, and which of them serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botframework.lsp.messages import ModelsResult

if TYPE_CHECKING:
    from botframework.lsp.generate import House
    from botframework.lsp.messages import LoadModelParams, NoParams
    from botframework.lsp.pulse import Pulse
    from botframework.manager.status import Snapshot


class Models:
    """Answers the requests about models."""

    def __init__(self, house: House, pulse: Pulse) -> None:
        self._house = house
        self._pulse = pulse

    async def list_models(self, _params: NoParams) -> ModelsResult:
        """The model files that can be chosen from."""
        found = await (await self._house.router_when_there()).models()
        return ModelsResult(models=found.models, folder=found.folder, has_more=found.has_more)

    async def load(self, params: LoadModelParams) -> Snapshot:
        """Exchange the model; the answer comes when the new one is ready."""
        router = await self._house.router_when_there()
        with self._pulse.loading.shown_as(params.work_done_token):
            await router.load_model(params.path)
        return await self._pulse.snapshot()

    async def unload(self, _params: NoParams) -> Snapshot:
        """Let go of the model and of its memory, until another one is loaded."""
        await (await self._house.router_when_there()).unload_model()
        return await self._pulse.snapshot()
