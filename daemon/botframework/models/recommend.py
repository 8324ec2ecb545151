"""Which models of the catalog suit a machine, in which number format, and why. Pure.

A model that fits nowhere is left out. First come the first choices for a machine of this size (`Catalog.defaults`), as
far as they are at ease on it; if none is, those of the next smaller size. The others follow: what the GPU holds whole,
what it holds in part, and the rest; of those what is too slow comes last, the smallest of it first, and before it that
of which no accuracy is published. What is a first choice for a smaller machine, and at ease, comes before what is
nobody's, since by its points per GiB alone the smallest model would win. Among equals the total of the scores decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from botframework.models import formats, scores
from botframework.models.fit import ContextPlan, fit
from botframework.models.recommendation import Recommendation, Role, Scores
from botframework.models.shape import plain_shape
from botframework.quantities import GIB

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from botframework.models.catalog import Catalog, CatalogEntry, Tier
    from botframework.models.fit import Fit
    from botframework.models.hardware import Gpu, Hardware
    from botframework.models.recommendation import Placement

ROLES: tuple[Role, ...] = get_args(Role)
BENCHMARKS: dict[Role, str] = {
    "fim": "CrossCodeEval",
    "chat": "HumanEval+",
    "embed": "MTEB-Code",
    "rerank": "MTEB-Code",
}
"""What a model for a role is judged by: lines of real projects filled in (exact match, mean of four languages),
functions written from their description, code found."""
MEDIUM_GIB, LARGE_GIB = 8, 16
"""Borders of the tiers: below the one, and above the other."""
CHAT_CTX = 32_768
"""Tokens of chat context that are asked for; fewer are proposed where they do not fit."""
TEXT_CTX = 8_192
"""The same for embedding and rerank models, which read a file or a part of it at a time."""
ROOMY_SHARE = 0.5
"""Of the memory: the most precise format whose weights take no more is proposed, else one of four bits."""
SLOW_BITS = 5.0
"""Where weights come from main memory no format with more bits is chosen for being precise: it would be slower."""
LEAST_TOKENS_PER_S: dict[Role, float] = {"fim": 25.0, "chat": 6.0}
"""That the bandwidth must allow, if it is known: half a line of ghost text in half a second, and an answer as fast as
one reads."""
PERMISSIVE = frozenset({"apache-2.0", "mit"})
"""Licences that need no warning."""

_PLACEMENTS: tuple[Placement, ...] = ("gpu", "partial", "cpu", "none")
_TIERS: tuple[Tier, ...] = ("small", "medium", "large")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A model in one format at its place on this machine."""

    entry: CatalogEntry
    format_name: str
    weights: int
    fit: Fit

    @property
    def active_bytes(self) -> int:
        """Weights that are read for one token."""
        return formats.estimated_bytes(self.entry.active_parameters or self.entry.parameters, self.format_name)


def recommend(
    hardware: Hardware, catalog: Catalog, *, roles: Sequence[Role] = ROLES, installed: Collection[str] = ()
) -> tuple[Recommendation, ...]:
    """Propose models for a machine.

    Parameters
    ----------
    roles
        In this order.
    installed
        Paths of the files that are there already.

    Returns
    -------
    recommendations
        Role by role, best first.
    """
    return tuple(each for role in roles for each in _for_role(role, hardware, catalog, installed))


def tier_of(hardware: Hardware) -> Tier:
    """How large the machine is, by the memory of its own cards, or by its main memory if it has none."""
    memory = _memory_gib(hardware)
    if memory < MEDIUM_GIB:
        return "small"
    return "large" if memory > LARGE_GIB and _has_fast_gpu(hardware) else "medium"


def _cards(hardware: Hardware) -> list[Gpu]:
    """GPUs with memory of their own."""
    return [gpu for gpu in hardware.usable_gpus if not gpu.is_integrated]


def _memory_gib(hardware: Hardware) -> int:
    """In whole GiB, as memory is sold: systems and drivers keep some of it."""
    return round((sum(gpu.vram_total or 0 for gpu in _cards(hardware)) or hardware.ram_total) / GIB)


def _has_fast_gpu(hardware: Hardware) -> bool:
    """A card of its own, or a chip whose memory was made for both."""
    return hardware.unified_memory or bool(_cards(hardware))


