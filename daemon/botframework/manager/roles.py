"""Which model file the settings give to which role."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from botframework.errors import InvalidParams
from botframework.models.recommendation import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.config import Settings

ROLES: tuple[Role, ...] = get_args(Role)
SERVED: tuple[Role, ...] = ("fim", "chat")
"""The roles that a worker can answer for."""


def model_of(settings: Settings, role: Role) -> str | None:
    """The path as it was set; None is the embedded model for a role that is served, and no model for the others."""
    own: str | None = getattr(settings.models, role)
    return own if own is not None or role not in SERVED else settings.model


def to_be_served(roles: Sequence[Role]) -> tuple[Role, ...]:
    """Which roles a model is to take: those that are named, or all that are served if none is.

    Raises
    ------
    InvalidParams
        One of them is none that a worker answers for; it stands for no other.
    """
    for role in roles:
        if role not in SERVED:
            raise InvalidParams(
                f"/roles: no model can be loaded for {role!r}, expected {' or '.join(SERVED)}", pointer="/roles"
            )
    return tuple(roles) or SERVED


def named_models(settings: Settings) -> frozenset[str]:
    """Every path that a setting names for some role: files that are not to be deleted without being asked."""
    return frozenset(path for role in ROLES if (path := model_of(settings, role)) is not None)
