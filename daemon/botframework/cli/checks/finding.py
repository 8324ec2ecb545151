"""What a check tells, and what it may look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.cli.documents import Finding

if TYPE_CHECKING:
    from botframework.config import Problem, Settings
    from botframework.errors import BotframeworkError
    from botframework.models.hardware import Hardware
    from botframework.wire.messages import Device


@dataclass(frozen=True, slots=True)
class Case:
    """What the checks may look at."""

    settings: Settings
    problems: tuple[Problem, ...]
    """With the settings."""
    machine: Hardware
    devices: tuple[Device, ...]
    """That llama.cpp sees."""
    engine_error: BotframeworkError | None
    """Why it could not be asked."""


def good(check: str, told: str) -> Finding:
    """All is well."""
    return Finding(check=check, outcome="ok", told=told)


def warning(check: str, told: str, cure: str) -> Finding:
    """It works, but worse than it could."""
    return Finding(check=check, outcome="warning", told=told, cure=cure)


def failed(check: str, told: str, cure: str) -> Finding:
    """Something does not work."""
    return Finding(check=check, outcome="failed", told=told, cure=cure)


def skipped(check: str, told: str) -> Finding:
    """It was not looked at."""
    return Finding(check=check, outcome="skipped", told=told)