def _tiers(role: Role, hardware: Hardware) -> tuple[Tier, ...]:
    """The machine's, and the smaller ones behind it."""
    largest = _TIERS.index(tier_of(hardware))
    if role == "fim" and not _has_fast_gpu(hardware):
        # All weights are read through main memory for every token, and the user waits for some while typing.
        largest = max(0, largest - 1)
    return _TIERS[largest::-1]


def _standings(role: Role, hardware: Hardware, catalog: Catalog) -> dict[str, int]:
    """How many tiers below the machine's a model is a first choice for; nobody's first choice is not in it."""
    standings: dict[str, int] = {}
    for below, tier in enumerate(_tiers(role, hardware)):
        for model_id in catalog.defaults.get(tier, {}).get(role, ()):
            standings.setdefault(model_id, below)
    return standings


def _first_choices(
    role: Role, hardware: Hardware, catalog: Catalog, candidates: Sequence[_Candidate]
) -> frozenset[str]:
    """Ids of the first choices for the largest tier of which one is at ease on this machine.

    Where none is, the quickest of the smallest tier.
    """
    at_ease = {each.entry.id for each in candidates if _is_at_ease(each, role, hardware)}
    for tier in _tiers(role, hardware):
        chosen = at_ease.intersection(catalog.defaults.get(tier, {}).get(role, ()))
        if chosen:
            return frozenset(chosen)
    small = catalog.defaults.get(_TIERS[0], {}).get(role, ())
    quickest = min(
        (each for each in candidates if each.entry.id in small), key=lambda each: each.active_bytes, default=None
    )
    return frozenset({quickest.entry.id} if quickest is not None else ())


def _is_at_ease(candidate: _Candidate, role: Role, hardware: Hardware) -> bool:
    """Whether a model need not be split, has the room that its format wants, and is fast enough as far as one knows."""
    found, name = candidate.fit, candidate.format_name
    if found.placement != "gpu" and hardware.usable_gpus:
        return False
    if (scores.precision(candidate.weights, found.available, name, formats.class_of(name)).value or 0.0) < 100.0:
        return False
    return not _is_too_slow(candidate, role, hardware)


def _is_too_slow(candidate: _Candidate, role: Role, hardware: Hardware) -> bool:
    """Whether the memory is known to be too slow for a model of this size."""
    gb_per_s = _bandwidth(hardware, candidate)
    return gb_per_s is not None and gb_per_s * 1e9 < LEAST_TOKENS_PER_S.get(role, 0.0) * candidate.active_bytes


def _for_role(
    role: Role, hardware: Hardware, catalog: Catalog, installed: Collection[str]
) -> tuple[Recommendation, ...]:
    entries = catalog.with_role(role)
    found = (_candidate(entry, role, hardware) for entry in entries)
    candidates = [candidate for candidate in found if candidate is not None]
    name = BENCHMARKS[role]
    accuracies = [figure.score for entry in entries if (figure := entry.benchmark(name)) is not None]
    efficiencies = [
        scores.efficiency(figure.score, candidate.weights)
        for candidate in candidates
        if (figure := candidate.entry.benchmark(name)) is not None
    ]
    judge = _Judge(
        role,
        hardware,
        baseline=max(accuracies, default=0.0),
        best_efficiency=max(efficiencies, default=0.0),
        first_choices=_first_choices(role, hardware, catalog, candidates),
        standings=_standings(role, hardware, catalog),
        installed=installed,
    )
    judged = [(judge.rank(candidate), judge.judged(candidate)) for candidate in candidates]
    return tuple(found for _, found in sorted(judged, key=lambda each: (each[0], -each[1].total, each[1].model_id)))


# --- the place and the format -----------------------------------------------------------------------------------------


def _candidate(entry: CatalogEntry, role: Role, hardware: Hardware) -> _Candidate | None:
    """The model in the format that suits the machine best; None if none fits."""
    fitting: list[_Candidate] = []
    for name in _formats(entry):
        weights = formats.estimated_bytes(entry.parameters, name)
        found = _Candidate(entry, name, weights, _fit(entry, role, weights, hardware))
        if found.fit.placement == "none":
            continue
        if _is_roomy(found, hardware):
            return found
        fitting.append(found)
    usual = entry.usual_quantization
    return min(
        fitting,
        key=lambda each: (
            _PLACEMENTS.index(each.fit.placement),
            each.format_name != usual,
            formats.bits_per_weight(each.format_name) or 0.0,
        ),
        default=None,
    )


