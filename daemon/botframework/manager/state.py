"""Where a model stands, and how listeners are told."""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)


class WorkerState(enum.Enum):
    """Where a supervisor, and the model that it keeps, stands."""

    STOPPED = "stopped"
    SLEEPING = "sleeping"
    """Let go of until the next request; never a supervisor's own state."""
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    RESTARTING = "restarting"
    ERROR = "error"
    """Until `Supervisor.restart`."""


def tell(callback: Callable[..., None], *arguments: object) -> None:
    """Call back; a listener's defect must not end the supervision."""
    try:
        callback(*arguments)
    except Exception:  # noqa: BLE001 - whatever it is, it is not the supervision's
        _log.exception("a listener failed")
