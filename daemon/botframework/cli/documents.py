"""What ``--json`` prints: one document for each command, the source of ``schemas/cli.json``.

Fields are camelCase and are only ever added. Times are milliseconds or seconds as their names say, sizes bytes.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Literal

import msgspec

from botframework.manager.advice import Advice, HardwareSummary
from botframework.manager.entry import ModelEntry  # noqa: TC001 - msgspec reads the annotations
from botframework.models.catalog import CatalogEntry  # noqa: TC001 - msgspec reads the annotations
from botframework.models.recommendation import Placement  # noqa: TC001 - msgspec reads the annotations
from botframework.models.store.value import DownloadProgress, InstalledModel, Usage
from botframework.process.program import Form  # noqa: TC001 - msgspec reads the annotations

Outcome = Literal["ok", "warning", "failed", "skipped"]


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all of them."""


# --- where ------------------------------------------------------------------------------------------------------------


class Place(Document, frozen=True, kw_only=True):
    """One folder or file."""

    name: str
    path: str
    exists: bool
    holds: str
    """What it is for."""


class Places(Document, frozen=True, kw_only=True):
    """The folders and files that are used."""

    places: tuple[Place, ...]


# --- version, licences ------------------------------------------------------------------------------------------------


class ProgramVersion(Document, frozen=True, kw_only=True):
    """Which program this is."""

    version: str
    form: Form
    """Run by a Python that it was installed into, or packed: a folder, or one file that unpacks itself."""
    variant: str
    """Of a packed program what its llama.cpp computes on: ``cpu``, ``cuda``, …; empty otherwise."""
    commit: str
    """Of a packed program the commit that it was made from, ``-dirty`` if with changes; empty if unknown."""
    engine: str
    """llama.cpp's version, commit and binding; empty if it does not run here."""
    features: str
    """What llama.cpp was built with and uses here, in its own words."""
    processors: tuple[str, ...]
    """The processors that it has a library for, of which it takes the best; empty: it was compiled for one."""
    devices: tuple[str, ...]
    problem: str
    """Why llama.cpp does not run here; empty if it does."""
    python: str
    system: str


class Licences(Document, frozen=True, kw_only=True):
    """The terms of everything that is inside."""

    text: str


# --- complete, chat ---------------------------------------------------------------------------------------------------


class Completion(Document, frozen=True, kw_only=True):
    """The suggestion for a place."""

    text: str
    """Empty: nothing was suggested."""
    range: dict[str, Any] | None
    """What the text replaces, as the LSP counts; it may reach over closing brackets behind the cursor."""
    reason: str
    """Why nothing was suggested, as in ``botframework/inspect``; empty if something was."""
    model: str
    total_ms: float
    """From the request to the suggestion, without the loading of the model."""
    timings: dict[str, Any] | None
    """The LSP's ``Timings``; null if the model was not asked."""


class Answer(Document, frozen=True, kw_only=True):
    """One answer of a chat."""

    text: str
    finish_reason: str
    """``cancelled``: it was stopped, and the text is what had come by then."""
    model: str
    dropped_messages: int
    """Oldest ones that were left out because the conversation did not fit."""
    usage: dict[str, Any] | None
    """The LSP's ``Usage``; null if it was stopped."""
    timings: dict[str, Any] | None
    """The LSP's ``Timings``; null if it was stopped."""


# --- doctor -----------------------------------------------------------------------------------------------------------


class Finding(Document, frozen=True, kw_only=True):
    """One thing that was looked at."""

    check: str
    outcome: Outcome
    """``warning``: it works, but worse than it could; ``failed``: something does not work."""
    told: str
    cure: str = ""
    """What to do about it; never empty for a warning or a failure."""


class Report(Document, frozen=True, kw_only=True):
    """Everything that was looked at."""

    findings: tuple[Finding, ...]
    failed: int
    """How many failed; the exit code is 1 if there are any."""
    warnings: int


# --- models -----------------------------------------------------------------------------------------------------------


class ModelList(Document, frozen=True, kw_only=True):
    """The models that can be chosen from."""

    models: tuple[ModelEntry, ...]
    folder: str
    """Where they are looked for and pulled to; it need not exist."""
    has_more: bool
    """Whether there are more than are listed."""
    downloads: tuple[DownloadProgress, ...]
    """Under way, in whichever process."""


class Need(Document, frozen=True, kw_only=True):
    """How a model fits this machine with the settings in force."""

    placement: Placement
    gpu_layers: int
    context_tokens: int
    weights: int
    kv: int
    recurrent: int
    compute: int
    available: int
    """Where it goes."""
    reasons: tuple[str, ...]


class ModelFacts(Document, frozen=True, kw_only=True):
    """What a model's header says."""

    name: str
    path: str
    size_bytes: int
    architecture: str
    quantization: str | None
    parameters: int
    layers: int
    n_ctx_train: int
    can_infill: bool
    has_chat_template: bool
    need: Need
    installed: InstalledModel | None
    """What the store, or another program, knows of it; null for any other file."""


class ModelInfo(Document, frozen=True, kw_only=True):
    """One model: a file, or what the catalog knows of one that is not here. One of the two is null."""

    model: ModelFacts | None
    catalog: CatalogEntry | None


class Verdict(Document, frozen=True, kw_only=True):
    """What became of the check of one model."""

    name: str
    path: str
    is_whole: bool
    problem: str
    """Empty for a whole one."""


class Verdicts(Document, frozen=True, kw_only=True):
    """All of them; the exit code is 1 if one is not whole."""

    models: tuple[Verdict, ...]


class Removed(Document, frozen=True, kw_only=True):
    """What was deleted."""

    removed: tuple[InstalledModel, ...]


class ModelPlaces(Document, frozen=True, kw_only=True):
    """Where models are, and what they take."""

    folder: str
    disk_gib: float | None
    """The limit of pulled models (``models.diskGib``)."""
    usage: Usage
    foreign: tuple[InstalledModel, ...]
    """Kept by other programs and used where they lie."""


# --- errors -----------------------------------------------------------------------------------------------------------


class Error(Document, frozen=True, kw_only=True):
    """Why it could not be done."""

    kind: str
    """Class name in the tree of errors."""
    code: int
    message: str
    retryable: bool
    data: dict[str, Any]


class Failure(Document, frozen=True, kw_only=True):
    """Printed by every command instead of its own document."""

    error: Error


DOCUMENTS = MappingProxyType(
    {
        "version": ProgramVersion,
        "licences": Licences,
        "where": Places,
        "hardware": HardwareSummary,
        "complete": Completion,
        "chat": Answer,
        "doctor": Report,
        "models list": ModelList,
        "models recommend": Advice,
        "models pull": InstalledModel,
        "models verify": Verdicts,
        "models remove": Removed,
        "models info": ModelInfo,
        "models where": ModelPlaces,
    }
)
"""By command."""
