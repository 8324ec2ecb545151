"""Check 36: a hub that lies. Nothing unverified becomes visible, and nothing is written outside the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from botframework.errors import BotframeworkError, DigestMismatch, ModelRefused
from support.hub_server import LIES, HubServer
from support.model_files import one_file, sha256, split_files

if TYPE_CHECKING:
    from botframework.models.store.store import Store

REFERENCE = "hf:maker/model/model.gguf"
NAME = "maker/model/model.gguf"
HARMLESS = {"no-digest", "short-once", "no-ranges", "no-length", "busy-once", "expired-once", "stall-once"}
"""What may be told, and the file still comes whole."""


def outside(tmp_path: Path) -> set[Path]:
    """Everything that is not in the store."""
    return {path for path in tmp_path.rglob("*") if (tmp_path / "models") not in {path, *path.parents}}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_whatever_the_hub_says(model_hub: HubServer, store: Store, tmp_path: Path, lie: str) -> None:
    """It is the published content or an error from the tree; a failure leaves nothing visible; the truth then comes."""
    before = outside(tmp_path)
    model_hub.lies["maker/model"] = lie
    failure: BotframeworkError | None = None
    try:
        store.pull(REFERENCE)
    except BotframeworkError as error:
        failure = error
    if failure is not None:
        assert lie not in HARMLESS, failure
        assert failure.message
        assert store.installed() == ()
        assert not (store.folder / "maker").exists()
        assert not list((store.folder / "blobs").glob("sha256-" + "?" * 64))
    else:
        assert sha256(store.folder / NAME) == sha256(model_hub.folder / NAME)
    assert outside(tmp_path) == before
    model_hub.lies.clear()

    again = store.pull(REFERENCE)
    assert sha256(Path(again.path)) == sha256(model_hub.folder / NAME)
    assert store.usage().unfinished_bytes == 0


@pytest.mark.parametrize("lie", ["wrong-digest", "changed-byte"])
def test_other_content_than_published_is_deleted(model_hub: HubServer, store: Store, lie: str) -> None:
    """The error names both digests, and not a byte of it is kept."""
    model_hub.lies[NAME] = lie
    with pytest.raises(DigestMismatch) as told:
        store.pull(REFERENCE)

    assert {"expected", "found"} <= set(told.value.data)
    assert store.usage().unfinished_bytes == 0


def test_published_content_that_is_no_model(model_hub: HubServer, store: Store) -> None:
    """A right digest makes no model of a page."""
    (model_hub.folder / NAME).write_bytes(b"<!doctype html>" * 100)
    with pytest.raises(ModelRefused, match=r"model\.gguf.*a web page"):
        store.pull(REFERENCE)

    assert store.installed() == ()
    assert store.usage().models_bytes == store.usage().unfinished_bytes == 0


def test_a_split_model_with_a_part_that_lies(model_hub: HubServer, store: Store) -> None:
    """One good part is no model: nothing is visible until all are there, and the good one is not fetched twice."""
    first, second = split_files(model_hub.folder / "maker" / "split")
    model_hub.lies[f"maker/split/{second.name}"] = "changed-byte"
    with pytest.raises(DigestMismatch):
        store.pull(f"hf:maker/split/{second.name}")
    assert store.installed() == ()
    assert not (store.folder / "maker").exists()
    model_hub.lies.clear()
    sent = model_hub.sent
    found = store.pull(f"hf:maker/split/{first.name}")

    assert model_hub.sent - sent == second.stat().st_size
    assert found.parts == 2
    assert sha256(Path(found.path).with_name(second.name)) == sha256(second)


def test_newer_content_that_lies_leaves_the_older(model_hub: HubServer, store: Store) -> None:
    """Old or complete: a failed renewal changes nothing of what is there."""
    old = store.pull(REFERENCE)
    (model_hub.folder / NAME).unlink()
    one_file(model_hub.folder / NAME, seed=2)
    model_hub.lies[NAME] = "changed-byte"
    with pytest.raises(DigestMismatch):
        store.pull(REFERENCE)

    assert store.verify(old.name).digests == old.digests
