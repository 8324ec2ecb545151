"""What a stranger's text must go through before a tokenizer sees it.

So that no message can write special tokens, every occurrence of a special token's name in it is broken by a sentinel
character before the chat template prints it; the rendered text is then cut at the sentinels and tokenised part by part,
so that the name never reaches the tokenizer whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botframework.wire.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Sequence

REPLACEMENT = "\ufffd"
SENTINEL = "\ufdd0"
"""A noncharacter: Unicode promises that it never stands in a text that anyone exchanges."""
LONGEST_RUN = 1_024
"""Characters without white space between, or of nothing but white space. Some tokenizers of llama.cpp use std::regex,
which recurses over a run and overflows the stack: 8 MiB end between 20,000 and 65,000 characters, and the threads of
some systems have a sixteenth of that. No word of a person is so long."""

_RUN = re.compile(rf"\S{{1,{LONGEST_RUN}}}|\s{{1,{LONGEST_RUN}}}")


def cut_long_runs(text: str, special: SpecialTexts | None = None) -> list[str]:
    """Cut text where a run is so long that tokenising it may end the process; almost always one piece.

    Parameters
    ----------
    text
        Any text.
    special
        Names that are never cut in two: those that a template printed.
    """
    if len(text) <= LONGEST_RUN:
        return [text] if text else []
    pieces, start = [], 0
    for run in _RUN.finditer(text):
        if run.end() - run.start() == LONGEST_RUN:
            cut = run.end() if special is None else special.start_around(text, run.end())
            pieces.append(text[start:cut])
            start = cut
    if start < len(text):
        pieces.append(text[start:])
    return pieces


class SpecialTexts:
    """The names that a message must not be able to write."""

    def __init__(self, texts: Sequence[str]) -> None:
        # Runs of white space are ordinary text to everyone but the tokenizer; breaking them would only cost quality.
        self._texts = frozenset(text for text in texts if text.strip())
        self._lengths = sorted({len(text) for text in self._texts})
        self.unbreakable = frozenset(text for text in self._texts if len(text) == 1)
        """Names of one character: there is nothing to break, so they stand alone and are tokenised as plain text."""
        heads = "".join(re.escape(head) for head in sorted({text[0] for text in self._texts}))
        self._candidate = re.compile(f"[{heads}]") if heads else None

    def escape(self, text: str) -> str:
        """Put a sentinel behind the first character of every name, also of those that overlap."""
        text = replace_surrogates(text).replace(SENTINEL, REPLACEMENT)
        if self._candidate is None:
            return text
        parts: list[str] = []
        done = 0
        for found in self._candidate.finditer(text):
            at = found.start()
            if text[at] in self.unbreakable:
                parts += (text[done:at], SENTINEL, text[at], SENTINEL)
                done = at + 1
            elif any(text[at : at + length] in self._texts for length in self._lengths):
                parts += (text[done : at + 1], SENTINEL)
                done = at + 1
        return "".join((*parts, text[done:]))

    def start_around(self, text: str, at: int) -> int:
        """Where the name starts that a cut at this place would cut in two; the place itself when there is none."""
        longest = self._lengths[-1] if self._lengths else 0
        for start in range(max(at - longest + 1, 0), at):
            if any(start + length > at and text[start : start + length] in self._texts for length in self._lengths):
                return start
        return at
