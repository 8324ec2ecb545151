"""Known models: what they are for, how they are built, where they are, how well they do. The user's own stand beside.

The facts are in ``catalog.json``: what was read in model cards and papers, each benchmark figure with the address of
the table that has it. What is not known is absent there. File sizes and digests are never in it: the hub tells them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from botframework import config
from botframework.errors import ConfigError, ModelNotFound
from botframework.models.formats import bits_per_weight
from botframework.models.recommendation import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE_NAME = "catalog.json"
"""Inside the package, and the user's beside their ``botframework.toml``."""
MAX_FILE_BYTES = 1 << 20
"""Of the user's file: two thousand models. Anything larger is not what it should be."""
USUAL_FORMATS = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "Q8_0")
"""What is meant by a model without a format: four bits, the usual trade of size for quality."""

Tier = Literal["small", "medium", "large"]
"""How large a machine is: below 8 GB, 8 to 16 GB, above 16 GB with a GPU."""
Count = Annotated[int, msgspec.Meta(gt=0)]


class Benchmark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published figure."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    """As in ``HumanEval+``. Figures are compared with those of the same name only."""
    score: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
    """Percent."""
    url: Annotated[str, msgspec.Meta(pattern=r"^https://\S+$")]
    """Of the table that has it."""


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One model in one repository. What may be left out is then unknown."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    """For people."""
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    repository: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]+/[\w.-]+$", max_length=200)]
    """At the hub, with GGUF files."""
    quantizations: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """That the repository has."""
    parameters: Count
    active_parameters: Count | None = None
    """Of one token, in a mixture of experts."""
    layers: Count | None = None
    heads: Count | None = None
    kv_heads: Count | None = None
    """Absent in encoders, which keep no cache."""
    head_dim: Count | None = None
    vocabulary: Count | None = None
    n_ctx_train: Count | None = None
    """Tokens of context that it was trained for."""
    licence: str | None = None
    fim_family: str | None = None
    """Whose fill-in-the-middle tokens it has."""
    benchmarks: tuple[Benchmark, ...] = ()

    @property
    def usual_quantization(self) -> str:
        """The format that is meant when none is named."""
        by_name = {name.upper(): name for name in self.quantizations}
        return next((by_name[name] for name in USUAL_FORMATS if name in by_name), self.quantizations[0])

    def benchmark(self, name: str) -> Benchmark | None:
        """The figure of that name, if there is one."""
        return next((found for found in self.benchmarks if found.name == name), None)


Defaults = dict[Tier, dict[Role, tuple[str, ...]]]
"""Ids of the first choice for each size of machine and each role."""


class CatalogFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What such a file holds."""

    models: tuple[CatalogEntry, ...]
    defaults: Defaults = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Models by their ids."""

    entries: Mapping[str, CatalogEntry]
    defaults: Defaults = field(default_factory=dict)

    def entry(self, name: str) -> CatalogEntry:
        """Find a model by its id, in any case.

        Raises
        ------
        ModelNotFound
            There is none; the message names those with similar ids.
        """
        found = self.entries.get(name.lower())
        if found is None:
            near = difflib.get_close_matches(name.lower(), self.entries, n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ModelNotFound(f"the catalog has no model {name[:100]!r}.{hint}", near=near)
        return found

    def with_role(self, role: Role) -> tuple[CatalogEntry, ...]:
        """Every model for a role."""
        return tuple(entry for entry in self.entries.values() if role in entry.roles)


def user_catalog_file() -> Path:
    """Where the user's own entries are; the file need not exist."""
    return config.config_file().parent / FILE_NAME


def load_catalog(user_file: Path | None = None) -> Catalog:
    """Read the catalog of the package, and the user's beside it: their entry takes the place of ours of the same id.

    Reads the disk: not for an event loop.

    Parameters
    ----------
    user_file
        Need not exist. None: the package's alone.

    Raises
    ------
    ConfigError
        The user's file cannot be read, or says something that no catalog can.
    """
    own = Path(__file__).with_name(FILE_NAME)
    file = parse(own.read_bytes(), own)
    entries, defaults = {entry.id: entry for entry in file.models}, file.defaults
    text = _user_text(user_file) if user_file is not None else None
    if user_file is not None and text is not None:
        theirs = parse(text, user_file, known=entries)
        entries |= {entry.id: entry for entry in theirs.models}
        defaults = _joined(theirs.defaults, defaults)
    return Catalog(entries, defaults)


def parse(text: bytes, path: Path, known: Iterable[str] = ()) -> CatalogFile:
    """Check the content of a catalog's file.

    Parameters
    ----------
    path
        For messages.
    known
        Ids that its defaults may name beside its own.

    Raises
    ------
    ConfigError
        It says what is wrong, and in which entry.
    """
    try:
        file = msgspec.json.decode(text, type=CatalogFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    ids: set[str] = set()
    for number, entry in enumerate(file.models):
        if entry.id in ids:
            raise ConfigError(f"{path}: two models have the id {entry.id!r} - at `$.models[{number}].id`")
        ids.add(entry.id)
        for name in entry.quantizations:
            if bits_per_weight(name) is None:
                raise ConfigError(
                    f"{path}: {name!r} of {entry.id!r} is no number format; they are called as in Q4_K_M - "
                    f"at `$.models[{number}].quantizations`"
                )
    ids.update(known)
    for tier, roles in file.defaults.items():
        for role, chosen in roles.items():
            for missing in (each for each in chosen if each not in ids):
                raise ConfigError(f"{path}: no model has the id {missing!r} - at `$.defaults.{tier}.{role}`")
    return file


def _user_text(path: Path) -> bytes | None:
    """The content of the user's file; None if there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes")
    return text


def _joined(theirs: Defaults, ours: Defaults) -> Defaults:
    """Both; what the user prefers comes first."""
    joined: Defaults = {tier: dict(roles) for tier, roles in ours.items()}
    for tier, roles in theirs.items():
        for role, chosen in roles.items():
            before = joined.setdefault(tier, {}).get(role, ())
            joined[tier][role] = (*chosen, *(each for each in before if each not in chosen))
    return joined
