from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from botframework.cli.tables import Column, Table, plain
from botframework.models import catalog, fit, formats, scores
from botframework.models.recommend import ROLES, _standings, is_file_of, recommend, tier_of
from botframework.models.recommendation import Recommendation, Role
from support.machines import MACHINES, card, machine

if TYPE_CHECKING:
    from botframework.models.hardware import Gpu, Hardware

GOLDEN = Path(__file__).with_name("golden")
WRITE_GOLDEN = "BOTFRAMEWORK_WRITE_GOLDEN"
"""With this variable set the tables are written instead of compared: read them before you keep them."""
SHOWN = 6
GIB = 1 << 30


@pytest.fixture(scope="module")
def known() -> catalog.Catalog:
    """The catalog of the package."""
    return catalog.load_catalog()


def with_models(*entries: catalog.CatalogEntry) -> catalog.Catalog:
    """A catalog of these alone."""
    return catalog.Catalog({entry.id: entry for entry in entries})


def entry_of(
    name: str, *quantizations: str, parameters: int = 7_000_000_000, score: float | None = None
) -> catalog.CatalogEntry:
    """A model for chat, built as one of 7 billion weights is."""
    figures = () if score is None else (catalog.Benchmark(name="HumanEval+", score=score, url="https://example.org"),)
    return catalog.CatalogEntry(
        id=name,
        name=name,
        roles=("chat",),
        repository=f"someone/{name}-GGUF",
        quantizations=quantizations or ("Q4_K_M",),
        parameters=parameters,
        layers=28,
        heads=28,
        kv_heads=4,
        head_dim=128,
        n_ctx_train=32_768,
        benchmarks=figures,
    )


def of_role(found: tuple[Recommendation, ...], role: Role) -> list[Recommendation]:
    """In their order."""
    return [each for each in found if each.role == role]


# --- golden tables ----------------------------------------------------------------------------------------------------


def rendered(hardware: Hardware, found: tuple[Recommendation, ...]) -> str:
    """A machine and what suits it, to be read by a person."""
    gpus = ", ".join(f"{gpu.name} ({(gpu.vram_total or 0) / GIB:.1f} GiB)" for gpu in hardware.gpus) or "no GPU"
    text = f"{hardware.cpu}, {hardware.ram_total / GIB:.1f} GiB, {gpus}: {tier_of(hardware)}\n"
    titles = ("model", "format", "size", "place", "context", "total", "size", "precision", "KV", "speed", "density")
    columns = tuple(Column(title, "left" if number in {0, 1, 3} else "right") for number, title in enumerate(titles))
    for role in ROLES:
        best = of_role(found, role)
        text += f"\n{role}\n" + plain(Table(columns, tuple(row_of(each) for each in best[:SHOWN])))
        text += "".join(f"  {reason}\n" for reason in best[0].reasons) if best else ""
    return text


def row_of(each: Recommendation) -> tuple[str, ...]:
    """All that a person may ask about."""
    values = each.scores
    five = (values.size, values.precision, values.kv, values.performance, values.density)
    return (
        each.model_id,
        each.quantization,
        f"{each.estimated_bytes / GIB:.1f}",
        each.placement,
        f"{each.context_tokens:,}",
        *("?" if value is None else f"{value:.0f}" for value in (each.total, *five)),
    )


@pytest.mark.parametrize("name", MACHINES)
def test_what_a_person_finds_sensible(name: str, known: catalog.Catalog) -> None:
    """What is proposed for these machines was looked at; a change of it has to be looked at again."""
    path = GOLDEN / f"recommend_{name}.txt"

    text = rendered(MACHINES[name], recommend(MACHINES[name], known))

    if WRITE_GOLDEN in os.environ:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("laptop_4gb", "small"),
        ("laptop_16gb_igpu", "medium"),
        ("gpu_6gb", "small"),
        ("gpu_8gb", "medium"),
        ("gpu_12gb", "medium"),
        ("gpu_24gb", "large"),
        ("two_gpus_12gb", "large"),
        ("apple_16gb", "medium"),
        ("apple_64gb", "large"),
        ("workstation_no_gpu", "medium"),
    ],
)
def test_tiers(name: str, tier: str) -> None:
    """By the cards' memory, all of them together, else by the machine's; without a GPU nothing is large."""
    assert tier_of(MACHINES[name]) == tier


