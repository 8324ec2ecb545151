"""A range that is being edited follows what is typed elsewhere, and gives up when it is touched itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from botframework.errors import ContentModified
from botframework.lsp.documents import Document
from botframework.lsp.tracking import Tracked

if TYPE_CHECKING:
    from botframework.lsp.tracking import Place


def change(start: Place, end: Place, text: str) -> types.TextDocumentContentChangePartial:
    """One change of a notification."""
    area = types.Range(types.Position(*start), types.Position(*end))
    return types.TextDocumentContentChangePartial(range=area, text=text)


MOVES = {
    "a line above": (change((0, 0), (0, 0), "x\n"), (3, 2), (4, 3)),
    "lines above taken away": (change((0, 1), (1, 4), ""), (1, 2), (2, 3)),
    "before it on its line": (change((2, 0), (2, 1), "😀\r"), (3, 1), (4, 3)),
    "at its beginning": (change((2, 2), (2, 2), "ab"), (2, 4), (3, 3)),
    "at its end": (change((3, 3), (3, 3), "ab\ncd"), (2, 2), (3, 3)),
    "up to its beginning": (change((1, 0), (2, 2), ""), (1, 0), (2, 3)),
    "from its end on": (change((3, 3), (9, 0), ""), (2, 2), (3, 3)),
    "the wrong way round": (change((1, 4), (0, 1), ""), (1, 2), (2, 3)),
}
TOUCHES: dict[str, types.TextDocumentContentChangeEvent] = {
    "inside": change((2, 5), (2, 5), "x"),
    "across its beginning": change((2, 1), (2, 3), ""),
    "across its end": change((3, 2), (3, 4), ""),
    "around it": change((0, 0), (9, 0), ""),
    "the whole document": types.TextDocumentContentChangeWholeDocument(text="new"),
}


@pytest.mark.parametrize("case", MOVES)
def test_what_is_typed_elsewhere_moves_the_range(case: str) -> None:
    """By lines, and on its own line by UTF-16 code units."""
    typed, start, end = MOVES[case]
    tracked = Tracked("file:///a", (2, 2), (3, 3))
    tracked.follow([typed])

    tracked.refuse_if_touched()
    assert (tracked.start, tracked.end) == (start, end)


@pytest.mark.parametrize("case", TOUCHES)
def test_what_is_typed_inside_ends_it(case: str) -> None:
    """Whoever waits is told once, and asking gives the error."""
    tracked = Tracked("file:///a", (2, 2), (3, 3))
    told: list[bool] = []
    tracked.on_touched = lambda: told.append(True)
    tracked.follow([TOUCHES[case], TOUCHES[case]])

    assert told == [True]
    with pytest.raises(ContentModified):
        tracked.refuse_if_touched()


def test_an_empty_range_is_touched_by_what_is_inserted_at_it() -> None:
    """Nobody could say whether the new text belongs before or behind it."""
    tracked = Tracked("file:///a", (2, 2), (2, 2))
    tracked.follow([change((2, 2), (2, 2), "x")])

    with pytest.raises(ContentModified):
        tracked.refuse_if_touched()


WORDS = st.text(alphabet="ab😀\n", max_size=8)


@given(WORDS, WORDS, WORDS, WORDS, st.data())
def test_the_range_holds_the_same_text(before: str, old: str, after: str, new: str, data: st.DataObject) -> None:
    """Whatever is changed before or behind it, the text at the tracked range is the same as ever."""
    before, after = f"{before}-", f"-{after}"
    document = Document("file:///a", 1, before + old + after)
    first, last = len(before), len(before) + len(old)
    tracked = Tracked("file:///a", document.position(first), document.position(last))
    at = data.draw(st.one_of(st.integers(0, first - 1), st.integers(last + 1, len(document))))
    to = data.draw(st.integers(at, first - 1 if at < first else len(document)))
    start, end = document.position(at), document.position(to)
    document.edit(start, end, new)
    tracked.follow([change(start, end, new)])

    tracked.refuse_if_touched()
    assert document.between(document.offset(*tracked.start), document.offset(*tracked.end)) == old
