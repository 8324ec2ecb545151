"""What the client may say beyond the LSP, and what it hears when it says it wrongly."""

from __future__ import annotations

import json
import math
import types
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest

from botframework.errors import InvalidParams
from botframework.lsp import protocol as protocol_module
from botframework.lsp.messages import METHODS, ChatParams, CompleteParams, Method, Params, read_params
from botframework.lsp.protocol import Phase
from botframework.lsp.server import DaemonServer
from botframework.wire.messages import Sampling

USER = {"role": "user", "content": "hi"}
CHAT: dict[str, Any] = {"messages": [USER]}


def refusal(raw: Any, kind: type[msgspec.Struct] = ChatParams) -> InvalidParams:
    """The error that these parameters get."""
    with pytest.raises(InvalidParams) as error:
        read_params(raw, kind)
    return error.value


def numeric_fields() -> list[tuple[str, float, float]]:
    """Every number a client can send: its pointer and its limits."""
    found = []
    for kind, above in ((ChatParams, ""), (Sampling, "/sampling")):
        for field in msgspec.structs.fields(kind):
            limits = _limits(field.type)
            if limits is not None:
                found.append((f"{above}/{field.encode_name}", *limits))
    return found


def _limits(kind: Any) -> tuple[float, float] | None:
    if isinstance(kind, types.UnionType) or get_origin(kind) not in (None, Annotated):
        for choice in get_args(kind):
            found = _limits(choice)
            if found is not None:
                return found
        return None
    if get_origin(kind) is Annotated:
        base, *metas = get_args(kind)
        if base in (int, float):
            meta = metas[0]
            return meta.ge, meta.le
    return None


def with_value(pointer: str, value: Any) -> dict[str, Any]:
    """Chat parameters with one field set."""
    name = pointer.rpartition("/")[2]
    return CHAT | ({"sampling": {name: value}} if pointer.startswith("/sampling/") else {name: value})


@pytest.mark.parametrize(("pointer", "least", "most"), numeric_fields())
def test_extremes_are_refused_with_field_and_limits(pointer: str, least: float, most: float) -> None:
    """Check 30: one below, one above, NaN, infinities, 2^31, 2^63, strings and booleans name the field and limits."""
    values: tuple[Any, ...] = (
        least - 1,
        most + 1,
        math.nan,
        math.inf,
        -math.inf,
        2**63,
        -(2**63),
        2**70,
        "1",
        True,
        [],
        {},
    )
    for value in values:
        error = refusal(with_value(pointer, value))
        assert error.data["pointer"] == pointer, value
        assert error.code == -32602
        assert error.data["limits"] == {"minimum": least, "maximum": most}
        assert pointer in error.message
        assert str(most) in error.message


@pytest.mark.parametrize(("pointer", "least", "most"), numeric_fields())
def test_limits_themselves_are_accepted(pointer: str, least: float, most: float) -> None:
    """The least and the greatest value are within the limits."""
    for value in (least, most):
        read_params(with_value(pointer, value), ChatParams)


def test_there_are_numbers_to_test() -> None:
    """The list above is made from the structs, and must not be empty by mistake."""
    assert len(numeric_fields()) >= 11


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ({}, "/messages"),
        ({"messages": []}, "/messages"),
        ({"messages": [USER] * 1_025}, "/messages"),
        ({"messages": [USER, {"role": "boss", "content": ""}]}, "/messages/1/role"),
        ({"messages": [USER, {"role": "user"}]}, "/messages/1/content"),
        ({"messages": [USER | {"x": 1}]}, "/messages/0/x"),
        (CHAT | {"mesages": 1}, "/mesages"),
        (CHAT | {"$ref": 1}, "/$ref"),
        (CHAT | {"class": 1}, "/class"),
        (CHAT | {"session": "x" * 513}, "/session"),
        (CHAT | {"stop": [""]}, "/stop/0"),
        (CHAT | {"stop": ["x"] * 17}, "/stop"),
        (CHAT | {"partialResultToken": 1.5}, "/partialResultToken"),
        (CHAT | {"sampling": {"logitBias": {"12": 101}}}, "/sampling/logitBias/*"),
        (CHAT | {"sampling": {"logitBias": {"twelve": 1}}}, "/sampling/logitBias"),
        (5, ""),
        ([], ""),
    ],
)
def test_a_refusal_points_at_the_field(raw: Any, pointer: str) -> None:
    """Whatever is wrong, the error says where, as a JSON pointer."""
    assert refusal(raw).data["pointer"] == pointer


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"prefix": "a", "textDocument": {"uri": "u"}, "position": {"line": 0, "character": 0}},
        {"textDocument": {"uri": "u"}},
        {"position": {"line": 0, "character": 0}},
        {"textDocument": {"uri": "u"}, "position": {"line": -1, "character": 0}},
    ],
)
def test_complete_wants_a_place_or_a_text(raw: Any) -> None:
    """A document with a position, or a prefix: not both, not neither, not half."""
    assert refusal(raw, CompleteParams).code == -32602


def test_names_are_camel_case_on_the_wire() -> None:
    """Python's snake_case never reaches the client."""
    for method in METHODS.values():
        for kind in (method.params, method.result):
            for field in msgspec.structs.fields(kind) if kind is not None else ():
                assert "_" not in field.encode_name


def test_every_method_is_served() -> None:
    """What the table promises to answer is answered, and nothing else under our name."""
    from botframework.lsp import server

    source = {method.name for method in METHODS.values() if method.sender == "client"}
    text = Path(server.__file__).read_text()
    assert all(f'"{name}"' in text for name in source)


class EchoParams(Params, frozen=True, kw_only=True):
    """Any object."""

    anything: dict[str, Any]


def test_keys_that_are_no_python_names_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    """``$ref``, ``class``, ``123`` and ``a-b`` in our own parameters come back as they were sent."""
    monkeypatch.setitem(METHODS, "botframework/echo", Method("botframework/echo", "client", "request", EchoParams))
    sent: list[bytes] = []

    class Pump:
        def send(self, body: bytes, _replaces: Any = None) -> None:
            sent.append(body)

    server = DaemonServer("test", "0", protocol_cls=protocol_module.DaemonProtocol)
    server.feature("botframework/echo")(lambda params: params)
    server.protocol.pump = Pump()  # type: ignore[assignment]
    server.protocol.phase = Phase.RUNNING
    value: dict[str, Any] = {
        "anything": {"$ref": "#/x", "class": {"a-b": 1, "def": None}, "123": [4, {"%": "é\ud83d"}]}
    }
    server.protocol.receive({"jsonrpc": "2.0", "id": 1, "method": "botframework/echo", "params": value})

    assert [json.loads(body) for body in sent] == [{"jsonrpc": "2.0", "id": 1, "result": value}]