@pytest.mark.parametrize(
    ("gpus", "gb_per_s"),
    [
        ((card("x", 24.0, 1000.0),), 1000.0),
        ((card("x", 24.0, 1000.0), card("y", 8.0, 125.0, index=1)), 1 / (0.75 / 1000 + 0.25 / 125)),
        ((card("x", 24.0, 1000.0), dataclasses.replace(card("y", 8.0, 0.0, index=1), bandwidth_gb_s=None)), None),
        ((), 50.0),
    ],
    ids=["one", "a slow one beside it", "an unknown one beside it", "none"],
)
def test_several_memories_are_read_in_turn(gpus: tuple[Gpu, ...], gb_per_s: float | None) -> None:
    """Each has the part of the layers that llama.cpp deals out to it, by the cards' sizes; all are waited for."""
    found = recommend(machine("x", 8, 64.0, *gpus, gb_per_s=50.0), with_models(entry_of("m")))

    assert found[0].scores.performance == pytest.approx(scores.performance(gb_per_s, 1).value)
    if gb_per_s is not None:
        assert any(reason.startswith(f"Memory of {gb_per_s:.0f} GB/s") for reason in found[0].reasons)


def test_a_model_in_two_places_is_as_fast_as_both() -> None:
    """The card's part is quick and the rest is not: it is neither as slow as the machine nor as fast as the card."""
    large = entry_of("m", parameters=20_000_000_000)
    (found,) = recommend(machine("x", 8, 64.0, card("x", 8.0, 1000.0), gb_per_s=50.0), with_models(large))
    sentence = next(reason for reason in found.reasons if reason.startswith("Memory of"))

    assert found.placement == "partial"
    assert 60 < float(sentence.split()[2]) < 120


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_proposed_fits(name: str, known: catalog.Catalog) -> None:
    """Everything has a place and room for its context; nothing has fewer than four bits or more than its repository."""
    for each in recommend(MACHINES[name], known):
        entry = known.entry(each.model_id)
        bits = formats.bits_per_weight(each.quantization) or 0.0
        assert each.placement != "none"
        assert 0 < each.context_tokens <= (entry.n_ctx_train or 0)
        assert formats.LEAST_BITS <= bits <= formats.MOST_BITS
        assert each.quantization in entry.quantizations
        assert each.estimated_bytes < sum(gpu.vram_total or 0 for gpu in MACHINES[name].gpus) + fit.ram_room(
            MACHINES[name]
        )


def rank(
    each: Recommendation, known: catalog.Catalog, below: dict[str, int]
) -> tuple[bool, int, int, bool, int, float]:
    """The order that is promised.

    ``below`` says of the models that fit whole how many tiers below the machine's they are a first choice for.
    """
    is_other = not each.reasons[0].startswith("A first choice")
    place = ("gpu", "partial", "cpu").index(each.placement)
    entry = known.entry(each.model_id)
    active = formats.estimated_bytes(entry.active_parameters or entry.parameters, each.quantization)
    slow = active if any(reason.startswith("This machine is slow for it") for reason in each.reasons) else 0
    is_choice = not slow and each.scores.precision == 100.0
    standing = 0 if not is_other else below.get(each.model_id, 3) if is_choice else 3
    return (is_other, place, slow, is_other and each.scores.density is None, standing, -each.total)


