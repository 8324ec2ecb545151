"""Sampler chains as values, limits, whole characters and stop strings."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botframework.errors import InvalidParams
from botframework.wire.messages import FimRequest, Sampling
from botframework.worker.sampling import (
    Draw,
    Greedy,
    Infill,
    LogitBias,
    MinP,
    Penalties,
    StopScanner,
    Temperature,
    TopK,
    TopP,
    Utf8Stream,
    chain_spec,
    validate,
)

N_VOCAB = 1_000
LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 5.0),
    "top_k": (0, 1_000),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.5, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "penalty_last_n": (0, 4_096),
    "seed": (0, 2**32 - 1),
}
WIRE_NAMES = {
    "temperature": "temperature",
    "top_k": "topK",
    "top_p": "topP",
    "min_p": "minP",
    "repeat_penalty": "repeatPenalty",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "penalty_last_n": "penaltyLastN",
    "seed": "seed",
}
WHOLE = {"top_k", "penalty_last_n", "seed"}


def extremes() -> list[tuple[str, Any]]:
    """Every numeric field with every value that it must refuse."""
    cases: list[tuple[str, Any]] = []
    for field, (low, high) in LIMITS.items():
        values = [low - 1, high + 1, 2**63, -(2**63), math.nan, math.inf, -math.inf, "1", True, [1]]
        if field in WHOLE:
            values += [0.5]
        else:
            values += [math.nextafter(low, -math.inf), math.nextafter(high, math.inf)]
        cases += [(field, value) for value in values]
    return cases


@pytest.mark.parametrize(("field", "value"), extremes())
def test_extreme_values_are_refused_by_name(field: str, value: Any) -> None:
    """Check 30: each numeric field refuses below its minimum, above its maximum, 2^63, NaN and wrong types."""
    with pytest.raises(InvalidParams) as caught:
        validate(Sampling(**{field: value}), N_VOCAB)

    assert caught.value.code == -32602
    assert caught.value.data["pointer"] == f"/sampling/{WIRE_NAMES[field]}"
    low, high = LIMITS[field]
    assert f"from {low:g} to {high:.10g}" in caught.value.message


@pytest.mark.parametrize("field", LIMITS)
def test_limits_themselves_are_accepted(field: str) -> None:
    """The smallest and the largest value of a field are inside its limits."""
    for value in LIMITS[field]:
        validate(msgspec.structs.replace(Sampling(), **{field: value}), N_VOCAB)


def test_every_numeric_field_is_in_this_test() -> None:
    """A new field of `Sampling` must be added to the table above."""
    others = {"logit_bias", "infill"}

    assert set(Sampling.__struct_fields__) - others == set(LIMITS)


@pytest.mark.parametrize("field", LIMITS)
def test_decoding_refuses_nan_and_infinity_too(field: str) -> None:
    """Check 30: what comes in a frame is refused before anything is built from it."""
    for value in (math.nan, math.inf, -math.inf, LIMITS[field][0] - 1, LIMITS[field][1] + 1, 2**63):
        frame = msgspec.msgpack.encode({WIRE_NAMES[field]: value})
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(frame, type=Sampling)


@pytest.mark.parametrize(
    ("field", "value"), [("max_tokens", -1), ("max_tokens", 2**63), ("deadline_ms", 0), ("deadline_ms", 3_600_001)]
)
def test_request_numbers_have_limits(field: str, value: int) -> None:
    """Check 30: the numbers of a request beside its sampling are limited as well."""
    frame = msgspec.msgpack.encode({"t": "fim", "id": 1, "prefix": "", field: value})

    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(frame, type=FimRequest)


@pytest.mark.parametrize(
    ("bias", "pointer"),
    [
        ({"1000": 1.0}, "/sampling/logitBias/1000"),
        ({"9" * 5_000: 1.0}, "/sampling/logitBias/" + "9" * 5_000),
        ({"-1": 1.0}, "/sampling/logitBias/-1"),
        ({"x": 1.0}, "/sampling/logitBias/x"),
        ({"²": 1.0}, "/sampling/logitBias/²"),
        ({"": 1.0}, "/sampling/logitBias/"),
        ({"5": math.nan}, "/sampling/logitBias/5"),
        ({"5": 100.5}, "/sampling/logitBias/5"),
        ({"5": "much"}, "/sampling/logitBias/5"),
    ],
)
def test_bias_names_tokens_that_exist(bias: dict[str, Any], pointer: str) -> None:
    """A bias is for a token of the vocabulary and is a number from -100 to 100."""
    with pytest.raises(InvalidParams) as caught:
        validate(Sampling(logit_bias=bias), N_VOCAB)

    assert caught.value.data["pointer"] == pointer


def test_infill_is_a_truth_value() -> None:
    """A number is no truth value."""
    with pytest.raises(InvalidParams, match="/sampling/infill"):
        validate(Sampling(infill=1), N_VOCAB)  # type: ignore[arg-type]


def test_defaults_are_greedy_alone() -> None:
    """Temperature 0 ignores the other filters, and what does nothing is left out."""
    assert chain_spec(Sampling()) == (Greedy(),)


def test_greedy_keeps_biases_penalties_and_infill() -> None:
    """Greedy is not deaf to what the request forbids, and infill gets few candidates."""
    sampling = Sampling(infill=True, top_k=0, presence_penalty=0.5, logit_bias={"7": -100.0, "3": 0.0}, top_p=0.1)

    assert chain_spec(sampling) == (
        LogitBias(((7, -100.0),)),
        Penalties(64, 1.0, 0.0, 0.5),
        TopK(1_000),
        Infill(),
        Greedy(),
    )


def test_the_whole_chain_is_in_the_documented_order() -> None:
    """logit_bias, penalties, top_k, infill, top_p, min_p, temperature, draw."""
    sampling = Sampling(
        temperature=0.7,
        top_k=20,
        top_p=0.9,
        min_p=0.05,
        repeat_penalty=1.1,
        penalty_last_n=32,
        seed=5,
        logit_bias={"2": 1.5, "1": 3.0},
        infill=True,
    )

    assert chain_spec(sampling) == (
        LogitBias(((1, 3.0), (2, 1.5))),
        Penalties(32, 1.1, 0.0, 0.0),
        TopK(20),
        Infill(),
        TopP(0.9),
        MinP(0.05),
        Temperature(0.7),
        Draw(5),
    )


def test_neutral_steps_are_left_out() -> None:
    """A step that changes nothing costs time all the same."""
    sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, penalty_last_n=0, repeat_penalty=1.5, seed=1)

    assert chain_spec(sampling) == (TopK(1_000), Draw(1))


def test_temperatures_near_zero_are_greedy() -> None:
    """Logits are never divided by a number that makes infinities of them."""
    assert chain_spec(Sampling(temperature=1e-40)) == (Greedy(),)


def test_fresh_seeds_differ_and_given_ones_are_literal() -> None:
    """Without a seed two answers differ; the seed that llama.cpp takes for "random" is never passed on."""
    seeds = {chain_spec(Sampling(temperature=1.0))[-1] for _ in range(8)}

    assert len(seeds) == 8
    assert chain_spec(Sampling(temperature=1.0, seed=2**32 - 1))[-1] == Draw(2**32 - 2)


def cut(data: Any, places: list[int]) -> list[Any]:
    """Cut a sequence at some places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.one_of(st.binary(), st.text().map(str.encode)), st.lists(st.integers(0, 1_000)))
