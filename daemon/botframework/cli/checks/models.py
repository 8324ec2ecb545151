"""The configured models, and the store of pulled ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from botframework import config
from botframework.cli.checks.finding import failed, good, warning
from botframework.errors import BotframeworkError, ConfigError, ModelNotConfigured, ModelNotFound, ModelRefused
from botframework.models import parts
from botframework.quantities import count, plural, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding
    from botframework.config import Settings
    from botframework.models.recommendation import Role
    from botframework.models.store.value import InstalledModel

ROLE_WORDS = {"fim": "ghost text", "chat": "chat and edits"}
RECOMMEND = (
    "`botframework models recommend` names models that suit this machine, `botframework models pull` fetches one"
)


def model(case: Case) -> Iterator[Finding]:
    """Whether the models of all roles can be loaded, as far as their headers tell."""
    from botframework.manager.roles import SERVED, model_of

    by_path: dict[str | None, list[Role]] = {}
    for role in SERVED:
        by_path.setdefault(model_of(case.settings, role), []).append(role)
    for path, roles in by_path.items():
        yield from _model(msgspec.structs.replace(case.settings, model=path), roles)


def _model(settings: Settings, roles: list[Role]) -> Iterator[Finding]:
    """The same for the model of ``settings.model`` alone."""
    from botframework.manager.load import choose
    from botframework.models import gguf

    try:
        choice = choose(settings)
        header = gguf.read_header(choice.load.path)
    except BotframeworkError as error:
        yield failed("model", error.message, _cure(error))
        return
    told = f"{choice.name}, {count(header.n_params)} parameters, {size(header.file_size)}"
    if settings.model is None:
        told += ": the embedded one, a demonstration that knows how code looks and not what it means"
        yield warning("model", told, RECOMMEND)
    else:
        yield good("model", f"{told}, for {' and '.join(ROLE_WORDS[role] for role in roles)}")
    if "fim" in roles and not header.can_infill:
        yield warning(
            "ghost text", f"{choice.name} has no fill-in-the-middle tokens: there is no ghost text", RECOMMEND
        )
    if "chat" in roles and header.chat_template is None:
        yield warning("chat", f"{choice.name} has no chat template: it was hardly trained to answer", RECOMMEND)
    if choice.fit.placement == "none":
        yield failed(
            "room for the model",
            " ".join(choice.fit.reasons) or f"{choice.name} takes more memory than this machine has",
            "take a smaller model or quantization, or a smaller engine.nCtxChat; " + RECOMMEND,
        )


def _cure(error: BotframeworkError) -> str:
    match error:
        case ModelNotConfigured():
            return RECOMMEND
        case ModelNotFound():
            return "correct the setting `model`, or unset it; `botframework models list` has what is there"
        case ModelRefused():
            return "fetch the file again: it is damaged, or no GGUF file; " + RECOMMEND
        case ConfigError():
            return f"correct it in {config.config_file()}"
        case _:
            return RECOMMEND


def store(case: Case) -> Iterator[Finding]:
    """Whether every pulled model is there in its full size, and nothing unfinished takes room."""
    from botframework.manager.folder import models_folder
    from botframework.models.store.store import Store

    place = Store(models_folder(case.settings))
    pulled, usage = place.installed(), place.usage()
    torn = [model.name for model in pulled if _size_on_disk(model) != model.size_bytes]
    for name in torn:
        yield failed(
            "pulled models",
            f"{name} has not the size that it was pulled with",
            f"`botframework models remove {name}`, then pull it again",
        )
    if usage.unfinished_bytes and not place.downloads():
        yield warning(
            "pulled models",
            f"downloads that were broken off take {size(usage.unfinished_bytes)}",
            "pull them again, which goes on where they ended",
        )
    if not torn:
        yield good("pulled models", f"{plural(len(pulled), 'model')}, {size(usage.models_bytes)}")


def _size_on_disk(model: InstalledModel) -> int:
    path = Path(model.path)
    try:
        return sum(part.stat().st_size for part in (path, *parts.others(path, model.parts)))
    except OSError:
        return -1
