"""What is known about a pulled model: one small file for each, replaced whole.

A model is in the store when its manifest is. The manifest is written after every part is there and verified, and
before the visible names lead to them; `is_linked` says that they do. So a crash in between is seen, and repaired by the
next look, and a visible file that a person has deleted is seen too.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Annotated

import msgspec

from botframework.errors import PullRefused
from botframework.models.store import layout as places
from botframework.process.durable import replace_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from botframework.models.store.layout import Layout

log = logging.getLogger(__name__)

MAX_MANIFEST_BYTES = 1 << 20
"""A model in a thousand parts needs a fifth of it."""
MAX_PARTS = 1_000
"""The largest published models have some hundred."""


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One file of a model."""

    file: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """Its visible name, without folders."""
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, msgspec.Meta(ge=0)]
    address: Annotated[str, msgspec.Meta(max_length=8_192)] = ""
    """Where it came from."""
    etag: Annotated[str, msgspec.Meta(max_length=1_024)] | None = None
    """What the server called its content, if nobody had published a digest."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A file's content."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
    reference: Annotated[str, msgspec.Meta(max_length=8_192)]
    """What the user asked for, as far as it may be kept (`reference.lasting`); so is ``origin``."""
    origin: Annotated[str, msgspec.Meta(max_length=8_192)] = ""
    """What that meant: repository and commit, or an address."""
    pulled_at: float
    parts: Annotated[tuple[Part, ...], msgspec.Meta(min_length=1, max_length=MAX_PARTS)]
    is_linked: bool = False
    """Whether the visible names lead to these parts."""

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    def visible(self, layout: Layout) -> tuple[Path, ...]:
        """The path of each part that people see."""
        first = layout.visible(self.name)
        return tuple(first.with_name(part.file) for part in self.parts)


_decoder = msgspec.json.Decoder(Manifest)


def write(layout: Layout, manifest: Manifest) -> None:
    """Put it in the place of the model's older one. Under the store's lock only. Raises `OSError`."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    replace_whole(layout.manifest(manifest.name), encoded + b"\n")


def read(layout: Layout, name: str) -> Manifest | None:
    """Return what is known about a model; None if nothing is, or the file is none of ours."""
    return _read(layout, layout.manifest(name))


def read_all(layout: Layout) -> Iterator[tuple[Manifest, float]]:
    """Every model by its name, and when it was last used, in seconds since the epoch."""
    found = []
    with contextlib.suppress(OSError):
        found = sorted(path for path in layout.manifests.iterdir() if path.suffix == ".json")
    manifests = []
    for path in found:
        manifest = _read(layout, path)
        if manifest is not None:
            with contextlib.suppress(OSError):  # removed meanwhile
                manifests.append((manifest, path.stat().st_mtime))
    yield from sorted(manifests, key=lambda pair: pair[0].name)


def mark_used(layout: Layout, name: str) -> None:
    """Remember that a model was used now. A folder that cannot be written remembers nothing."""
    with contextlib.suppress(OSError):
        os.utime(layout.manifest(name))


def _read(layout: Layout, path: Path) -> Manifest | None:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
        found = _decoder.decode(raw) if len(raw) <= MAX_MANIFEST_BYTES else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s is not read as a manifest: %s", path, error)
        return None
    if found is None or not _is_sound(layout, path, found):
        log.warning("%s is not read as a manifest: it is not one that a pull has written", path)
        return None
    return found


def _is_sound(layout: Layout, path: Path, found: Manifest) -> bool:
    """Whether it names nothing but a model of its own: nothing outside the store is ever linked or removed by it."""
    folder, _, first = found.name.rpartition("/")
    files = [part.file for part in found.parts]
    try:
        for file in files:
            places.check_name(f"{folder}/{file}")
    except PullRefused:
        return False
    is_flat = not any("/" in file for file in files)
    return is_flat and files[0] == first and len(set(files)) == len(files) and layout.manifest(found.name) == path