def test_characters_do_not_depend_on_the_cuts(data: bytes, places: list[int]) -> None:
    """However bytes are cut into tokens, the text is that of the whole, and every piece is whole characters."""
    stream = Utf8Stream()

    pieces = [stream.feed(piece) for piece in cut(data, places)]

    text = "".join([*pieces, stream.flush()])
    assert text == data.decode("utf-8", "replace")
    for piece in pieces:
        piece.encode("utf-16-le")  # half a surrogate pair would raise


def test_half_a_character_waits_for_its_other_half() -> None:
    """Nothing is emitted for the first bytes of a character, and the whole of it for its last."""
    stream = Utf8Stream()

    assert [stream.feed(bytes([byte])) for byte in "é🙂".encode()] == ["", "é", "", "", "", "🙂"]


def test_an_unfinished_character_becomes_one_replacement() -> None:
    """The end of an answer inside a character loses only that character."""
    stream = Utf8Stream()

    assert stream.feed(b"ok\xf0\x9f\x99") == "ok"
    assert stream.flush() == "\ufffd"
    assert stream.feed(b"again") == "again"


def reference(text: str, stops: list[str]) -> tuple[str, bool]:
    """What a client sees that looks at the whole text after every character."""
    for end in range(1, len(text) + 1):
        matches = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if matches:
            return text[: end - max(map(len, matches))], True
    return text, False


STOPS = st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=4)


@given(st.text("ab\nc", max_size=60), STOPS, st.lists(st.integers(0, 60)))
def test_stops_do_not_depend_on_the_cuts(text: str, stops: list[str], places: list[int]) -> None:
    """However text is cut into pieces, the same stop string ends it at the same place."""
    scanner = StopScanner(stops)
    emitted, stopped = "", False

    for piece in cut(text, places):
        emit, stopped = scanner.feed(piece)
        emitted += emit
        if stopped:
            break
    if not stopped:
        emitted += scanner.flush()

    assert (emitted, stopped) == reference(text, stops)


@given(st.text("ab\nc", max_size=40), STOPS)
def test_only_what_may_begin_a_stop_is_held_back(text: str, stops: list[str]) -> None:
    """Everything else is emitted at once: streaming is never later than it must be."""
    scanner = StopScanner(stops)
    emit, stopped = scanner.feed(text)

    held = "" if stopped else text[len(emit) :]
    longest = max((size for stop in stops for size in range(len(stop)) if text.endswith(stop[:size])), default=0)
    assert stopped or len(held) == longest


def test_a_stop_across_pieces_is_removed_whole() -> None:
    """The stop string is not part of the answer, and the text after it neither."""
    scanner = StopScanner(["<end>", "\n\n"])

    assert scanner.feed("one\n") == ("one", False)
    assert scanner.feed("two<e") == ("\ntwo", False)
    assert scanner.feed("nd>three") == ("", True)
    assert scanner.matched == "<end>"
    assert scanner.feed("more") == ("", True)


def test_scanning_costs_a_step_per_character() -> None:
    """A text that almost matches all the time does not make the scanner start over."""
    stops = ["a" * size + "b" for size in range(200, 216)]
    scanner = StopScanner(stops)

    emitted = "".join(scanner.feed("a" * 100)[0] for _ in range(2_000)) + scanner.flush()

    assert emitted == "a" * 200_000
