"""What a user may write to name a model, and which of a repository's files that is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.errors import PullRefused, RemoteNotFound
from botframework.models.store.names import check_path
from botframework.models.store.reference import (
    CatalogReference,
    FileReference,
    HubReference,
    ModelReference,
    WebReference,
    parse,
)
from botframework.models.store.selection import parts_of, quantization_of, select

DIGEST = "0123456789abcdef" * 4
HUB = HubReference("Qwen", "Qwen2.5-Coder-7B-GGUF")
WRITTEN: dict[str, ModelReference] = {
    "hf:Qwen/Qwen2.5-Coder-7B-GGUF": HUB,
    "  hf:Qwen/Qwen2.5-Coder-7B-GGUF ": HUB,
    "HF://Qwen/Qwen2.5-Coder-7B-GGUF": HUB,
    "https://huggingface.co/Qwen/Qwen2.5-Coder-7B-GGUF": HUB,
    "hf.co/Qwen/Qwen2.5-Coder-7B-GGUF": HUB,
    "hf:o/r:q4_k_m": HubReference("o", "r", quantization="Q4_K_M"),
    "hf.co/o/r:UD-Q4_K_XL": HubReference("o", "r", quantization="UD-Q4_K_XL"),
    "hf:o/r/model.gguf": HubReference("o", "r", path="model.gguf"),
    "hf:o/r/sub dir/model.gguf": HubReference("o", "r", path="sub dir/model.gguf"),
    "hf:o/r@v1.0": HubReference("o", "r", "v1.0"),
    "hf:o/r@v1.0:Q8_0": HubReference("o", "r", "v1.0", quantization="Q8_0"),
    "hf:o/r@v1.0/model.gguf": HubReference("o", "r", "v1.0", path="model.gguf"),
    "https://huggingface.co/o/r/tree/dev": HubReference("o", "r", "dev"),
    "https://huggingface.co/o/r/blob/main/a/b.gguf": HubReference("o", "r", path="a/b.gguf"),
    "https://huggingface.co/o/r/resolve/main/b.gguf?download=true": HubReference("o", "r", path="b.gguf"),
    "https://example.com/models/b.gguf?x=1": WebReference("https://example.com/models/b.gguf?x=1"),
    f"https://example.com/b.gguf#sha256={DIGEST.upper()}": WebReference("https://example.com/b.gguf", DIGEST),
    "/models/b.gguf": FileReference(Path("/models/b.gguf")),
    "file:///models/my%20b.gguf": FileReference(Path("/models/my b.gguf")),
    "qwen2.5-coder-7b-instruct": CatalogReference("qwen2.5-coder-7b-instruct"),
    "Qwen2.5-Coder-7B-Instruct:q4_k_m": CatalogReference("qwen2.5-coder-7b-instruct", "Q4_K_M"),
}
REFUSED = {
    "": "names no model",
    "a" * 3_000: "names no model",
    "hf:o/r\n/x.gguf": "names no model",
    "hf:": "owner/name",
    "hf:only-an-owner": "owner/name",
    "hf:../r": "owner/name",
    "hf:o/..": "owner/name",
    "hf:o/a..b": "owner/name",
    "hf:o/nul": "owner/name",
    "hf:o/r@": "is no revision",
    "hf:o/r@../x": "is no revision",
    "hf:o/r:": "is no quantization",
    "hf:o/r:Q4 K M": "is no quantization",
    "hf:o/r/": "stay in its folder",
    "hf:o/r/../x.gguf": "stay in its folder",
    "hf:o/r//etc/x.gguf": "stay in its folder",
    "hf:o/r/..%2fx.gguf": "has the character '%'",
    "hf:o/r/a\\b.gguf": "has the character",
    "hf:o/r/C:x.gguf": "has the character ':'",
    "hf:o/r/aux.gguf": "device",
    "hf:o/r/.hidden.gguf": "begins with",
    "hf:o/r/x.gguf.": "ends with",
    f"hf:o/r/{'a' * 201}.gguf": "more than 200 bytes",
    f"hf:o/r/{'a/' * 9}x.gguf": "too long",
    "https://user:secret@example.com/x.gguf": "user or password",
    "https://example.com/x.gguf#md5=1": "expected #sha256=",
    "https://example.com": "names no file",
    "https:///x.gguf": "names no host",
    "https://[::1/x.gguf": "is no address",
    "https://example.com:99999/x.gguf": "is no address",
    "https://huggingface.co/o": "shows no model file",
    "https://huggingface.co/o/r/discussions/3": "shows no model file",
    "./x.gguf": "relative path",
    "../x.gguf": "relative path",
    "x.gguf": "relative path",
    "Qwen/Qwen2.5-Coder-7B-GGUF": "did you mean hf:Qwen/Qwen2.5-Coder-7B-GGUF?",
    "ftp://example.com/x.gguf": "names no model",
    "model name": "names no model",
}
FILES = (
    "README.md",
    "coder-q2_k.gguf",
    "coder-q4_k_m.gguf",
    "coder-q4_k_m-00001-of-00002.gguf",
    "coder-q4_k_m-00002-of-00002.gguf",
    "coder-fp16-00001-of-00003.gguf",
    "coder-fp16-00002-of-00003.gguf",
    "coder-fp16-00003-of-00003.gguf",
    "coder-q8_0-00001-of-00002.gguf",
    "UD-Q4_K_XL/coder-UD-Q4_K_XL.gguf",
    "mmproj-q4_k_m.gguf",
    "../q5_k_m.gguf",
)
FP16 = FILES[5:8]


@pytest.mark.parametrize(("text", "expected"), WRITTEN.items(), ids=list(WRITTEN))
def test_every_form_is_read(text: str, expected: ModelReference) -> None:
    """Each documented form means what the table says, and what is shown of it means the same."""
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(("text", "words"), REFUSED.items(), ids=range(len(REFUSED)))
def test_every_mistake_is_explained(text: str, words: str) -> None:
    """What is no reference is refused with words that say what was meant; a password is never repeated."""
    with pytest.raises(PullRefused) as caught:
        parse(text)

    assert words in caught.value.message
    assert "secret" not in caught.value.message
    assert len(caught.value.message) < 700


@given(
    st.text(max_size=80), st.sampled_from(["", "hf:", "hf:o/r/", "hf:o/r@", "hf:o/r:", "https://", "https://hf.co/"])
)
def test_no_text_breaks_it(text: str, before: str) -> None:
    """Any text is a reference or refused; a path that is accepted stays in its folder on every system."""
    try:
        found = parse(before + text)
    except PullRefused:
        return
    if isinstance(found, HubReference) and found.path is not None:
        parts = found.path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert not set(found.path) & set('\\:%\0<>"|?*')


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ("coder-q4_k_m.gguf",)),
        ({"quantization": "Q4_K_M"}, ("coder-q4_k_m.gguf",)),
        ({"quantization": "Q4_K_XL"}, ("UD-Q4_K_XL/coder-UD-Q4_K_XL.gguf",)),
        ({"quantization": "UD-Q4_K_XL"}, ("UD-Q4_K_XL/coder-UD-Q4_K_XL.gguf",)),
        ({"quantization": "F16"}, FP16),
        ({"path": "coder-fp16-00002-of-00003.gguf"}, FP16),
        ({"path": "coder-q2_k.gguf"}, ("coder-q2_k.gguf",)),
        ({"path": "mmproj-q4_k_m.gguf"}, ("mmproj-q4_k_m.gguf",)),
    ],
)
def test_the_files_that_are_meant(asked: dict[str, str], expected: tuple[str, ...]) -> None:
    """A quantization, a name and nothing at all find the file; any part of a split model finds all parts in order."""
    assert select(FILES, **asked) == expected


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"quantization": "Q6_K"}, RemoteNotFound, "there are F16, Q2_K, Q4_K_M"),
        ({"quantization": "Q8_0"}, RemoteNotFound, "no file is quantized as Q8_0"),
        ({"path": "coder-q2_m.gguf"}, RemoteNotFound, "did you mean coder-q2_k.gguf"),
        ({"path": "coder-q8_0-00001-of-00002.gguf"}, RemoteNotFound, "no whole"),
        ({"path": "README.md"}, PullRefused, "no GGUF file"),
        ({"path": "coder-00005-of-00002.gguf"}, PullRefused, "part 5 of 2"),
        ({"path": "coder-00001-of-99999.gguf"}, PullRefused, "expected 1 to 512 parts"),
    ],
)
def test_what_is_not_there(asked: dict[str, str], error: type[Exception], words: str) -> None:
    """The message names what comes near or what there is; a model that misses a part does not count."""
    with pytest.raises(error, match=words):
        select(FILES, **asked)


def test_several_that_fit_are_named() -> None:
    """Nobody guesses which of two models in one repository is meant."""
    with pytest.raises(PullRefused, match=r"name one of large-q4_k_m\.gguf, small-q4_k_m\.gguf"):
        select(["small-q4_k_m.gguf", "large-q4_k_m.gguf"])


def test_a_repository_without_models() -> None:
    """It is said that it has none, and how repositories that do are usually called."""
    with pytest.raises(RemoteNotFound, match="name theirs"):
        select(["model.safetensors", "mmproj-f16.gguf"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen2.5-coder-7b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("Q8_0/model-Q8_0-00001-of-00002.gguf", "Q8_0"),
        ("granite-IQ4_XS.gguf", "IQ4_XS"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("starcoder2-3b-fp16.gguf", "F16"),
        ("model.BF16.gguf", "BF16"),
        ("model.gguf", None),
    ],
)
def test_the_quantization_in_a_name(name: str, expected: str | None) -> None:
    """The ways in which real repositories write it."""
    assert quantization_of(name) == expected


def test_parts_are_named_in_order() -> None:
    """Any part's name gives all names; a file that is not split is its own."""
    assert parts_of("a/m-00002-of-00003.gguf") == tuple(f"a/m-0000{n}-of-00003.gguf" for n in (1, 2, 3))
    assert parts_of("a/m.gguf") == ("a/m.gguf",)


@pytest.mark.parametrize(
    "name", ["lone\ud800.gguf", "turned\u202efugg.gguf", "a\x7f.gguf", "CON", "com1.gguf", "a/ b.gguf"]
)
def test_names_that_mean_something_else_elsewhere(name: str) -> None:
    """Names that no system can store, that look like others, or that are devices are refused in plain ASCII."""
    with pytest.raises(PullRefused) as caught:
        check_path(name)

    assert caught.value.message.isascii()
