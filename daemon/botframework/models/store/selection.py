"""Which of a repository's files is meant: by name, by quantization, or the usual one; with all parts of a split model.

Pure. The names come from the hub, so a name that is refused elsewhere (`names`) is passed over here.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from botframework.errors import PullRefused, RemoteNotFound
from botframework.models.store.names import check_path, shown_name
from botframework.models.store.remote import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

USUAL = ("Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_XS", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0", "BF16", "F16", "F32")
"""What is taken when nobody says which: four and a half bits lose little and fit most machines."""
MAX_SHOWN = 12
"""Names in a message."""

_PART = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<ending>\.gguf)", re.IGNORECASE)
_QUANTIZATION = re.compile(
    r"(?<![A-Za-z0-9_])((?:UD-)?(?:I?Q[1-8][A-Za-z0-9_]*|TQ[12]_0|MXFP4[A-Za-z0-9_]*|NVFP4|BF16|FP?16|FP?32))"
    r"(?![A-Za-z0-9_])",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(r"(?i)(?:^|[/._-])(?:mmproj|imatrix)(?:[/._-]|$)")
"""Other things that come as GGUF: an eye for a language model, statistics for a quantizer."""


def select(paths: Iterable[str], *, path: str | None = None, quantization: str | None = None) -> tuple[str, ...]:
    """The files of one model, a split one's parts in order.

    Parameters
    ----------
    paths
        All files of the repository.
    path
        The name of one; of a split model any part's.
    quantization
        What the file's name must say.

    Raises
    ------
    RemoteNotFound
        There is no such file; the message has those that are there.
    PullRefused
        Several fit, or ``path`` is no GGUF file.
    """
    models = _models(paths)
    if path is not None:
        return _by_name(models, path)
    candidates = [model for model in models if not _NO_MODEL.search(model[0])]
    if not candidates:
        raise RemoteNotFound("there is no GGUF file in this repository; those who convert models name theirs …-GGUF")
    if quantization is not None:
        found = _by_quantization(candidates, quantization)
        if not found:
            raise RemoteNotFound(f"no file is quantized as {quantization}; there are {_quantizations(candidates)}")
        return _only(found, quantization)
    if len(candidates) == 1:
        return candidates[0]
    for usual in USUAL:
        if found := _by_quantization(candidates, usual):
            return _only(found, usual)
    raise PullRefused(f"several files, none of a usual quantization; name one of {_names(candidates)}")


def quantization_of(path: str) -> str | None:
    """What a file's name says about its quantization: ``Q4_K_M``; the last such word counts."""
    found = _QUANTIZATION.findall(path.removesuffix(".gguf"))
    return _canonical(found[-1]) if found else None


def parts_of(path: str) -> tuple[str, ...]:
    """The names of all parts of the model that a file belongs to; the file's own if it is not split.

    Raises
    ------
    PullRefused
        The numbers in the name are none of a split model.
    """
    found = _PART.fullmatch(path)
    if found is None:
        return (path,)
    number, count = int(found["number"]), int(found["count"])
    if not 1 <= number <= count <= MAX_FILES:
        raise PullRefused(f"{shown_name(path)}: part {number} of {count}; expected 1 to {MAX_FILES} parts")
    return tuple(f"{found['stem']}-{part:05d}-of-{count:05d}{found['ending']}" for part in range(1, count + 1))


def _models(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """Whole models among the files, in the order of their names."""
    there = {path for path in paths if path.lower().endswith(".gguf") and _is_good(path)}
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(there):
        parts = parts_of(path)
        found[parts[0]] = parts
    incomplete = [parts for parts in found.values() if not there.issuperset(parts)]
    for parts in incomplete:
        del found[parts[0]]
    return list(found.values())


def _is_good(path: str) -> bool:
    try:
        check_path(path)
        parts_of(path)
    except PullRefused:
        return False
    return True


def _by_name(models: Sequence[tuple[str, ...]], path: str) -> tuple[str, ...]:
    if not path.lower().endswith(".gguf"):
        raise PullRefused(f"{shown_name(path)} is no GGUF file; there are {_names(models)}")
    first = parts_of(path)[0]
    for model in models:
        if model[0] == first:
            return model
    names = [model[0] for model in models]
    near = difflib.get_close_matches(path, names, n=3, cutoff=0.5)
    if not near:
        raise RemoteNotFound(f"there is no whole {shown_name(path)}; there are {_names(models)}")
    raise RemoteNotFound(f"there is no whole {shown_name(path)}; did you mean {' or '.join(near)}?")


def _by_quantization(models: Sequence[tuple[str, ...]], quantization: str) -> list[tuple[str, ...]]:
    wanted = _canonical(quantization)
    if exact := [model for model in models if quantization_of(model[0]) == wanted]:
        return exact
    word = re.compile(rf"(?i)(?<![a-z0-9_]){re.escape(quantization)}(?![a-z0-9_])")
    return [model for model in models if word.search(model[0])]


def _only(models: Collection[tuple[str, ...]], quantization: str) -> tuple[str, ...]:
    """The one; some owners publish the same model whole and in parts, then it is the one of fewer parts."""
    fewest = min(len(model) for model in models)
    found = [model for model in models if len(model) == fewest]
    if len(found) > 1:
        raise PullRefused(f"several files are quantized as {quantization}; name one of {_names(found)}")
    return found[0]


def _canonical(quantization: str) -> str:
    """In capitals; ``FP16`` and ``F16`` are the same."""
    return re.sub(r"^FP(?=16$|32$)", "F", quantization.upper())


def _quantizations(models: Sequence[tuple[str, ...]]) -> str:
    found = {quantization_of(model[0]) or model[0] for model in models}
    return ", ".join(sorted(found)[:MAX_SHOWN])


def _names(models: Iterable[tuple[str, ...]]) -> str:
    names = [model[0] for model in models]
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return (", ".join(names[:MAX_SHOWN]) or "none") + more
