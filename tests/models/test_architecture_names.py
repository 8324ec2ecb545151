"""The architectures that we let pass beside those of the real llama.cpp, and what is said of all others."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

import pytest

from botframework.errors import ModelRefused
from botframework.models.architecture_names import ARCHITECTURE_NAMES
from botframework.models.gguf import read_header
from support.llama_verdict import llama
from support.model_files import of_architecture

if TYPE_CHECKING:
    from pathlib import Path

    from botframework.models.store.store import Store
    from support.hub_server import HubServer

NAMES_ONLY = {"clip", "gptj"}
"""llama.cpp has their names and no model for them."""
MOST = 1_000
"""Of its numbers for architectures, which begin at 0."""
SYMBOL = "_Z13llm_arch_name8llm_arch"
"""``const char * llm_arch_name(llm_arch)``, as Linux compilers call it."""


@pytest.mark.skipif(sys.platform != "linux", reason="the function's name is another one elsewhere")
def test_the_names_are_those_of_llama_cpp() -> None:
    """After a change of llama.cpp's version this says which names have come and gone."""
    from llama_cpp import llama_cpp

    function = getattr(llama_cpp._lib, SYMBOL)
    function.argtypes, function.restype = [ctypes.c_int], ctypes.c_char_p
    theirs = {function(number).decode() for number in range(MOST)} - {"unknown", "(unknown)"}

    assert theirs - ARCHITECTURE_NAMES == NAMES_ONLY
    assert theirs >= ARCHITECTURE_NAMES


@pytest.mark.skipif(sys.platform == "win32", reason="every file is tried in a fork")
@pytest.mark.parametrize("name", ["lama", "newformer-9", "gptj"])
def test_what_is_refused_deserves_it(tmp_path: Path, name: str) -> None:
    """A whole file of another architecture: llama.cpp does not load it, and our message says why, and what to do."""
    path = of_architecture(tmp_path / "m.gguf", name)
    with llama() as ask:
        assert ask(path) == "refused"
    with pytest.raises(ModelRefused) as caught:
        read_header(path)

    assert f"is a model of the architecture '{name}', which the llama.cpp in this botframework does" in str(
        caught.value
    )
    assert "take another model" in str(caught.value)
    assert caught.value.data["path"] == str(path)


def test_a_pull_says_so_and_leaves_the_store_as_it_was(model_hub: HubServer, store: Store) -> None:
    """What was there before is whole, what came is not kept, and the file's own name is in the message."""
    before = store.pull("hf:maker/model/model.gguf")
    of_architecture(model_hub.folder / "maker" / "model" / "model.gguf", "newformer-9")
    of_architecture(model_hub.folder / "maker" / "model" / "other.gguf", "newformer-9")
    for name in ("model", "other"):
        with pytest.raises(
            ModelRefused, match=rf"{name}\.gguf: is a model of the architecture 'newformer-9'.*not kept"
        ):
            store.pull(f"hf:maker/model/{name}.gguf")

    assert [(each.name, each.digests) for each in store.installed()] == [(before.name, before.digests)]
    assert store.verify(before.name).path == before.path
    assert store.usage().unfinished_bytes == 0
