"""Pulls from a hub that tells the truth, and from other servers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from botframework.errors import DiskFull, DownloadFailed, ModelNotFound, PullRefused
from support.llama_verdict import llama
from support.model_files import one_file, sha256, split_files

if TYPE_CHECKING:
    from botframework.models.store.store import Store
    from support.hub_server import HubServer

REFERENCE = "hf:maker/model/model.gguf"
NAME = "maker/model/model.gguf"


class Disk(NamedTuple):
    """What ``shutil.disk_usage`` answers."""

    free: int


def test_a_model_of_the_hub(model_hub: HubServer, store: Store) -> None:
    """It comes with the digest that the hub publishes; the manifest knows the commit; a second pull fetches nothing."""
    found = store.pull("hf:maker/model")
    again = store.pull("hf:maker/model")

    assert found.path == again.path == str(store.folder / NAME)
    assert found.digests == (sha256(model_hub.folder / NAME),)
    assert model_hub.sent == found.size_bytes
    assert store.find("hf:maker/model").name == NAME


def test_what_was_pulled_can_be_loaded(model_hub: HubServer, store: Store) -> None:
    """llama.cpp opens it by the name that people see, also a split model, whose parts it looks for beside the first."""
    split_files(model_hub.folder / "maker" / "split")
    one, split = store.pull(REFERENCE), store.pull("hf:maker/split")

    with llama() as ask:
        assert ask(Path(one.path).resolve()) == "loaded"
        assert ask(Path(split.path).resolve()) == "loaded"


def test_a_name_of_the_catalog(model_hub: HubServer, store: Store) -> None:
    """It stands for a repository of the hub; a format that is named is the one that comes."""
    repository = model_hub.folder / "Qwen" / "Qwen2.5-Coder-0.5B-Instruct-GGUF"
    for number, quantization in enumerate(("q4_k_m", "q8_0")):
        one_file(repository / f"qwen2.5-coder-0.5b-instruct-{quantization}.gguf", seed=number)

    usual = store.pull("qwen2.5-coder-0.5b-instruct")
    named = store.pull("qwen2.5-coder-0.5b-instruct:Q8_0")
    assert Path(usual.path).name == "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    assert Path(named.path).name == "qwen2.5-coder-0.5b-instruct-q8_0.gguf"
    with pytest.raises(ModelNotFound, match="Did you mean"):
        store.pull("qwen2.5-coder-0.5b-instrukt")


@pytest.mark.parametrize("word", ["nonsense", "nonsense:Q4_K_M", "qwen2.5-coder-0.5b-instrukt"])
def test_a_word_that_is_no_name_of_the_catalog(store: Store, word: str) -> None:
    """Whoever wrote it may have meant something else: the message has every form that there is."""
    with pytest.raises(ModelNotFound, match="the catalog has no model") as caught:
        store.pull(word)

    for form in ("hf:owner/repo/file.gguf", "hf:owner/repo:Q4_K_M", "https://host/file.gguf", "path of a file"):
        assert form in caught.value.message
    assert not store.folder.exists()


def test_a_plain_server(model_hub: HubServer, store: Store) -> None:
    """Without a published digest the file's own one names it; a second pull fetches nothing."""
    address = f"{model_hub.address}/plain/{NAME}"
    found = store.pull(address)
    sent = model_hub.sent
    again = store.pull(address)

    assert found.digests == (sha256(model_hub.folder / NAME),)
    assert Path(found.path) == store.folder / "127.0.0.1" / "model.gguf"
    assert (again.path, model_hub.sent - sent) in {(found.path, 0), (found.path, 1)}  # the size is asked by one byte


@pytest.mark.parametrize("fragment", ["", "#sha256={digest}"])
def test_the_signature_of_an_address_is_not_kept(model_hub: HubServer, store: Store, fragment: str) -> None:
    """Nothing in the folder has it; the model is found by the address with and without it, and pulled once."""
    path = f"{model_hub.address}/plain/{NAME}"
    fragment = fragment.format(digest=sha256(model_hub.folder / NAME))
    found = store.pull(f" {path}?X-Signature=s3cr3t&expires=1{fragment}")
    again = store.pull(f"{path}?X-Signature=another-s3cr3t{fragment}")

    kept = [file for file in store.folder.rglob("*") if file.is_file() and file.suffix != ".gguf"]
    assert [file.name for file in kept if b"s3cr3t" in file.read_bytes()] == []
    assert f'"reference": "{path}{fragment}"' in next(store.folder.glob("manifests/*.json")).read_text()
    assert (found.reference, again.path) == (f"{path}{fragment}", found.path)
    assert model_hub.sent <= found.size_bytes + 2  # each time the size is asked by one byte
    for name in (f"{path}{fragment}", f"{path}?X-Signature=a-third-s3cr3t{fragment}"):
        assert store.find(name).path == found.path


@pytest.mark.skipif(sys.platform == "win32", reason="laid out with links")
@pytest.mark.parametrize("is_whole", [True, False])
def test_what_another_program_holds_is_used_in_place(
    model_hub: HubServer, store: Store, tmp_path: Path, is_whole: bool
) -> None:
    """If its content is the published one nothing is downloaded; a damaged one is left alone, and the file comes."""
    source = model_hub.folder / NAME
    cached = tmp_path / "home" / ".lmstudio" / "models" / "maker" / "model" / "model.gguf"
    cached.parent.mkdir(parents=True)
    shutil.copy(source, cached)
    if not is_whole:
        content = bytearray(cached.read_bytes())
        content[-1] ^= 1
        cached.write_bytes(content)
    found = store.pull(REFERENCE)

    assert (model_hub.sent == 0) == is_whole
    assert found.origin == ("lmStudio" if is_whole else "pulled")
    assert found.path == str(cached if is_whole else store.folder / NAME)


def test_the_limit_is_for_what_takes_room(model_hub: HubServer, store: Store) -> None:
    """A model that is here already is returned, whatever the limit has become meanwhile."""
    found = store.pull(REFERENCE)

    assert store.pull(REFERENCE, limit_bytes=1_000).path == found.path


def test_a_split_model_goes_on_where_the_disk_has_room_for_the_rest(
    model_hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier pull has brought is not needed twice; what is missing, and a tenth of the whole, must fit."""
    size = sum(path.stat().st_size for path in split_files(model_hub.folder / "maker" / "split"))
    model_hub.sends_at_most = size // 3
    with pytest.raises(DownloadFailed):
        store.pull("hf:maker/split")
    model_hub.sends_at_most = None
    there = store.usage().unfinished_bytes
    needed = size - there + size // 10
    monkeypatch.setattr("shutil.disk_usage", lambda _: Disk(needed - 1))
    with pytest.raises(DiskFull) as told:
        store.pull("hf:maker/split")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Disk(needed))

    assert there > 0
    assert (told.value.data["neededBytes"], told.value.data["freeBytes"]) == (needed, needed - 1)
    assert store.pull("hf:maker/split").parts == 2


def test_more_than_the_limit_is_not_begun(model_hub: HubServer, store: Store) -> None:
    """The size that the hub announces decides, before a byte is sent."""
    with pytest.raises(PullRefused, match=r"models\.diskGib"):
        store.pull(REFERENCE, limit_bytes=1_000)

    assert model_hub.sent == 0