@pytest.mark.parametrize("name", MACHINES)
def test_the_first_choices_come_first(name: str, known: catalog.Catalog) -> None:
    """Then what the GPU holds whole, then in part; what is too slow or unknown comes later; the totals decide."""
    for role in ROLES:
        found = of_role(recommend(MACHINES[name], known, roles=(role,)), role)
        whole = {each.model_id for each in found if each.placement == "gpu" or not MACHINES[name].gpus}
        below = {each: n for each, n in _standings(role, MACHINES[name], known).items() if each in whole}
        assert [rank(each, known, below) for each in found] == sorted(rank(each, known, below) for each in found)
        assert found == [] or found[0].reasons[0].startswith("A first choice")


@pytest.mark.parametrize("name", ["gpu_24gb", "gpu_8gb", "apple_16gb", "two_gpus_12gb", "server_2_cores"])
def test_the_smallest_model_is_not_praised(name: str, known: catalog.Catalog) -> None:
    """Its points per GiB make up for what it cannot do; who asks for a chat model wants a better one first."""
    found = [each.model_id for each in recommend(MACHINES[name], known, roles=("chat",))]

    assert found.index("qwen2.5-coder-3b-instruct") < found.index("qwen2.5-coder-0.5b-instruct")


def test_a_first_choice_is_at_ease() -> None:
    """Not split, with the room that its format wants, and fast enough; else those of a smaller machine are chosen."""
    chosen: catalog.Defaults = {"large": {"chat": ("big",)}, "medium": {"chat": ("slow",)}, "small": {"chat": ("ok",)}}
    models = with_models(
        entry_of("big", parameters=40_000_000_000),
        entry_of("slow", "Q8_0", parameters=8_000_000_000),
        entry_of("ok", parameters=3_000_000_000),
    )
    hardware = machine("x", 8, 64.0, card("x", 24.0, 40.0))

    found = recommend(hardware, catalog.Catalog(models.entries, chosen), roles=("chat",))

    firsts = [each.model_id for each in found if each.reasons[0] == "A first choice for 24 GiB on a graphics card."]
    assert (tier_of(hardware), firsts) == ("large", ["ok"])


@pytest.mark.parametrize(
    ("gb_per_s", "slow"), [(None, set()), (100.0, set()), (50.0, {"mid", "big"}), (1.0, {"ok", "mid", "big"})]
)
def test_what_is_too_slow_comes_last(gb_per_s: float | None, slow: set[str]) -> None:
    """The smaller the earlier, with a sentence about what would be comfortable; without a figure nothing is."""
    models = with_models(
        entry_of("big", parameters=24_000_000_000, score=90.0),
        entry_of("mid", parameters=14_000_000_000, score=89.0),
        entry_of("ok", parameters=1_000_000_000),
    )

    found = recommend(machine("x", 8, 64.0, gb_per_s=gb_per_s), models, roles=("chat",))

    sentence = "This machine is slow for it: 6 tokens per second are comfortable."
    assert {each.model_id for each in found if sentence in each.reasons} == slow
    assert [each.model_id for each in found if each.model_id in slow] == [
        name for name in ("ok", "mid", "big") if name in slow
    ]
    assert all(each.model_id in slow for each in found[len(found) - len(slow) :])


def test_on_the_slowest_machine_the_quickest_comes_first(known: catalog.Catalog) -> None:
    """Where nothing is fast enough, the one with the fewest weights to read."""
    found = recommend(machine("x", 2, 16.0, gb_per_s=5.0), known, roles=("fim",))

    assert [each.model_id for each in found if each.reasons[0].startswith("A first")] == ["qwen2.5-coder-0.5b"]
    assert found[0].model_id == "qwen2.5-coder-0.5b"


def test_every_recommendation_says_why(known: catalog.Catalog) -> None:
    """Sentences for people about the place and about each score, those that are unknown included."""
    for each in recommend(MACHINES["gpu_24gb"], known):
        assert len(each.reasons) >= 6
        assert all(reason.endswith(".") and not reason[0].islower() for reason in each.reasons)


