from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from botframework.errors import ConfigError, ModelNotFound
from botframework.models import catalog, formats
from botframework.models.recommend import BENCHMARKS, ROLES

PACKAGED = Path(catalog.__file__).with_name(catalog.FILE_NAME)
OWN: dict[str, Any] = {
    "id": "mine-1b",
    "name": "Mine",
    "roles": ["fim"],
    "repository": "me/mine-GGUF",
    "quantizations": ["Q8_0"],
    "parameters": 1_000_000_000,
}


def user_file(folder: Path, content: object) -> Path:
    """A catalog of the user's."""
    path = folder / catalog.FILE_NAME
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def packaged() -> catalog.Catalog:
    """What every user has."""
    return catalog.load_catalog()


def test_the_families_are_there(packaged: catalog.Catalog) -> None:
    """The models that the issue names have entries, from half a billion parameters to 32."""
    names = " ".join(packaged.entries)
    families = (
        *(f"qwen2.5-coder-{size}-instruct" for size in ("0.5b", "1.5b", "3b", "7b", "14b", "32b")),
        *("qwen3-coder", "starcoder2", "deepseek-coder-v2-lite", "codestral", "granite", "llama-3.2", "phi"),
    )

    assert [family for family in families if family not in names] == []
    assert [role for role in ROLES if not packaged.with_role(role)] == []


def test_defaults_are_models_for_their_role(packaged: catalog.Catalog) -> None:
    """Every size of machine has first choices for every role, and they can do what they are chosen for."""
    chosen = {(tier, role): ids for tier, roles in packaged.defaults.items() for role, ids in roles.items()}

    assert {key: [name for name in ids if key[1] not in packaged.entry(name).roles] for key, ids in chosen.items()} == {
        (tier, role): [] for tier in ("small", "medium", "large") for role in ROLES
    }


def test_who_fills_in_says_whose_tokens_it_has(packaged: catalog.Catalog) -> None:
    """A model for ghost text has a family of fill-in-the-middle tokens, and no other has."""
    assert [entry.id for entry in packaged.entries.values() if ("fim" in entry.roles) != bool(entry.fim_family)] == []


def test_shapes_are_whole(packaged: catalog.Catalog) -> None:
    """Heads are a multiple of the heads that keep something, and a cache needs all four numbers."""
    entries = packaged.entries.values()

    assert [entry.id for entry in entries if entry.kv_heads and (entry.heads or 0) % entry.kv_heads] == []
    assert [entry.id for entry in entries if entry.kv_heads and not (entry.layers and entry.head_dim)] == []


def test_sizes_and_digests_are_left_to_the_hub() -> None:
    """Nothing in the file pretends to know a file."""
    text = PACKAGED.read_text(encoding="utf-8")

    assert re.findall(r"(?i)sha-?256|\b[0-9a-f]{64}\b|bytes|\"size", text) == []


def test_each_model_has_one_figure_of_a_name(packaged: catalog.Catalog) -> None:
    """And those that rank a role are called as they are looked for."""
    named = [(entry.id, figure.name) for entry in packaged.entries.values() for figure in entry.benchmarks]

    assert len(set(named)) == len(named)
    assert set(BENCHMARKS.values()) <= {name for _, name in named}


@pytest.mark.parametrize(
    ("parameters", "name", "published_gb"),
    [
        # As https://huggingface.co/QuantFactory/Qwen2.5-Coder-7B-GGUF/tree/main listed them.
        (7_620_000_000, "Q4_K_M", 4.68),
        (7_620_000_000, "Q3_K_M", 3.81),
        (7_620_000_000, "Q4_0", 4.43),
        # https://huggingface.co/mradermacher/Qwen2.5-Coder-14B-GGUF
        (14_770_000_000, "Q5_K_M", 10.5),
        (14_770_000_000, "Q8_0", 15.7),
        # https://huggingface.co/ggml-org/Qwen2.5-Coder-3B-Q8_0-GGUF/tree/main
        (3_090_000_000, "Q8_0", 3.29),
        # https://huggingface.co/second-state/StarCoder2-3B-GGUF/tree/main
        (3_030_000_000, "Q6_K", 2.49),
        # https://huggingface.co/mradermacher/phi-4-GGUF
        (14_660_000_000, "Q6_K", 12.0),
        # https://huggingface.co/ibm-granite/granite-34b-code-instruct-8k-GGUF
        (33_700_000_000, "Q4_K_M", 21.4),
    ],
)
def test_estimates_are_near_what_is_published(parameters: int, name: str, published_gb: float) -> None:
    """Within 6 % for models of 3 billion weights and more."""
    assert formats.estimated_bytes(parameters, name) / 1e9 == pytest.approx(published_gb, rel=0.06)


