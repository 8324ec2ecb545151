"""Numbers from the client, at their limits and beyond.

The table comes from the structs themselves, so that no field can be forgotten.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from botframework.lsp.messages import ChatParams, CompleteParams
from support.real_daemon import HELLO, ready_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.lsp_client import LspClient
    from support.real_daemon import Models

HUGE = (2**31, 2**32, 2**63, 2**64, 10**30, -(2**31) - 1, -(2**63) - 1)
WRONG_TYPES: tuple[Any, ...] = ("1", "", True, [], {}, [1])
NOT_FINITE = ("NaN", "Infinity", "-Infinity", "1e309", "-1e309")
"""Written as they are: JSON has no NaN, but clients that are written in Python send it."""
NAMES = {"complete": CompleteParams, "chat": ChatParams}
URI = "file:///a.py"


@dataclass(frozen=True)
class Field:
    """A numeric field of a request's parameters."""

    method: str
    path: tuple[str, ...]
    is_integer: bool
    least: float
    most: float

    @property
    def pointer(self) -> str:
        """As the error names it; a key of a map is not repeated."""
        return "/" + "/".join("*" if step.isdigit() else step for step in self.path)

    @property
    def base(self) -> dict[str, Any]:
        """A request that this field can be put into."""
        if self.method == "chat":
            return {"messages": HELLO, "maxTokens": 2}
        if self.path[0] == "position":
            return {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}, "maxTokens": 2}
        return {"prefix": "x", "maxTokens": 2}

    def put(self, value: Any) -> dict[str, Any]:
        """The parameters with this value in its place."""
        params: dict[str, Any] = json.loads(json.dumps(self.base))
        node = params
        for step in self.path[:-1]:
            node = node.setdefault(step, {})
        node[self.path[-1]] = value
        return params

    def beyond(self) -> Iterator[Any]:
        """Values that must be refused."""
        yield from (self.least - 1, self.most + 1)
        if self.is_integer:
            yield from (self.least + 0.5, 1e300)
        yield from (value for value in HUGE if not self.least <= value <= self.most)
        yield from WRONG_TYPES


def numeric_fields(method: str, schema: dict[str, Any], components: dict[str, Any]) -> Iterator[Field]:
    """Walk through a schema."""

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[Field]:
        if "$ref" in node:
            node = components[node["$ref"]]
        for choice in node.get("anyOf", ()):
            # A token that is echoed may be any number.
            if path[-1:] not in (("partialResultToken",), ("workDoneToken",)):
                yield from walk(choice, path)
        if node.get("type") in ("integer", "number"):
            yield Field(method, path, node["type"] == "integer", node["minimum"], node["maximum"])
        for name, child in node.get("properties", {}).items():
            yield from walk(child, (*path, name))
        if isinstance(node.get("additionalProperties"), dict):
            yield from walk(node["additionalProperties"], (*path, "7"))

    yield from walk(schema, ())


def table() -> list[Field]:
    """Every numeric field of both methods."""
    found: list[Field] = []
    for method, kind in NAMES.items():
        (schema,), components = msgspec.json.schema_components([kind], ref_template="{name}")
        found += numeric_fields(method, schema, components)
    return found


FIELDS = table()


def limits_in(message: str, field: Field) -> bool:
    """Whether a refusal tells both limits."""
    return f"minimum {field.least:g}" in message.replace(".0", "") and "maximum" in message


async def refuse(client: LspClient, field: Field, body: str) -> dict[str, Any]:
    """Send parameters as raw JSON; the error that comes."""
    number = f"{field.method}{field.pointer}{body[-80:]}{len(client.messages)}"
    text = (
        f'{{"jsonrpc": "2.0", "id": {json.dumps(number)}, "method": "botframework/{field.method}", "params": {body}}}'
    )
    data = text.encode()
    await client.raw(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
    answer = await client.answer(number)
    assert "error" in answer, (field, body, answer)
    error: dict[str, Any] = answer["error"]
    return error


def test_the_table_is_complete() -> None:
    """The walk through the schemas finds the fields that we know of."""
    names = {(field.method, field.path[-1]) for field in FIELDS}

    for method in NAMES:
        for name in ("maxTokens", "deadlineMs", "temperature", "topK", "topP", "minP", "seed", "penaltyLastN", "7"):
            assert (method, name) in names
    assert ("complete", "line") in names
    assert ("complete", "character") in names


async def test_numbers_beyond_their_limits(home: Path, models: Models) -> None:
    """Check 30: each is refused with -32602, the field's JSON pointer and its limits, and nothing else happens."""
    async with ready_daemon(home, models.alphabet) as client:
        await client.open(URI, "x = 1\n")
        for field in FIELDS:
            bodies = [json.dumps(field.put(value)) for value in field.beyond()]
            bodies += [json.dumps(field.put("@")).replace('"@"', word) for word in NOT_FINITE]
            for body in bodies:
                error = await refuse(client, field, body)
                assert error["code"] == -32602, (body, error)
                assert error["data"]["pointer"].startswith(field.pointer.rpartition("/*")[0] or field.pointer), error
                assert limits_in(error["message"], field), (body, error)
        status = await client.request("botframework/status")
        await client.request("botframework/chat", {"messages": HELLO, "maxTokens": 2})

    assert status["state"] == "ready"


async def test_numbers_at_their_limits(home: Path, models: Models) -> None:
    """The least and the largest value of every field are carried out, by the worker too."""
    async with ready_daemon(home, models.alphabet) as client:
        await client.open(URI, "x = 1\n")
        pid = (await client.request("botframework/status"))["workerPid"]
        for field in FIELDS:
            for value in (field.least, field.most):
                if field.path == ("deadlineMs",) and value == field.least:
                    continue  # a millisecond may be over before the first token, which is an error of its own
                answer = await client.request(
                    f"botframework/{field.method}", field.put(int(value) if field.is_integer else value)
                )
                assert answer["finishReason"] in ("length", "stop"), (field, value)
        status = await client.request("botframework/status")

    assert status["workerPid"] == pid


OTHER_LIMITS: list[tuple[dict[str, Any], str]] = [
    ({"stop": [""]}, "/stop/0"),
    ({"stop": ["y" * 257]}, "/stop/0"),
    ({"stop": ["y"] * 17}, "/stop"),
    ({"session": "s" * 513}, "/session"),
    ({"sampling": {"logitBias": {"-1": 1.0}}}, "/sampling/logitBias"),
    ({"sampling": {"logitBias": {str(n): 1.0 for n in range(1_025)}}}, "/sampling/logitBias"),
    ({"sampling": {"temprature": 1.0}}, "/sampling/temprature"),
    ({"prefix": 1}, "/prefix"),
]


async def test_what_is_no_number(home: Path, models: Models) -> None:
    """The other limits are named the same way."""
    async with ready_daemon(home, models.alphabet) as client:
        for params, pointer in OTHER_LIMITS:
            answer = await client.answer(await client.post("botframework/complete", {"prefix": "x"} | params))

            assert answer["error"]["code"] == -32602
            assert answer["error"]["data"]["pointer"].startswith(pointer)


async def test_a_token_that_the_vocabulary_does_not_have(home: Path, models: Models) -> None:
    """A bias for a token id beyond the vocabulary is refused by the worker, by name, and it lives."""
    async with ready_daemon(home, models.alphabet) as client:
        params = {"prefix": "x", "sampling": {"logitBias": {"9999999": 1.0}}}
        answer = await client.answer(await client.post("botframework/complete", params))
        status = await client.request("botframework/status")

    assert answer["error"]["code"] == -32602
    assert "logitBias" in answer["error"]["message"]
    assert status["state"] == "ready"
