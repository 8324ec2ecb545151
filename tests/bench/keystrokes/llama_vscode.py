"""What llama.vscode 0.0.63 asks llama-server for at a key, as its defaults have it.

The lines before the cursor's are ``input_prefix``, the part of the line before the cursor is ``prompt`` (empty if it is
only blanks), the rest of the line and the lines below are ``input_suffix``. Three things are in the peer's favour:
``input_extra`` stays empty (the plugin puts up to 16 chunks of other files there, which take cells and attention), the
requests that it sends ahead for the suggestion after the next are left out, and so is the 150 ms poll with which it
waits for a running request.
"""

from __future__ import annotations

from typing import Any

PREFIX_LINES = 256
SUFFIX_LINES = 64
MAX_LINE_SUFFIX = 8
"""With more characters behind the cursor on its line the plugin does not ask by itself."""


def asks(text: str, cursor: int) -> bool:
    """Whether the plugin would ask here without being told to."""
    end = text.find("\n", cursor)
    return (len(text) if end < 0 else end) - cursor <= MAX_LINE_SUFFIX


def infill_request(text: str, cursor: int, n_predict: int) -> dict[str, Any]:
    """The body of ``POST /infill``."""
    above = text[:cursor].split("\n")
    below = text[cursor:].split("\n")
    before, rest = above.pop(), below.pop(0)
    line = before + rest
    n_indent = len(line) - len(line.lstrip())
    return {
        "input_prefix": "\n".join(above[-PREFIX_LINES:]) + "\n",
        "input_suffix": rest + "\n" + "\n".join(below[:SUFFIX_LINES]) + "\n",
        "input_extra": [],
        "prompt": before if before.strip(" \t") else "",
        "n_predict": n_predict,
        "top_k": 40,
        "top_p": 0.99,
        "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": True,
        **({"n_indent": n_indent} if n_indent else {}),
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 2_500,
    }
