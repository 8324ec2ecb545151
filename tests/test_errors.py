"""The error tree: as drawn, and the same on both sides of the local socket."""

from __future__ import annotations

import re

import pytest

from botframework import errors
from botframework.errors import BotframeworkError, from_wire

ALL = errors._leaves(BotframeworkError)


def test_the_drawing_is_the_tree() -> None:
    """Every class stands in the module's drawing with its code and whether a retry helps, and nothing else does."""
    drawn = re.findall(r"(\w+) +(-\d+)( +yes)?$", errors.__doc__ or "", flags=re.MULTILINE)

    assert {(name, int(code), bool(retry)) for name, code, retry in drawn} == {
        (cls.__name__, cls.code, cls.retryable)
        for cls in ALL
        if cls not in (BotframeworkError, errors.ModelError, errors.WorkerError)
    }


def test_own_codes_stay_out_of_the_reserved_range() -> None:
    """A code that JSON-RPC or the LSP reserves is used with their meaning only."""
    reserved = {cls.code for cls in ALL if -32899 <= cls.code <= -32000}

    assert reserved == {-32603, -32602, -32601, -32600, -32002, -32800, -32801, -32802}


@pytest.mark.parametrize("cls", ALL)
def test_an_error_crosses_the_socket(cls: type[BotframeworkError]) -> None:
    """Class, message and data are the same on the other side."""
    error = from_wire(cls.__name__, "no", {"retryAfterMs": 5})

    assert (type(error), error.message, error.data) == (cls, "no", {"retryAfterMs": 5})


def test_an_unknown_name_is_still_an_error() -> None:
    """A newer worker's error becomes the root class with the worker's words."""
    error = from_wire("NeverHeardOf", "words", {})

    assert type(error) is BotframeworkError
    assert error.message == "words"