def _formats(entry: CatalogEntry) -> list[str]:
    """Those of the repository that are worth having, the most precise first."""
    bits = {name: formats.bits_per_weight(name) or 0.0 for name in entry.quantizations}
    worthy = [name for name in bits if formats.LEAST_BITS <= bits[name] <= formats.MOST_BITS]
    return sorted(worthy or bits, key=bits.__getitem__, reverse=True)


def _is_roomy(candidate: _Candidate, hardware: Hardware) -> bool:
    """Whether there is no reason for a smaller format."""
    found = candidate.fit
    if found.placement == "partial" or (found.placement == "cpu" and hardware.usable_gpus):
        return False
    if not _cards(hardware) and (formats.bits_per_weight(candidate.format_name) or 0.0) > SLOW_BITS:
        return False
    return candidate.weights <= ROOMY_SHARE * found.available


def _fit(entry: CatalogEntry, role: Role, weights: int, hardware: Hardware) -> Fit:
    shape = plain_shape(
        weights_bytes=weights,
        n_layers=entry.layers or 1,
        n_head=entry.heads or 0,
        n_head_kv=entry.kv_heads or 0,
        head_dim=entry.head_dim or 0,
        n_vocab=entry.vocabulary or 0,
        n_ctx_train=entry.n_ctx_train or 0,
    )
    return fit(shape, _plan(entry, role), hardware)


def _plan(entry: CatalogEntry, role: Role) -> ContextPlan:
    trained = entry.n_ctx_train or CHAT_CTX
    usual = ContextPlan()
    if role == "fim":
        return ContextPlan(n_ctx_fim=min(usual.n_ctx_fim, trained), n_ctx_chat=0)
    if role == "chat":
        return ContextPlan(n_ctx_fim=0, n_ctx_chat=min(CHAT_CTX, trained))
    return ContextPlan(n_ctx_fim=0, n_ctx_chat=min(TEXT_CTX, trained), n_seq_chat=1)


# --- scores and words -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Judge:
    """What the candidates for one role are measured against."""

    role: Role
    hardware: Hardware
    baseline: float
    best_efficiency: float
    first_choices: frozenset[str]
    standings: Mapping[str, int]
    installed: Collection[str]

    def rank(self, candidate: _Candidate) -> tuple[bool, int, int, bool, int]:
        """What the list is ordered by before the total."""
        is_other = candidate.entry.id not in self.first_choices
        too_slow = candidate.active_bytes if _is_too_slow(candidate, self.role, self.hardware) else 0
        standing = 0
        if is_other:
            is_choice = _is_at_ease(candidate, self.role, self.hardware)
            standing = self.standings.get(candidate.entry.id, len(_TIERS)) if is_choice else len(_TIERS)
        is_unknown = is_other and candidate.entry.benchmark(BENCHMARKS[self.role]) is None
        return (is_other, _PLACEMENTS.index(candidate.fit.placement), too_slow, is_unknown, standing)

    def judged(self, candidate: _Candidate) -> Recommendation:
        """The value for the user."""
        entry, found = candidate.entry, candidate.fit
        by_name = self._scores(candidate)
        values = Scores(
            size=by_name["size"].value or 0.0,
            precision=by_name["precision"].value or 0.0,
            kv=by_name["kv"].value or 0.0,
            performance=by_name["performance"].value,
            density=by_name["density"].value,
        )
        return Recommendation(
            model_id=entry.id,
            name=entry.name,
            role=self.role,
            repository=entry.repository,
            quantization=candidate.format_name,
            reference=f"hf:{entry.repository}:{candidate.format_name}",
            parameters=entry.parameters,
            licence=entry.licence,
            estimated_bytes=candidate.weights,
            placement=found.placement,
            context_tokens=found.n_ctx,
            scores=values,
            total=scores.total(values),
            reasons=(
                *self._choice(candidate),
                " ".join(found.reasons),
                *(score.sentence for score in by_name.values()),
                *self._warnings(candidate),
            ),
            installed_path=next((p for p in self.installed if is_file_of(entry, candidate.format_name, p)), None),
        )

    def _scores(self, candidate: _Candidate) -> dict[str, scores.Score]:
        entry, weights, memory = candidate.entry, candidate.weights, candidate.fit.available
        name = candidate.format_name
        on_gpu = candidate.fit.placement in {"gpu", "partial"}
        abilities = frozenset(self.hardware.instruction_sets) | ({"GPU"} if on_gpu else set())
        figure = entry.benchmark(BENCHMARKS[self.role])
        return {
            "size": scores.size(weights, memory),
            "precision": scores.precision(weights, memory, name, formats.class_of(name)),
            "kv": scores.kv(weights, memory),
            "performance": scores.performance(_bandwidth(self.hardware, candidate), candidate.active_bytes),
            "density": scores.density(
                BENCHMARKS[self.role],
                figure.score if figure is not None else None,
                self.baseline,
                weights=weights,
                best_efficiency=self.best_efficiency,
                absent=formats.absent_need(name, abilities),
            ),
        }

    def _choice(self, candidate: _Candidate) -> Iterable[str]:
        if candidate.entry.id in self.first_choices:
            yield f"A first choice for {_machine(self.hardware)}."

    def _warnings(self, candidate: _Candidate) -> Iterable[str]:
        if _is_too_slow(candidate, self.role, self.hardware):
            yield f"This machine is slow for it: {LEAST_TOKENS_PER_S[self.role]:.0f} tokens per second are comfortable."
        licence = candidate.entry.licence
        if licence is not None and licence not in PERMISSIVE:
            yield f"Its licence ({licence}) has conditions: read them."


