"""The folder of models: what lies where, what changes it, and what other programs hold."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from botframework.errors import (
    DigestMismatch,
    ModelNotFound,
    ModelRefused,
    PullRefused,
    RequestCancelled,
    StoreError,
)
from botframework.models import gguf
from botframework.models.store import holds, links, manifest
from botframework.models.store.foreign import OLLAMA_MODEL_LAYER, Surroundings
from botframework.models.store.layout import Layout, check_name, visible_name
from botframework.models.store.store import Store
from support.model_files import one_file, sha256, split_files

if TYPE_CHECKING:
    from collections.abc import Callable

POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="links, locks and modes of POSIX")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model file of the user."""
    return one_file(tmp_path / "source" / "model.gguf")


def blob_names(store: Store) -> list[str]:
    """Names of the content in the store."""
    return sorted(path.name for path in (store.folder / "blobs").glob("sha256-" + "?" * 64))


def replaced(path: Path, *, seed: int) -> Path:
    """Another model under the same name."""
    path.unlink()
    return one_file(path, seed=seed)


# --- a pull of a local file -------------------------------------------------------------------------------------------


def test_a_local_file_is_pulled(store: Store, source: Path) -> None:
    """It lies under its digest, is visible under its name, is one file with two names, and can be loaded."""
    found = store.pull(str(source))

    assert (found.name, found.origin, found.reference) == ("local/model.gguf", "pulled", str(source))
    assert Path(found.path) == store.folder / "local" / "model.gguf"
    assert found.digests == (sha256(source),)
    assert blob_names(store) == [f"sha256-{sha256(source)}"]
    assert Path(found.path).samefile(store.folder / "blobs" / blob_names(store)[0])
    assert gguf.read_header(found.path).architecture == "llama"
    assert [each.name for each in store.installed()] == ["local/model.gguf"]


@POSIX_ONLY
def test_content_is_never_written_again(store: Store, source: Path) -> None:
    """A blob is read only, and the user's file and the store's are two: who changes one does not change the other."""
    found = store.pull(str(source))
    source.write_bytes(b"something else")

    assert stat.S_IMODE(Path(found.path).stat().st_mode) == 0o444
    assert store.verify(found.name).name == found.name


def test_a_second_pull_changes_nothing(store: Store, source: Path) -> None:
    """The same content is not copied again, and counts as used now."""
    first = store.pull(str(source))
    before = Path(first.path).stat()
    os.utime(Layout(store.folder).manifest(first.name), (1, 1))
    second = store.pull(str(source))

    assert Path(second.path).stat().st_mtime_ns == before.st_mtime_ns
    assert store.installed()[0].used_at == pytest.approx(second.used_at or 0.0, abs=60)


def test_newer_content_takes_the_place_of_the_older(store: Store, source: Path) -> None:
    """The path stays, what it leads to is new, and the old content is gone."""
    old = store.pull(str(source))
    new = store.pull(str(replaced(source, seed=2)))

    assert new.path == old.path
    assert new.digests != old.digests
    assert sha256(Path(new.path)) == sha256(source)
    assert blob_names(store) == [f"sha256-{new.digests[0]}"]


@POSIX_ONLY
def test_who_has_the_older_content_mapped_keeps_it(store: Store, source: Path) -> None:
    """Check 39: a file that is replaced or removed is never cut: its bytes stay for those that have it open."""
    content = source.read_bytes()
    with Path(store.pull(str(source)).path).open("rb") as file:
        store.pull(str(replaced(source, seed=2)))
        store.remove("local/model.gguf")

        assert file.read() == content


def test_progress_goes_to_the_end(store: Store, source: Path) -> None:
    """It begins with nothing, never goes back, and ends with all bytes; a comparison tells it as well."""
    seen: list[tuple[int, int | None]] = []
    found = store.pull(str(source), on_progress=lambda done, total: seen.append((done, total)))
    compared: list[tuple[int, int | None]] = []
    store.verify(found.name, on_progress=lambda done, total: compared.append((done, total)))

    for figures in (seen, compared):
        assert figures == sorted(figures)
        assert (figures[0], figures[-1]) == ((0, found.size_bytes), (found.size_bytes, found.size_bytes))