def test_it_depends_on_nothing_else(known: catalog.Catalog) -> None:
    """The same machine gets the same answer, whatever is in its memory at the moment."""
    busy = dataclasses.replace(MACHINES["gpu_8gb"], ram_available=GIB)

    assert recommend(busy, known) == recommend(MACHINES["gpu_8gb"], known)


def test_a_model_that_fits_nowhere_is_left_out() -> None:
    """Nobody is shown what they cannot have."""
    huge = entry_of("huge", parameters=600_000_000_000)

    assert recommend(MACHINES["gpu_24gb"], with_models(huge)) == ()


def test_as_precise_as_half_of_the_memory_allows() -> None:
    """With room to spare the format is more precise; where it is tight, it has four bits, and never fewer."""
    found = {
        gib: recommend(
            machine("x", 8, 64.0, card("x", gib, 500.0)), with_models(entry_of("m", *formats.BITS_PER_WEIGHT))
        )
        for gib in (24.0, 14.0, 8.0)
    }

    assert {gib: each[0].quantization for gib, each in found.items()} == {24.0: "Q8_0", 14.0: "Q6_K", 8.0: "Q4_K_M"}


def test_main_memory_is_read_as_little_as_possible() -> None:
    """Without a card of its own a machine gets four bits, however much memory it has."""
    found = recommend(MACHINES["workstation_no_gpu"], with_models(entry_of("m", "Q4_K_M", "Q6_K", "Q8_0")))

    assert (found[0].quantization, found[0].placement) == ("Q4_K_M", "cpu")


def test_without_a_published_accuracy_the_density_is_unknown() -> None:
    """It is neither zero nor guessed, and the reasons say so."""
    found = recommend(MACHINES["gpu_24gb"], with_models(entry_of("measured", score=80.0), entry_of("other")))
    by_id = {each.model_id: each for each in found}

    assert by_id["measured"].scores.density == pytest.approx(100.0)
    assert by_id["other"].scores.density is None
    assert "No published HumanEval+ is known to us: the other scores rank it." in by_id["other"].reasons


def test_an_unknown_bandwidth_is_no_score(known: catalog.Catalog) -> None:
    """A processor whose memory nobody has measured has no speed."""
    assert {each.scores.performance for each in recommend(MACHINES["laptop_4gb"], known)} == {None}


@pytest.mark.parametrize(
    ("sets", "lost"), [((), 20.0), (("AVX2",), 0.0), (("NEON",), 0.0)], ids=["plain", "AVX2", "NEON"]
)
def test_a_format_that_wants_absent_hardware(sets: tuple[str, ...], lost: float) -> None:
    """The table-driven formats lose 20 points on a processor without the instructions they were made for."""
    found = recommend(machine("x", 4, 16.0, sets=sets), with_models(entry_of("m", "IQ4_XS", score=80.0)))

    assert found[0].scores.density == pytest.approx(100.0 - lost)


def test_experts_count_by_what_is_read(known: catalog.Catalog) -> None:
    """Of a mixture of experts a token reads a part, and its speed is that of the part."""
    found = recommend(MACHINES["gpu_24gb"], known, roles=("chat",))
    sentences = {each.model_id: " ".join(each.reasons) for each in found}

    assert "at most 500 tokens per second" in sentences["qwen3-coder-30b-a3b-instruct"]
    assert "at most 50 tokens per second" in sentences["qwen2.5-coder-32b-instruct"]


