"""UTF-16 positions and edits against a reference that works on UTF-16 code units."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lsprotocol import types

from botframework.lsp import blocks
from botframework.lsp import documents as module
from botframework.lsp.documents import CONTEXT_CHARS, Document, Documents
from botframework.wire.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator

ALPHABET = "ab\r\n\t é漢😀𝄞\u2028\ud83d\ude00"
TEXTS = st.text(alphabet=ALPHABET, max_size=40)
POSITIONS = st.tuples(st.integers(0, 12), st.integers(0, 30))


@pytest.fixture(scope="module", params=[4, blocks.BLOCK_CHARS], ids=["tiny blocks", "real blocks"])
def block_chars(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything holds for blocks of any size; in tiny ones even short texts have many borders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_CHARS", request.param)
        yield


class Reference:
    """A document as the LSP describes it: a row of UTF-16 code units."""

    def __init__(self, text: str) -> None:
        self.units = _units(text)

    def line_starts(self) -> list[int]:
        """Where lines begin."""
        starts, at = [0], 0
        while at < len(self.units):
            if self.units[at] == 0x0D and self.units[at + 1 : at + 2] == [0x0A]:
                at += 2
                starts.append(at)
            elif self.units[at] in (0x0D, 0x0A):
                at += 1
                starts.append(at)
            else:
                at += 1
        return starts

    def offset(self, line: int, character: int) -> int:
        """The index of a position, in code units."""
        starts = self.line_starts()
        if line >= len(starts):
            return len(self.units)
        end = starts[line]
        while end < len(self.units) and self.units[end] not in (0x0D, 0x0A):
            end += 1
        at = min(starts[line] + character, end)
        inside = starts[line] < at < end and _is_low(self.units[at]) and _is_high(self.units[at - 1])
        return at - 1 if inside else at

    def edit(self, start: tuple[int, int], end: tuple[int, int], new: str) -> None:
        """Replace what is between two positions."""
        first, last = sorted((self.offset(*start), self.offset(*end)))
        self.units[first:last] = _units(new)


def _units(text: str) -> list[int]:
    data = text.encode("utf-16-le", "surrogatepass")
    return [int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data), 2)]


def _is_high(unit: int) -> bool:
    return 0xD800 <= unit <= 0xDBFF


def _is_low(unit: int) -> bool:
    return 0xDC00 <= unit <= 0xDFFF


def whole(text: str) -> str:
    """JSON joins the halves of a pair that stand side by side."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def compare(text: str, position: tuple[int, int]) -> None:
    """One position, both ways."""
    text = whole(text)
    document = Document("file:///a", 1, text)
    offset = document.offset(*position)

    assert len(_units(text[:offset])) == Reference(text).offset(*position)
    assert document.offset(*document.position(offset)) == offset


@pytest.mark.usefixtures("block_chars")
@settings(max_examples=2_000, deadline=None)
@given(TEXTS, POSITIONS)
@example("a😀b", (0, 2))
@example("\ud83d", (0, 1))
@example("a\r\nb", (0, 9))
@example("", (5, 5))
def test_positions_are_those_of_the_reference(text: str, position: tuple[int, int]) -> None:
    """Check 12: surrogates, lone surrogates, CRLF, positions past the end."""
    compare(text, position)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("block_chars")
@settings(max_examples=50_000, deadline=None)
@given(TEXTS, POSITIONS)
def test_positions_are_those_of_the_reference_at_length(text: str, position: tuple[int, int]) -> None:
    """Check 12 in full: no difference in 50,000."""
    compare(text, position)


@pytest.mark.usefixtures("block_chars")
@settings(max_examples=1_000, deadline=None)
@given(TEXTS, st.lists(st.tuples(POSITIONS, POSITIONS, TEXTS), max_size=8))
def test_edits_are_those_of_the_reference(text: str, edits: list[tuple[tuple[int, int], tuple[int, int], str]]) -> None:
    """After any edits the text and every line's beginning are as if the text had been opened so."""
    text = whole(text)
    document, reference = Document("file:///a", 1, text), Reference(text)
    for start, end, new in edits:
        document.edit(start, end, whole(new))
        reference.edit(start, end, whole(new))

        assert _units(document.text) == reference.units
        assert document.text == whole(document.text)
        assert len(document) == len(document.text)
        fresh = Document("", 0, document.text)
        assert document.line_count == fresh.line_count == len(reference.line_starts())
        for line in range(document.line_count):
            assert document.offset(line, 0) == fresh.offset(line, 0)
        for offset in range(len(document) + 1):
            assert document.position(offset) == fresh.position(offset)
            assert document.place_at(offset) == fresh.place_at(offset)


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("a😀b", (0, 1), 1),
        ("a😀b", (0, 2), 1),
        ("a😀b", (0, 3), 2),
        ("a😀b", (0, 99), 3),
        ("ab\ncd", (0, 99), 2),
        ("ab\r\ncd", (0, 99), 2),
        ("ab\rcd", (1, 1), 4),
        ("ab\n", (1, 0), 3),
        ("ab\n", (99, 0), 3),
        ("", (0, 0), 0),
    ],
)
def test_a_position_becomes_an_index(text: str, position: tuple[int, int], expected: int) -> None:
    """Inside a pair is before it; past the end is the end; a line's end is not part of it."""
    assert Document("file:///a", 1, text).offset(*position) == expected


