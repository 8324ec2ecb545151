"""``botframework/models/…``: which model files there are, which of them serves, and where others come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botframework.lsp.downloading import download_progress
from botframework.lsp.messages import ModelsResult, NoParams, PullModelResult

if TYPE_CHECKING:
    from botframework.lsp.generate import House
    from botframework.lsp.messages import (
        LoadModelParams,
        PullModelParams,
        RecommendParams,
        RemoveModelParams,
    )
    from botframework.lsp.protocol import DaemonProtocol
    from botframework.lsp.pulse import Pulse
    from botframework.manager.advice import Advice
    from botframework.manager.status import Snapshot


class Models:
    """Answers the requests about models."""

    def __init__(self, protocol: DaemonProtocol, house: House, pulse: Pulse) -> None:
        self._protocol = protocol
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
            await router.load_model(params.path, params.roles)
        return await self._pulse.snapshot()

    async def unload(self, _params: NoParams) -> Snapshot:
        """Let go of the model and of its memory, until another one is loaded."""
        await (await self._house.router_when_there()).unload_model()
        return await self._pulse.snapshot()

    async def recommend(self, params: RecommendParams) -> Advice:
        """The machine, and the models of the catalog that suit it."""
        return await (await self._house.router_when_there()).advice(params.roles)

    async def pull(self, params: PullModelParams) -> PullModelResult:
        """Download a model; the answer comes when it is on the disk and verified."""
        router = await self._house.router_when_there()
        with download_progress(self._protocol, params.work_done_token) as report:
            model = await router.pull(params.reference, report)
        return PullModelResult(model=model)

    async def remove(self, params: RemoveModelParams) -> ModelsResult:
        """Delete a model that was downloaded; what is left is answered."""
        await (await self._house.router_when_there()).remove_model(params.path)
        return await self.list_models(NoParams())