@pytest.mark.parametrize(
    ("name", "bits"), [("q4_k_m", 4.89), ("UD-Q4_K_XL", 5.0), ("Q8_K_XL", 8.5), ("IQ3_M", 3.76), ("gguf", None)]
)
def test_names_of_formats(name: str, bits: float | None) -> None:
    """In any case; what the table lacks is estimated by its digit, and a name without one is none."""
    assert formats.bits_per_weight(name) == bits


def test_the_user_has_entries_beside_ours(tmp_path: Path, packaged: catalog.Catalog) -> None:
    """Theirs are added, take the place of ours of the same id, and are preferred where they say so."""
    replaced = {**OWN, "id": "phi-4", "roles": ["chat"]}
    content = {"models": [OWN, replaced], "defaults": {"small": {"fim": ["mine-1b", "qwen2.5-coder-0.5b"]}}}

    found = catalog.load_catalog(user_file(tmp_path, content))

    assert len(found.entries) == len(packaged.entries) + 1
    assert (found.entry("MINE-1B").name, found.entry("phi-4").name) == ("Mine", "Mine")
    assert found.defaults["small"]["fim"][:2] == ("mine-1b", "qwen2.5-coder-0.5b")
    assert len(set(found.defaults["small"]["fim"])) == len(found.defaults["small"]["fim"])
    assert found.defaults["large"] == packaged.defaults["large"]


def test_the_user_need_not_have_a_catalog(tmp_path: Path, packaged: catalog.Catalog) -> None:
    """No file is no error."""
    assert catalog.load_catalog(tmp_path / "none.json") == packaged


def test_the_users_file_is_beside_their_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One folder to look into."""
    monkeypatch.setenv("BOTFRAMEWORK_CONFIG_FILE", str(tmp_path / "botframework.toml"))

    assert catalog.user_catalog_file() == tmp_path / "catalog.json"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "truncated"),
        (json.dumps({"models": [{**OWN, "name": "?"}]}).replace("?", "\ud800"), "utf-8"),
        ({"model": [OWN]}, "unknown field `model`"),
        ({}, "missing required field `models`"),
        ({"models": [{**OWN, "paramters": 1}]}, "unknown field `paramters` - at `$.models[0]`"),
        ({"models": [OWN, {**OWN, "parameters": "1B"}]}, "got `str` - at `$.models[1].parameters`"),
        ({"models": [{**OWN, "parameters": 0}]}, "at `$.models[0].parameters`"),
        ({"models": [{**OWN, "roles": ["writer"]}]}, "'writer' - at `$.models[0].roles[0]`"),
        ({"models": [{**OWN, "roles": []}]}, "at `$.models[0].roles`"),
        ({"models": [{**OWN, "repository": "../x/y"}]}, "at `$.models[0].repository`"),
        ({"models": [{**OWN, "id": "Mine 1B"}]}, "at `$.models[0].id`"),
        ({"models": [OWN, OWN]}, "two models have the id 'mine-1b'"),
        ({"models": [{**OWN, "quantizations": ["best"]}]}, "'best' of 'mine-1b' is no number format"),
        ({"models": [{**OWN, "benchmarks": [{"name": "X", "score": 101, "url": "https://x.y"}]}]}, ".score`"),
        ({"models": [{**OWN, "benchmarks": [{"name": "X", "score": 1, "url": "I saw it"}]}]}, ".url`"),
        ({"models": [], "defaults": {"small": {"fim": ["none"]}}}, "no model has the id 'none'"),
        ({"models": [], "defaults": {"tiny": {}}}, "'tiny'"),
    ],
)
def test_what_no_catalog_can_say(tmp_path: Path, content: object, words: str) -> None:
    """One error names the file, what is wrong in it and where."""
    path = tmp_path / catalog.FILE_NAME
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(ConfigError) as refused:
        catalog.load_catalog(path)

    assert str(path) in refused.value.message
    assert words.lower() in refused.value.message.lower()


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A folder in its place, or a file of another kind, is refused with its name."""
    huge = user_file(tmp_path, " " * (catalog.MAX_FILE_BYTES + 1))

    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path} cannot be read")):
        catalog.load_catalog(tmp_path)
    with pytest.raises(ConfigError, match=r"catalog\.json is larger than 1,048,576 bytes"):
        catalog.load_catalog(huge)


def test_a_name_that_is_nearly_right(packaged: catalog.Catalog) -> None:
    """Who mistypes an id is told of similar ones."""
    with pytest.raises(ModelNotFound, match=r"no model 'qwen2\.5-code-7b'.*Did you mean qwen2\.5-coder-7b"):
        packaged.entry("qwen2.5-code-7b")


def test_the_format_that_is_meant(packaged: catalog.Catalog) -> None:
    """Without a word about it: four bits, or what there is."""
    assert packaged.entry("qwen2.5-coder-7b-instruct").usual_quantization == "Q4_K_M"
    assert packaged.entry("qwen2.5-coder-1.5b").usual_quantization == "Q8_0"
