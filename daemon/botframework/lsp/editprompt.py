"""What the model is asked when a part of a file is to be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from botframework.lsp.fences import longest_fence
from botframework.lsp.fitting import Spot
from botframework.lsp.generate import request_fields
from botframework.wire.messages import ChatMessage, ChatRequest
from botframework.wire.text import LINE_END, replace_surrogates

if TYPE_CHECKING:
    from botframework import config
    from botframework.lsp.messages import EditParams

MAX_NAME_CHARS = 128
"""Of a file, in the prompt: the end of its URI, which may be anything."""

CHANGE = (
    "You edit a part of a file. Answer with the new text of that part in one fenced code block and with nothing else: "
    "no explanation, and nothing of the file around the part. Keep its indentation and its style. What the instruction "
    "does not ask for stays as it is."
)
INSERT = (
    "You write text for one place in a file. Answer with the text that is to be inserted there in one fenced code "
    "block and with nothing else: no explanation, and nothing of the file around the place. Keep the file's "
    "indentation and its style."
)


class Around(NamedTuple):
    """A range of a document and what is around it. Texts have line feeds as line ends, but for ``old``."""

    name: str
    """The file's, without folders."""
    above: str
    """The lines above the range's first line."""
    spot: Spot
    below: str
    """What follows the range's last line."""
    old: str
    """The text of the range as it is."""

    @classmethod
    def made_of(cls, uri: str, before: str, old: str, after: str, *, line_end: str) -> Around:
        """From the texts before, in and behind the range."""
        above, rest = _with_line_feeds(before), _with_line_feeds(after)
        line = above.rpartition("\n")[2]
        after_line, _, below = rest.partition("\n")
        return cls(
            name=_name(uri),
            above=above[: len(above) - len(line)],
            spot=Spot(line, _with_line_feeds(old), after_line, line_end),
            below=below,
            old=old,
        )


def edit_request(
    params: EditParams, settings: config.Edit, around: Around, context_chars: int
) -> tuple[ChatRequest, int]:
    """What the worker is asked, and how many characters of the file around the range that includes.

    ``context_chars`` limits them; half of them stand before the range, unless one side has less.
    """
    spot = around.spot
    # A part that begins with its line is shown with its indentation; what stands on its lines beside it, around it.
    part = (spot.before + spot.old if spot.is_whole_line else spot.old).strip("\n").rstrip()
    above = around.above if spot.is_whole_line and part else around.above + spot.before
    below = f"{spot.after}\n{around.below}" if around.below else spot.after
    below = below.lstrip("\n") if part else below
    above, below = _cut(above, below, context_chars)
    marks = "`" * max(3, longest_fence(f"{above}\n{part}\n{below}") + 1)

    def block(title: str, text: str) -> str:
        return f"{title}:\n{marks}\n{text}\n{marks}" if text.strip() else ""

    what = "part" if part else "place"
    parts = (
        f"File: {around.name}",
        block(f"Before the {what}", above.rstrip("\n")),
        block(f"After the {what}", below.rstrip("\n")),
        block("The part", part),
        f"Instruction: {replace_surrogates(params.instruction.strip())}",
    )
    request = ChatRequest(
        **request_fields(params, settings) | {"stream": True},
        messages=(
            ChatMessage(role="system", content=CHANGE if part else INSERT),
            ChatMessage(role="user", content="\n\n".join(part for part in parts if part)),
        ),
        priority="edit",
        trim=False,
    )
    return request, len(above) + len(below)


def _cut(above: str, below: str, chars: int) -> tuple[str, str]:
    """The nearest whole lines of two texts, so many characters together."""
    half = chars // 2
    n_above = min(len(above), max(half, chars - len(below)))
    n_below = min(len(below), chars - n_above)
    if n_above < len(above):
        cut = above[len(above) - n_above :]
        above = cut.partition("\n")[2]
    if n_below < len(below):
        below = below[:n_below].rpartition("\n")[0]
    return above, below


def _with_line_feeds(text: str) -> str:
    return LINE_END.sub("\n", text) if "\r" in text else text


def _name(uri: str) -> str:
    """The file's name as one harmless line."""
    name = replace_surrogates(unquote(uri.rstrip("/").rpartition("/")[2], errors="replace"))
    return "".join(char for char in name if char.isprintable())[-MAX_NAME_CHARS:]
