"""Layers of settings to one tree, without touching the outside world.

A bad value never stops the daemon: it is reported as a `Problem` and the weaker layer's value stays. The one exception
is the model: who named one must not be answered by another, so a refused name stays and fails where it is loaded.
``null``, a missing key and an empty table all mean "not set here".
"""

from __future__ import annotations

import enum
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from botframework.config.settings import MACHINE_SETTINGS, MODEL_FILES, ONLY_OFF, PATHS, Settings

MAX_PROBLEMS_PER_LAYER = 20
"""Enough to see what is wrong; a hostile file must not make a thousand pop-ups."""
MAX_SHOWN_CHARS = 64
"""Of a bad key or value in a message; also bounds the search for the nearest name."""


class Source(enum.Enum):
    """Where a layer came from, weakest first."""

    USER_FILE = "the user's botframework.toml"
    ENVIRONMENT = "the environment"
    COMMAND_LINE = "the command line"
    INITIALIZATION_OPTIONS = "initializationOptions"
    WORKSPACE_FILE = "the workspace's botframework.toml"
    WORKSPACE_CONFIGURATION = "workspace/configuration"


_STRENGTH = {source: place for place, source in enumerate(Source)}
_UNTRUSTED = frozenset({Source.WORKSPACE_FILE, Source.WORKSPACE_CONFIGURATION})
_TEXT_ONLY = frozenset({Source.ENVIRONMENT, Source.COMMAND_LINE})
"""Sources that can only say strings: ``"64"`` is a number there, and nowhere else."""


class Problem(NamedTuple):
    """One thing that was not taken over; ``key`` is empty when it is about the whole layer."""

    source: Source
    key: str
    message: str

    def __str__(self) -> str:
        """In words, as users are told."""
        place = f"{self.source.value}: {self.key}" if self.key else self.source.value
        return f"{place} {self.message}"


class Layer(NamedTuple):
    """What one source says: nested tables, dotted keys or both."""

    source: Source
    values: Any


class Merged(NamedTuple):
    """The result of `merge`."""

    settings: Settings
    problems: tuple[Problem, ...]


class _Leaf(NamedTuple):
    section: str
    attribute: str
    type: Any
    default: Any


@functools.cache
def tree() -> tuple[dict[str, _Leaf], frozenset[str]]:
    """Every setting by its dotted wire name, and the names of the sections."""
    leaves: dict[str, _Leaf] = {}
    sections: set[str] = set()
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            sections.add(field.encode_name)
            for inner in msgspec.structs.fields(field.type):
                leaf = _Leaf(field.name, inner.name, inner.type, inner.default)
                leaves[f"{field.encode_name}.{inner.encode_name}"] = leaf
        else:
            leaves[field.encode_name] = _Leaf("", field.name, field.type, field.default)
    return leaves, frozenset(sections)


def merge(layers: Iterable[Layer]) -> Merged:
    """Merge layers over the defaults. The order of the argument is of no importance, the sources' order is."""
    leaves, _ = tree()
    values: dict[str, Any] = {name: leaf.default for name, leaf in leaves.items()}
    problems: list[Problem] = []
    for layer in sorted(layers, key=lambda layer: _STRENGTH[layer.source]):
        found: list[Problem] = []
        for item in _take(layer, values):
            if isinstance(item, Problem):
                found.append(item)
                if len(found) == MAX_PROBLEMS_PER_LAYER:
                    found.append(Problem(layer.source, "", "has more problems than are listed here"))
                    break
            else:
                name, value = item
                values[name] = value
        problems += found
        if values["engine.kvType"] != "f16" and not values["engine.flashAttention"]:
            values["engine.kvType"] = "f16"
            problems.append(Problem(layer.source, "engine.kvType", "'q8_0' needs engine.flashAttention; 'f16' is used"))
    return Merged(_build(values), tuple(problems))


def replaced(layers: Iterable[Layer], layer: Layer) -> tuple[Layer, ...]:
    """The layers with one source's layer exchanged: what a change of settings in a running daemon merges again."""
    return (*(old for old in layers if old.source is not layer.source), layer)