def test_a_cancelled_pull_leaves_the_store_as_it_was(store: Store, source: Path) -> None:
    """Whoever sets the event gets `RequestCancelled`, and there is nothing new."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(RequestCancelled):
        store.pull(str(source), stop=stop)

    assert store.installed() == ()
    assert blob_names(store) == []
    assert store.downloads() == ()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"<!doctype html><title>no</title>" * 40, b"PK\x03\x04" + bytes(64)])
def test_what_is_no_model_is_not_kept(store: Store, tmp_path: Path, content: bytes) -> None:
    """It is refused in words, and neither its bytes nor its name are in the store."""
    path = tmp_path / "page.gguf"
    path.write_bytes(content)
    with pytest.raises((ModelRefused, ModelNotFound), match=r"page\.gguf"):
        store.pull(str(path))

    assert store.installed() == ()
    assert blob_names(store) == []
    assert not (store.folder / "local").exists()


def test_a_split_model_is_pulled_whole(store: Store, tmp_path: Path) -> None:
    """Any of its parts names all; they lie beside each other under the names by which llama.cpp finds them."""
    first, second = split_files(tmp_path / "source")
    found = store.pull(str(second))

    assert (found.parts, found.size_bytes) == (2, first.stat().st_size + second.stat().st_size)
    assert Path(found.path).name == first.name
    assert sha256(Path(found.path).with_name(second.name)) == sha256(second)
    assert os.path.realpath(found.path) == str(Path(os.path.realpath(store.folder)) / "local" / first.name)


def test_a_split_model_with_a_part_missing_is_refused(store: Store, tmp_path: Path) -> None:
    """The message names the missing file."""
    first, second = split_files(tmp_path / "source")
    second.unlink()
    with pytest.raises(ModelNotFound, match="00002-of-00002"):
        store.pull(str(first))

    assert store.installed() == ()


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "filename", "name"),
    [
        (("Qwen", "Coder-GGUF"), "coder-q4_k_m.gguf", "Qwen/Coder-GGUF/coder-q4_k_m.gguf"),
        (("o", "r"), "UD/a/x-00001-of-00002.gguf", "o/r/UD-a/x-00001-of-00002.gguf"),
        (("example.org",), "model.bin", "example.org/model.bin.gguf"),
    ],
)
def test_visible_names(folders: tuple[str, ...], filename: str, name: str) -> None:
    """As in the repository, but never deeper than the list of models looks."""
    assert visible_name(folders, filename) == name


@pytest.mark.parametrize(
    "name",
    [
        "../x.gguf",
        "a/../../x.gguf",
        "/etc/x.gguf",
        "a//x.gguf",
        "a/.x.gguf",
        "a/x.gguf\0",
        "a\\x.gguf/y.gguf",
        "blobs/x.gguf",
        "Manifests/x.gguf",
        "x.gguf",
        "a/b/c/d/x.gguf",
        "a/x.txt",
        "con/x.gguf",
        "a/" + "x" * 300 + ".gguf",
    ],
)
def test_names_that_are_refused(name: str) -> None:
    """Check 36: nothing leads out of the folder, into our own files, or means a device."""
    with pytest.raises(PullRefused):
        check_name(name)


@POSIX_ONLY
@pytest.mark.parametrize("where", ["blobs", "manifests", "local"])
def test_a_link_in_the_store_is_not_followed(store: Store, source: Path, tmp_path: Path, where: str) -> None:
    """Check 36: a folder that leads outside is refused, and nothing is written where it leads."""
    outside = tmp_path / "outside"
    outside.mkdir()
    store.folder.mkdir()
    (store.folder / where).symlink_to(outside)
    with pytest.raises(StoreError, match="link"):
        store.pull(str(source))

    assert list(outside.iterdir()) == []
    assert store.installed() == ()


@POSIX_ONLY
def test_the_folder_itself_may_be_a_link(tmp_path: Path, source: Path) -> None:
    """The user's large disk is wherever the user says."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "models").symlink_to(tmp_path / "disk")
    Store(tmp_path / "models", Surroundings({}, tmp_path / "home")).pull(str(source))

    assert (tmp_path / "disk" / "local" / "model.gguf").is_file()


def test_somebody_elses_file_is_not_replaced(store: Store, source: Path) -> None:
    """A file that the user put there by hand stays, and the message says what to do."""
    theirs = store.folder / "local" / "model.gguf"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"mine")
    with pytest.raises(StoreError, match="move it away"):
        store.pull(str(source))

    assert theirs.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "change",
    [
        lambda known: msgspec.structs.replace(known, name="../../outside.gguf"),
        lambda known: msgspec.structs.replace(
            known, parts=(msgspec.structs.replace(known.parts[0], file="../outside.gguf"),)
        ),
        lambda known: msgspec.structs.replace(
            known, parts=(known.parts[0], msgspec.structs.replace(known.parts[0], file="../../outside.gguf"))
        ),
        lambda known: msgspec.structs.replace(known, parts=known.parts * 2),
    ],
)
def test_a_forged_manifest_is_not_read(
    store: Store, source: Path, tmp_path: Path, change: Callable[[manifest.Manifest], manifest.Manifest]
) -> None:
    """Whatever a manifest says, nothing outside the store is linked, listed or removed by it."""
    outside = tmp_path / "outside.gguf"
    outside.write_bytes(b"mine")
    found = store.pull(str(source))
    path = Layout(store.folder).manifest(found.name)
    known = manifest.read(Layout(store.folder), found.name)
    assert known is not None
    path.write_bytes(msgspec.json.encode(change(known)))

    assert store.installed() == ()
    with pytest.raises(ModelNotFound):
        store.remove("outside.gguf")
    assert outside.read_bytes() == b"mine"


