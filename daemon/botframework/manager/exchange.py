"""One model takes another's place while requests go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from botframework.errors import InsufficientMemory, ModelDoesNotFit, ModelLoading
from botframework.manager import budget
from botframework.manager.state import WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botframework.manager.carry import RecentTexts
    from botframework.manager.hosted import HostedModel

EXCHANGED = ModelLoading("another model is being loaded in the place of the one that was asked", fraction=0.0)
CHANGE_OVER_PATIENCE_S = 10.0
"""For requests that are with a model which has to go before another one finds room: a completion takes less, and a chat
that takes longer may be sent again."""

_log = logging.getLogger(__name__)


async def exchange(
    new: HostedModel,
    present: Sequence[HostedModel],
    leaving: Sequence[HostedModel],
    take_place: Callable[[HostedModel], None],
    texts: RecentTexts,
) -> None:
    """Load a model in the place of others, which serve until it is ready unless both do not fit into memory together.

    Whoever comes back from here, with a result or an error, finds every role served by what ``take_place`` said last; a
    model that had to leave and whose successor could not be loaded is begun again by the caller.

    Parameters
    ----------
    present
        The models that serve the roles now; there may be none.
    leaving
        Those of them that no role needs any more afterwards.
    take_place
        Gives the roles to the new model; called once.
    texts
        What the new model reads before it serves.

    Raises
    ------
    BotframeworkError
        The new model cannot be loaded.
    """
    serving = [model for model in leaving if model.state is WorkerState.READY]
    if any(model.state is WorkerState.READY for model in present):
        spare = frozenset(model.choice.key for model in present if model.choice is not None)
        try:
            # A smaller context only when there is no other way: there is one while the old model can go first.
            await new.load(spare=spare, may_shrink=not serving)
        except (InsufficientMemory, ModelDoesNotFit) as error:
            if not serving or budget.is_hopeless(error):
                raise
            _log.info("both models do not fit into memory together: %s", error)
        else:
            if new.supervisor is not None:
                await texts.hand_over(new.supervisor)
            take_place(new)
            return
    await asyncio.gather(*(_finish(model) for model in serving))
    take_place(new)
    await asyncio.gather(*(model.stop(EXCHANGED) for model in leaving if model.state is not WorkerState.SLEEPING))
    await new.load()


async def _finish(model: HostedModel) -> None:
    """Give the requests that are with a model some time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CHANGE_OVER_PATIENCE_S):
            if model.supervisor is not None:
                await model.supervisor.until_idle()