def _take(layer: Layer, weaker: Mapping[str, Any]) -> Iterator[tuple[str, Any] | Problem]:
    """What is accepted of a layer over the weaker ones, and what is not."""
    leaves, _ = tree()
    for name, raw in _flat(layer.values, "", layer.source):
        if isinstance(raw, Problem):
            yield raw
        elif name not in leaves:
            yield Problem(layer.source, shown(name), f"unknown setting{_meant(name, raw)}")
        elif layer.source in _UNTRUSTED and name.startswith(MACHINE_SETTINGS):
            yield Problem(layer.source, name, "cannot be set by a workspace; use the user's own settings")
        else:
            try:
                value = _converted(name, raw, leaves[name].type, layer.source)
            except (msgspec.ValidationError, ValueError, RecursionError) as error:
                limits = _limits(leaves[name].type)
                yield Problem(layer.source, name, f"{shown(raw)} is refused ({error}); must be {limits}")
                if name in MODEL_FILES:
                    yield name, raw if isinstance(raw, str) else shown(raw)
            else:
                if layer.source in _UNTRUSTED and name in ONLY_OFF and value and not weaker[name]:
                    yield Problem(layer.source, name, "can only be switched off by a workspace")
                else:
                    yield name, value


def _flat(values: Any, above: str, source: Source) -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested tables; a Problem as the value where a table was expected."""
    _, sections = tree()
    # Lua has one empty table: Neovim sends [] for it.
    if values is None or values == []:
        return
    if not isinstance(values, Mapping):
        yield above, Problem(source, above, f"{shown(values)} is refused; must be a table")
        return
    for key, value in values.items():
        name = f"{above}.{key}" if above else str(key)
        if name in sections:
            yield from _flat(value, name, source)
        elif value is not None:
            yield name, value


def _converted(name: str, raw: Any, kind: Any, source: Source) -> Any:
    value = msgspec.convert(raw, kind, strict=source not in _TEXT_ONLY)
    if name in PATHS and isinstance(value, str):
        if "\0" in value:
            raise ValueError("holds a NUL character")
        expanded = os.path.expanduser(value)  # noqa: PTH111 - Path would drop a trailing separator and "./"
        # The daemon's working folder is usually the workspace, which must not be able to put a file in our way. What
        # the command line and the environment say was made absolute where it was read.
        if not os.path.isabs(expanded):  # noqa: PTH117
            raise ValueError("a relative path")
        return expanded
    return value


def _build(values: Mapping[str, Any]) -> Settings:
    leaves, _ = tree()
    arguments: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        leaf = leaves[name]
        arguments.setdefault(leaf.section, {})[leaf.attribute] = value
    top = arguments.pop("", {})
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    return Settings(**top, **{section: kinds[section](**inner) for section, inner in arguments.items()})


def shown(value: Any) -> str:
    """A key or value for a message: short, printable, and never the content of a structure."""
    if isinstance(value, int) and value.bit_length() > MAX_SHOWN_CHARS:
        return "a huge integer"  # repr() raises beyond some thousand digits
    text = value if isinstance(value, str) else repr(value) if isinstance(value, int | float) else type(value).__name__
    text = text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]


def _meant(name: str, raw: Any) -> str:
    """The end of a message about an unknown setting: a table was probably meant to be a section."""
    leaves, sections = tree()
    return (nearest(name, sections) if isinstance(raw, Mapping) else "") or nearest(name, leaves)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name."""
    import difflib

    names = list(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    wanted = name[:MAX_SHOWN_CHARS].lower()
    near = difflib.get_close_matches(wanted, by_lower, n=1, cutoff=0.6)
    if not near:
        # "maxTokens" without its section is nearer to "chat.maxTokens" than any ratio of lengths tells.
        near = [lower for lower in by_lower if lower.rpartition(".")[2] == wanted.rpartition(".")[2]][:1]
    return f"; did you mean {by_lower[near[0]]}?" if near else ""


def _limits(kind: Any) -> str:
    """What a setting accepts, in words."""
    from msgspec import inspect

    def words(info: inspect.Type) -> str:
        match info:
            case inspect.UnionType(types=types):
                return " or ".join(words(each) for each in types if not isinstance(each, inspect.NoneType))
            case inspect.IntType(ge=ge, le=le):
                return f"an integer from {ge} to {le}"
            case inspect.FloatType(ge=ge, le=le):
                return f"a number from {ge:g} to {le:g}"
            case inspect.StrType(max_length=longest):
                return f"a text of at most {longest} characters"
            case inspect.LiteralType(values=choices):
                return "one of " + ", ".join(f"'{choice}'" for choice in choices)
            case _:
                return "true or false"

    path = " that is an absolute path or begins with ~" if kind == tree()[0]["model"].type else ""
    return words(inspect.type_info(kind)) + path