# --- finding, verifying, removing -------------------------------------------------------------------------------------


def test_a_model_is_found_by_any_of_its_names(store: Store, source: Path) -> None:
    """By name, path, reference and file name; a wrong one gets those that come near."""
    found = store.pull(str(source))

    for name in (found.name, found.path, found.reference, "Model.gguf"):
        assert store.find(name).name == found.name
    with pytest.raises(ModelNotFound, match=r"There is local/model\.gguf"):
        store.find("local/modle.gguf")


def test_a_changed_bit_is_found(store: Store, source: Path) -> None:
    """`verify` compares every byte, deletes nothing, and a removal makes room for a new pull."""
    found = store.pull(str(source))
    path = Path(found.path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(DigestMismatch, match="Remove it and pull it again") as told:
        store.verify(found.name)

    assert told.value.data["expected"] == found.digests[0]
    assert path.exists()
    store.remove(found.name)
    assert store.verify(store.pull(str(source)).name).digests == found.digests


def test_a_removed_model_is_gone(store: Store, source: Path) -> None:
    """Its name, its content, its manifest and its empty folder."""
    found = store.pull(str(source))
    store.remove(found.name)

    assert store.installed() == ()
    assert blob_names(store) == []
    assert not (store.folder / "local").exists()
    assert store.usage().models_bytes == 0


def test_content_of_two_models_goes_with_the_second(store: Store, source: Path, tmp_path: Path) -> None:
    """Two names of one content take the disk once, and the removal of one leaves the other whole."""
    twin = tmp_path / "source" / "twin.gguf"
    shutil.copy(source, twin)
    one, two = store.pull(str(source)), store.pull(str(twin))
    assert store.usage().models_bytes == source.stat().st_size
    store.remove(one.name)

    assert store.verify(two.name).name == two.name
    store.remove(two.name)
    assert blob_names(store) == []


def test_a_file_that_a_person_deleted_is_gone(store: Store, source: Path, tmp_path: Path) -> None:
    """It is not listed any more, and the next change frees its room."""
    found = store.pull(str(source))
    Path(found.path).unlink()

    assert store.installed() == ()
    store.pull(str(one_file(tmp_path / "source" / "other.gguf", seed=3)))
    assert len(blob_names(store)) == 1


def test_a_split_model_of_which_a_person_deleted_a_part_is_gone(store: Store, source: Path, tmp_path: Path) -> None:
    """What is left of it is of no use to anybody; the next change frees its room too."""
    found = Path(store.pull(str(split_files(tmp_path / "split")[0])).path)
    found.with_name("model-00002-of-00002.gguf").unlink()
    assert store.installed() == ()
    kept = store.pull(str(source))

    assert blob_names(store) == [f"sha256-{kept.digests[0]}"]
    assert not found.exists()


@POSIX_ONLY
def test_a_model_in_use_is_not_removed(store: Store, source: Path) -> None:
    """Any process that holds it keeps it; forced, or after the hold, it goes."""
    found = store.pull(str(source))
    hold = store.hold(found.path)
    with pytest.raises(StoreError, match="in use"):
        store.remove(found.name)
    assert store.trim(0) == ()
    hold.release()
    hold.release()

    store.remove(found.name)
    assert store.installed() == ()
    again = store.pull(str(source))
    with store.hold(again.path):
        store.remove(again.name, force=True)
    assert store.installed() == ()


def test_what_cannot_be_held_can_be_loaded(tmp_path: Path, store: Store) -> None:
    """A hold is a favour: a file that is not there or on a disk without locks raises nothing."""
    with store.hold(tmp_path / "nothing.gguf"):
        assert not holds.is_held(tmp_path / "nothing.gguf")


# --- limits -----------------------------------------------------------------------------------------------------------


def test_the_longest_unused_go_first(store: Store, tmp_path: Path) -> None:
    """Beyond the limit models go by their last use; the one just pulled stays."""
    paths = [one_file(tmp_path / "source" / f"m{number}.gguf", seed=number) for number in range(4)]
    size = paths[0].stat().st_size
    for number, path in enumerate(paths[:3]):
        store.pull(str(path))
        os.utime(Layout(store.folder).manifest(f"local/m{number}.gguf"), (number, number))
    with store.hold(store.find("local/m0.gguf").path):
        pass  # used now
    store.pull(str(paths[3]), limit_bytes=2 * size)

    assert [each.name for each in store.installed()] == ["local/m0.gguf", "local/m3.gguf"]


def test_a_model_larger_than_the_limit_is_not_begun(store: Store, source: Path) -> None:
    """It is refused before a byte is written."""
    with pytest.raises(PullRefused, match=r"models\.diskGib"):
        store.pull(str(source), limit_bytes=source.stat().st_size - 1)

    assert not store.folder.exists()


def test_leftovers_go_when_they_are_old(store: Store, source: Path, tmp_path: Path) -> None:
    """What killed processes leave stays for a while, since it can be gone on with, and then goes by itself."""
    store.pull(str(source))
    key = "sha256-" + "a" * 64
    blobs = store.folder / "blobs"
    leftovers = [blobs / f"{key}{ending}" for ending in (".part", ".part.journal", ".progress", ".lock")]
    leftovers += [blobs / ("sha256-" + "b" * 64), blobs / ("." + "0" * 16 + ".new")]
    for path in leftovers:
        path.write_bytes(b"x" * 1_000)
    store.pull(str(one_file(tmp_path / "source" / "b.gguf", seed=2)))
    assert all(path.exists() for path in leftovers)
    assert store.usage().unfinished_bytes > 0
    for path in leftovers:
        os.utime(path, (1, 1))
    store.pull(str(one_file(tmp_path / "source" / "c.gguf", seed=3)))

    assert not any(path.exists() for path in leftovers)
    assert store.usage().unfinished_bytes == 0


def test_unfinished_downloads_can_be_discarded(store: Store, source: Path) -> None:
    """At the user's wish they go at once."""
    store.pull(str(source))
    part = store.folder / "blobs" / ("sha256-" + "a" * 64 + ".part")
    part.write_bytes(b"x")
    store.discard_unfinished()

    assert not part.exists()
    assert len(store.installed()) == 1


# --- links ------------------------------------------------------------------------------------------------------------


@POSIX_ONLY
def test_without_hard_links_there_are_symbolic_ones(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that has none everything else is the same."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    found = store.pull(str(source))

    assert Path(found.path).is_symlink()
    assert not os.path.isabs(os.readlink(found.path))  # noqa: PTH115, PTH117 - the text of the link
    assert store.verify(found.name).digests == found.digests
    store.pull(str(replaced(source, seed=2)))
    assert sha256(Path(found.path)) == sha256(source)
    store.remove(found.name)
    assert not (store.folder / "local").exists()


def test_a_crash_before_the_names_is_repaired_by_a_look(store: Store, source: Path) -> None:
    """The manifest decides: what it names is put where it belongs."""
    found = store.pull(str(source))
    layout = Layout(store.folder)
    known = manifest.read(layout, found.name)
    assert known is not None
    manifest.write(layout, msgspec.structs.replace(known, is_linked=False))
    links.hide(layout, known)

    assert [each.name for each in store.installed()] == [found.name]
    assert sha256(Path(found.path)) == found.digests[0]


# --- other programs ---------------------------------------------------------------------------------------------------


def ollama_keeps(home: Path, source: Path, digest: str) -> Path:
    """Lay a model out as Ollama does."""
    root = home / ".ollama" / "models"
    blob = root / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True)
    shutil.copy(source, blob)
    tag = root / "manifests" / "registry.ollama.ai" / "library" / "coder" / "1.5b"
    tag.parent.mkdir(parents=True)
    layers: list[dict[str, Any]] = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64, "size": 1},
        {"mediaType": OLLAMA_MODEL_LAYER, "digest": f"sha256:{digest}", "size": source.stat().st_size},
    ]
    tag.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def hub_cache_keeps(home: Path, source: Path, digest: str) -> Path:
    """Lay a model out as the Hugging Face libraries do."""
    repository = home / ".cache" / "huggingface" / "hub" / "models--maker--model"
    blob = repository / "blobs" / digest
    blob.parent.mkdir(parents=True)
    shutil.copy(source, blob)
    snapshot = repository / "snapshots" / ("c" * 40) / "model.gguf"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(Path("../../blobs") / digest)
    return snapshot