def test_what_is_around_a_position_is_bounded_and_clean() -> None:
    """Text for the model is cut on both sides and has no lone surrogates."""
    document = Document("file:///a", 1, "x" * 200_000 + "\ud800|" + "y" * 200_000)
    place = document.place(0, 200_001)

    assert (len(place.before), len(place.after)) == (CONTEXT_CHARS, CONTEXT_CHARS)
    assert place.before.endswith("x\ufffd")
    assert place.after.startswith("|yy")
    assert replace_surrogates("a\ud800b") == "a\ufffdb"


def test_versions_and_unknown_documents() -> None:
    """Edits raise the version; edits of a document that is not open are ignored."""
    documents = Documents()
    documents.open("file:///a", 1, "abc")
    documents.change("file:///a", 2, [types.TextDocumentContentChangeWholeDocument("xyz")])
    documents.change("file:///b", 2, [types.TextDocumentContentChangeWholeDocument("xyz")])

    document = documents.get("file:///a")
    assert document is not None
    assert (document.text, document.version) == ("xyz", 2)
    assert documents.get("file:///b") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that is too large, or one too many, is not followed; closing others makes room again."""
    monkeypatch.setattr(module, "MAX_DOCUMENT_CHARS", 100)
    monkeypatch.setattr(module, "MAX_TOTAL_CHARS", 150)
    documents = Documents()
    documents.open("file:///big", 1, "x" * 101)
    documents.open("file:///a", 1, "x" * 90)
    documents.open("file:///b", 1, "x" * 90)

    assert [documents.get(uri) is None for uri in ("file:///big", "file:///a", "file:///b")] == [True, False, True]

    documents.change("file:///a", 2, [types.TextDocumentContentChangeWholeDocument("y" * 101)])
    documents.open("file:///b", 1, "x" * 90)

    assert [documents.get(uri) is None for uri in ("file:///a", "file:///b")] == [True, False]


def test_a_key_in_a_huge_document_costs_no_copy_of_it() -> None:
    """In 50 MB and a million lines an edit and the text around it take under a millisecond, as in a small file."""
    document = Document("file:///a", 1, "    some_name = other_name(argument, 1)  # x\n" * 1_111_111)
    assert len(document) > 49_000_000
    line = document.line_count // 2
    costs = []
    for key in range(200):
        start = time.perf_counter()
        document.edit((line, key), (line, key), "x")
        place = document.place(line, key + 1)
        costs.append(time.perf_counter() - start)

    assert place.before.endswith("x" * 200)
    assert sorted(costs)[len(costs) // 2] < 0.001


def test_a_key_in_one_huge_line() -> None:
    """A line of 20 MB beyond ASCII is walked through in blocks, not in characters."""
    document = Document("file:///a", 1, "ab漢😀" * 5_000_000)
    costs = []
    for key in range(100):
        start = time.perf_counter()
        document.edit((0, 20_000_000 + key), (0, 20_000_000 + key), "x")
        place = document.place(0, 20_000_001 + key)
        costs.append(time.perf_counter() - start)

    assert place.before.endswith("x" * 100)
    assert place.character == 20_000_100
    assert sorted(costs)[len(costs) // 2] < 0.005


def test_blocks_stay_blocks() -> None:
    """Deleting and typing everywhere leaves neither crumbs nor giants."""
    document = Document("file:///a", 1, "line\n" * 20_000)
    chance = random.Random(5)
    for _ in range(2_000):
        line = chance.randrange(document.line_count)
        document.edit(
            (line, 0), (min(document.line_count, line + chance.randrange(40)), 0), "x\n" * chance.randrange(40)
        )
    sizes = [len(block.text) for block in document._blocks._blocks]

    assert max(sizes) <= 3 * blocks.BLOCK_CHARS
    assert len(sizes) <= 1 + 8 * len(document) / blocks.BLOCK_CHARS