def _machine(hardware: Hardware) -> str:
    """The machine's size in words."""
    memory, n_cards = _memory_gib(hardware), len(_cards(hardware))
    if n_cards:
        return f"{memory} GiB on a graphics card" if n_cards == 1 else f"{memory} GiB on {n_cards} graphics cards"
    return f"{memory} GiB of shared memory" if hardware.unified_memory else f"{memory} GiB without a graphics card"


def _bandwidth(hardware: Hardware, candidate: _Candidate) -> float | None:
    """In 10^9 bytes per second, of the memory that the weights come from; None if nobody knows.

    Of several memories each is read in its turn: GPUs have layers in proportion to their size, the machine the rest.
    """
    on_gpus = min(1.0, candidate.fit.n_gpu_layers / ((candidate.entry.layers or 1) + 1))
    gpus = hardware.usable_gpus if on_gpus else ()
    whole = sum(gpu.vram_total or 1 for gpu in gpus)
    parts = [(on_gpus * (gpu.vram_total or 1) / whole, hardware.bandwidth_of(gpu)) for gpu in gpus]
    if on_gpus < 1.0:
        parts.append((1.0 - on_gpus, hardware.memory_bandwidth_gb_s))
    seconds = [part / gb_per_s for part, gb_per_s in parts if gb_per_s]
    return 1.0 / sum(seconds) if len(seconds) == len(parts) else None


def is_file_of(entry: CatalogEntry, format_name: str, name: str) -> bool:
    """Whether a path or a reference names this model's file in this format.

    A file is called after its repository, wherever it is; or it has another name, in a folder that is called after it.
    """
    path, repository, number_format = name.lower().replace("\\", "/"), entry.repository.lower(), format_name.lower()
    model = re.sub(r"(-q8_0)?-gguf$", "", repository.rpartition("/")[2])
    own_name = rf"(?:^|[/:]){re.escape(model)}(?:(?:-q8_0)?-gguf)?[-._:]{re.escape(number_format)}(?:$|[-./@])"
    if re.search(own_name, path) is not None:
        return True
    folder, _, file = path.rpartition("/")
    # The cache of Hugging Face writes a repository as one name.
    is_inside = any(f"/{each}/" in f"/{folder}/" for each in (repository, f"models--{repository.replace('/', '--')}"))
    return is_inside and re.search(rf"[-._]{re.escape(number_format)}[-.]", file) is not None
