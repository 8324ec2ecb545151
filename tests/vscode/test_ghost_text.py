"""Grey text from the embedded model in a real Python file: it comes, and whatever a hand does with it is right."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.vscode.window import Window
    from vscode.conftest import Start

CODE = """\
\"\"\"Say hello.\"\"\"

import sys


def main():
    print("hello", file=sys.stderr)
    return 0


if __name_"""
"""Whatever model is embedded, it knows how this line goes on once the next key is pressed."""
KEY = "_"
GHOST = ' == "__main__":'
READY = r": (ready|busy)"


@pytest.fixture
def window(start: Start) -> Iterator[Window]:
    """The file, open, on a model that is ready."""
    with start({"hello.py": CODE}, show="hello.py") as window:
        window.wait_for_status(READY)
        yield window


def suggested(window: Window) -> str:
    """Type one key, and wait for what the model thinks of it."""
    window.type(KEY)
    return window.wait_for_ghost(lambda text: text.startswith(GHOST))


def test_tab_takes_the_whole_suggestion(window: Window) -> None:
    """What was grey stands in the file, and nothing else changed."""
    ghost = suggested(window)
    window.picture("ghost-text")

    window.press("Tab")

    assert window.text("hello.py") == f"{CODE}{KEY}{ghost}"


def is_rest_of(whole: str, text: str) -> bool:
    """Whether something was taken off the front."""
    return text != whole and whole.endswith(text)


def test_words_can_be_taken(window: Window) -> None:
    """Each chord puts the next piece into the file, and the rest stays grey."""
    rest = ghost = suggested(window)

    for _ in range(3):
        window.press("Control+ArrowRight")
        rest = window.wait_for_ghost(functools.partial(is_rest_of, rest))

    taken = ghost.removesuffix(rest)
    assert 0 < len(taken) < len(GHOST)
    window.press("Escape")
    assert window.text("hello.py") == CODE + KEY + taken


def test_a_line_can_be_taken(window: Window) -> None:
    """Of a suggestion of several lines the first goes into the file."""
    ghost = suggested(window)

    window.press("Control+ArrowDown")

    window.wait_for_ghost(lambda text: not text.startswith(GHOST))
    window.press("Escape")
    assert window.text("hello.py").rstrip() == CODE + KEY + ghost.partition("\n")[0]


def test_typing_what_is_shown_keeps_the_rest(window: Window) -> None:
    """Each key that agrees with the grey text shortens it by that character, and it never goes away."""
    ghost = suggested(window)
    window.evaluate(WATCH_FOR_GAPS)

    for count, key in enumerate(GHOST[:6], start=1):
        window.type(key)
        window.wait_for_ghost(functools.partial(operator.eq, ghost[count:]))

    assert window.evaluate("() => window.gaps") == 0
    assert window.text("hello.py") == CODE + KEY + GHOST[:6]


def test_escape_sends_it_away(window: Window) -> None:
    """Escape leaves the file as it was typed; the next key brings a new suggestion."""
    suggested(window)

    window.press("Escape")
    window.no_ghost()

    assert window.text("hello.py") == CODE + KEY
    window.type(GHOST[:4])
    window.wait_for_ghost(lambda text: text.startswith(GHOST[4:]))


def test_a_key_that_disagrees_gets_another_suggestion(window: Window) -> None:
    """What does not fit what is typed is never shown."""
    suggested(window)

    window.type(" !", delay_ms=0)
    ghost = window.wait_for_ghost(lambda text: text and not text.startswith(GHOST[1:]))

    assert GHOST.strip() not in ghost


def test_a_command_asks_for_a_suggestion(window: Window) -> None:
    """Where nothing is grey because nothing was typed, the command brings it."""
    assert window.ghost() == ""

    window.run("botframework: Suggest Here")

    window.wait_for_ghost(lambda text: text.startswith(KEY + GHOST))


WATCH_FOR_GAPS = """() => {
  window.gaps = 0;
  const shown = () => document.querySelector('.view-lines .ghost-text-decoration') !== null;
  const look = () => { if (!shown()) window.gaps += 1; requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
"""Counts the frames that were painted without grey text."""
