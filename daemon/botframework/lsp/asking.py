"""What the worker is asked for ghost text: one line or several, how long, in which session."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from botframework.lsp.closers import is_closers, rest_of_line
from botframework.lsp.documents import CONTEXT_CHARS
from botframework.lsp.generate import default_sampling
from botframework.wire.messages import MAX_SESSION_CHARS, FimRequest
from botframework.wire.text import line_start, replace_surrogates

if TYPE_CHECKING:
    from botframework import config

ONE_LINE_TOKENS = 96
"""Some 300 characters; a longer line is no code that a person reads before accepting it."""
PREFETCH_TOKENS = 96
"""What nobody has asked for may be shorter: the first lines are what is looked at."""
INVOKED_BUDGET_FACTOR = 4
"""Who asks with a key of his own waits for more lines than who just stopped typing."""
LOOK_AHEAD_CHARS = 4_096
"""Text in which the next line with something on it is looked for."""


def document_session(uri: str) -> str:
    """The session of a document: its URI, shortened with a hash if a session's name cannot be that long."""
    uri = replace_surrogates(uri)
    if len(uri) <= MAX_SESSION_CHARS:
        return uri
    digest = hashlib.blake2b(uri.encode(), digest_size=16).hexdigest()
    return f"{uri[: MAX_SESSION_CHARS - len(digest) - 1]}#{digest}"


def is_one_line(before: str, after: str) -> bool:
    """Whether a suggestion should end with the cursor's line.

    It should if text worth keeping follows on the line, and if the line's block stands below already: the next line is
    indented more deeply than this one, so that anything but the end of this line would be written twice.
    """
    rest = rest_of_line(after)
    if not is_closers(rest):
        return True
    line = before[line_start(before) :]
    if not line.strip():
        return False
    below = after[len(rest) : len(rest) + LOOK_AHEAD_CHARS]
    following = next((line for line in below.splitlines() if line.strip()), "")
    return _indentation(following) > _indentation(line)


def _indentation(line: str) -> int:
    """Columns of the blanks that a line begins with; a tab counts as four."""
    blanks = line[: len(line) - len(line.lstrip())]
    return len(blanks.expandtabs(4))


def ghost_request(
    uri: str, before: str, after: str, settings: config.Completion, *, is_invoked: bool = False
) -> FimRequest:
    """Ask for a suggestion at a place; streamed, because the next key may be its first character."""
    one_line = not settings.multiline or is_one_line(before, after)
    budget_ms = settings.line_budget_ms * (INVOKED_BUDGET_FACTOR if is_invoked else 1)
    return FimRequest(
        id=0,
        session=document_session(uri),
        prefix=before,
        suffix=after,
        max_tokens=min(settings.max_tokens, ONE_LINE_TOKENS) if one_line else settings.max_tokens,
        sampling=msgspec.structs.replace(default_sampling(settings), infill=True),
        deadline_ms=settings.deadline_ms,
        priority="completion",
        stream=True,
        ghost=True,
        one_line=one_line,
        line_budget_ms=min(budget_ms, settings.deadline_ms),
    )


def prefill_request(uri: str, before: str, after: str, settings: config.Completion) -> FimRequest:
    """Have the text read that the next request will bring; nothing is written."""
    request = ghost_request(uri, before, after, settings)
    return msgspec.structs.replace(request, max_tokens=0, stream=False)


def prefetch_request(uri: str, before: str, after: str, settings: config.Completion) -> FimRequest:
    """Ask, when nobody waits, for the suggestion after the one that is shown."""
    request = ghost_request(uri, before[-CONTEXT_CHARS:], after, settings)
    return msgspec.structs.replace(request, max_tokens=min(request.max_tokens, PREFETCH_TOKENS), priority="background")