@pytest.mark.parametrize(
    "name",
    [
        "hf:Qwen/Qwen2.5-Coder-7B-Instruct-GGUF:Q4_K_M",
        "hf:Qwen/Qwen2.5-Coder-7B-Instruct-GGUF/qwen2.5-coder-7b-instruct-q4_k_m.gguf",
        "/models/Qwen/Qwen2.5-Coder-7B-Instruct-GGUF/qwen2.5-coder-7b-instruct-q4_k_m-00001-of-00002.gguf",
        r"C:\models\qwen2.5-coder-7b-instruct-q4_k_m.gguf",
        "/cache/models--Qwen--Qwen2.5-Coder-7B-Instruct-GGUF/snapshots/0/qwen2.5-coder-7b-instruct-q4_k_m.gguf",
        "/lmstudio/bartowski/Qwen2.5-Coder-7B-Instruct-GGUF/Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf",
    ],
)
def test_what_is_there_already_is_known_again(name: str, known: catalog.Catalog) -> None:
    """By the names that repositories give their files, wherever another program has put them."""
    assert is_file_of(known.entry("qwen2.5-coder-7b-instruct"), "Q4_K_M", name)
    assert not is_file_of(known.entry("qwen2.5-coder-7b-instruct"), "Q4_0", name)
    assert not is_file_of(known.entry("qwen2.5-coder-7b"), "Q4_K_M", name)


@pytest.mark.parametrize(
    "name",
    [
        "/models/ibm-granite/granite-8b-code-instruct-4k-GGUF/granite-8b-code-instruct.Q4_K_M.gguf",
        "/cache/models--ibm-granite--granite-8b-code-instruct-4k-GGUF/snapshots/0/granite-8b-code-instruct.Q4_K_M.gguf",
        r"C:\models\ibm-granite\granite-8b-code-instruct-4k-GGUF\granite-8b-code-instruct.Q4_K_M.gguf",
    ],
)
def test_a_file_of_another_name_in_the_repository_s_folder(name: str, known: catalog.Catalog) -> None:
    """Some repositories have a longer name than their files."""
    assert is_file_of(known.entry("granite-8b-code-instruct"), "Q4_K_M", name)
    assert not is_file_of(known.entry("granite-8b-code-instruct"), "Q4_K_S", name)
    assert not is_file_of(known.entry("granite-8b-code"), "Q4_K_M", name)


def test_a_repository_of_one_format(known: catalog.Catalog) -> None:
    """Whose name has the format in it already."""
    entry = known.entry("qwen2.5-coder-1.5b")

    assert is_file_of(entry, "Q8_0", "hf:ggml-org/Qwen2.5-Coder-1.5B-Q8_0-GGUF:Q8_0")
    assert is_file_of(entry, "Q8_0", "/models/qwen2.5-coder-1.5b-q8_0.gguf")


def test_installed_models_are_marked(known: catalog.Catalog) -> None:
    """With the path of their file, and only in the format that is there."""
    path = "/m/qwen2.5-coder-7b-instruct-q4_k_m.gguf"

    found = recommend(MACHINES["gpu_8gb"], known, installed=["/m/qwen2.5-coder-3b-q4_k_m.gguf", path])

    assert {(each.model_id, each.installed_path) for each in found if each.is_installed} == {
        ("qwen2.5-coder-7b-instruct", path)
    }


def test_a_licence_with_conditions_is_told(known: catalog.Catalog) -> None:
    """Who takes a model for work should know."""
    found = {each.model_id: each.reasons for each in recommend(MACHINES["gpu_24gb"], known)}

    assert "Its licence (mnpl-0.1) has conditions: read them." in found["codestral-22b"]
    assert not any("licence" in reason for reason in found["qwen2.5-coder-7b-instruct"])


def test_the_value_travels(known: catalog.Catalog) -> None:
    """As JSON with the names that the extension reads, and back."""
    found = recommend(MACHINES["gpu_8gb"], known)

    text = msgspec.json.encode(found)

    assert msgspec.json.decode(text, type=tuple[Recommendation, ...]) == found
    assert {"modelId", "contextTokens", "estimatedBytes", "installedPath", "reference"} <= set(
        msgspec.json.decode(text)[0]
    )


def test_references_are_what_the_store_takes(known: catalog.Catalog) -> None:
    """The repository at the hub and the format."""
    found = recommend(MACHINES["gpu_24gb"], known, roles=("rerank",))

    assert found[0].reference == "hf:ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF:Q8_0"