@POSIX_ONLY
def test_models_of_other_programs_are_found(store: Store, source: Path, tmp_path: Path) -> None:
    """Ollama's, LM Studio's, llama.cpp's and those of the Hugging Face libraries, each where its program keeps it."""
    home, digest = tmp_path / "home", sha256(source)
    paths = {
        "ollama": ollama_keeps(home, source, digest),
        "huggingFace": hub_cache_keeps(home, source, digest),
        "lmStudio": home / ".lmstudio" / "models" / "maker" / "model" / "model.gguf",
        "llamaCpp": home / ".cache" / "llama.cpp" / "maker_model_model.gguf",
    }
    for origin in ("lmStudio", "llamaCpp"):
        paths[origin].parent.mkdir(parents=True)
        shutil.copy(source, paths[origin])
    (home / ".lmstudio" / "models" / "maker" / "model" / "mmproj-model.gguf").write_bytes(b"an eye")
    found = {each.origin: each for each in store.foreign()}

    assert {origin: Path(each.path) for origin, each in found.items()} == paths
    assert found["ollama"].name == "coder:1.5b"
    assert found["ollama"].digests == found["huggingFace"].digests == (digest,)
    assert store.verify("coder:1.5b").origin == "ollama"


def test_their_environment_variables_move_them(source: Path, tmp_path: Path) -> None:
    """Each program's own variable, and LM Studio's pointer, say where its files are."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    for folder in ("llama", "studio/models/a/b", "hub/models--a--b/snapshots/c"):
        (elsewhere / folder).mkdir(parents=True)
        shutil.copy(source, elsewhere / folder / "model.gguf")
    ollama_keeps(elsewhere, source, sha256(source))
    (home / ".lmstudio-home-pointer").write_text(f"{elsewhere / 'studio'}\n")
    environment = {
        "LLAMA_CACHE": str(elsewhere / "llama"),
        "HF_HUB_CACHE": str(elsewhere / "hub"),
        "OLLAMA_MODELS": str(elsewhere / ".ollama" / "models"),
    }
    found = Store(tmp_path / "models", Surroundings(environment, home, "linux")).foreign()

    assert sorted(each.origin for each in found) == ["huggingFace", "llamaCpp", "lmStudio", "ollama"]


def test_caches_full_of_nonsense_are_walked_in_peace(store: Store, tmp_path: Path) -> None:
    """Manifests that are none, models that are gone, links in a circle: they are not models, and nothing is raised.

    Nor is what has a name that no message can carry, nor what lies where its program puts none.
    """
    home = tmp_path / "home"
    manifests = home / ".ollama" / "models" / "manifests" / "r" / "library" / "m"
    manifests.mkdir(parents=True)
    texts = ["", "[]", "{", '{"layers": 3}', '{"layers": [{"mediaType": 1}]}', "[" * 100_000]
    texts.append(json.dumps({"layers": [{"mediaType": OLLAMA_MODEL_LAYER, "digest": "sha256:../../../etc/passwd"}]}))
    texts.append(json.dumps({"layers": [{"mediaType": OLLAMA_MODEL_LAYER, "digest": "sha256:" + "f" * 64}]}))
    for number, text in enumerate(texts):
        (manifests / str(number)).write_text(text)
    source = one_file(tmp_path / "source.gguf")
    ollama_keeps(home, source, sha256(source))
    root = home / ".ollama" / "models" / "manifests"
    (root / "registry.ollama.ai" / "library" / "coder" / "1.5b").rename(root / "odd")
    studio = home / ".lmstudio" / "models" / "a"
    studio.mkdir(parents=True)
    (studio / "empty.gguf").touch()
    (studio / "folder.gguf").mkdir()
    if sys.platform != "win32":
        (studio / "round").symlink_to(studio)
        (studio / "gone.gguf").symlink_to(studio / "nothing")
        os.mkfifo(studio / "pipe.gguf")
        os.mkfifo(manifests / "pipe")
    if sys.platform == "linux":  # other file systems have no such names
        one_file(tmp_path / "named.gguf").rename(studio / os.fsdecode(b"caf\xe9.gguf"))

    assert store.foreign() == ()


def test_nothing_of_another_program_is_removed(store: Store, source: Path, tmp_path: Path) -> None:
    """The message says where it is."""
    blob = ollama_keeps(tmp_path / "home", source, sha256(source))
    with pytest.raises(StoreError, match="another program"):
        store.remove("coder:1.5b", force=True)

    assert store.trim(0) == ()
    assert blob.is_file()
