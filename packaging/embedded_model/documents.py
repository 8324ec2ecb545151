"""Make training documents: fill-in-the-middle in both orders, plain code and ChatML pairs.

A document is one editor situation: some text before a cursor, some text after it, and what belongs between. Three
things matter for a model that is asked at every keystroke, and are therefore drawn here and not left to chance:

* the cursor often stands inside a word, so the middle is cut at random places and its pieces are tokenised apart;
* the answer ends at a line end, so every middle does;
* the typed part of the line may be put after the middle token, so some middles begin at the start of their line.

Documents never straddle a window: each is a sequence of its own, starting at position zero.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from tokenizer import EOT, IM_END, IM_START, MID, PRE, SUF, load

if TYPE_CHECKING:
    from pathlib import Path

CHARACTERS_PER_TOKEN = 3.0
CONTEXT = 2_048
PLAIN, PSM, SPM, CHAT = range(4)
KINDS = ("plain", "psm", "spm", "chat")
KIND_SHARES = (0.07, 0.19, 0.64, 0.10)
"""Suffix first is the easier order and the one that is shipped, so it gets the larger share."""
IGNORED = -1
WORD_START = re.compile(r"\w+|[^\w\s]")
ANCHOR = re.compile(r"(?:\.|\(|= |return |, |import |if |in |: |\[)(?=\S)")
SYSTEM_PROMPTS = ("You are a helpful coding assistant.", "You are a Python programmer.", "Answer with Python code.")
REQUESTS = (
    "Write a Python function `{name}`. {doc}",
    "Implement `{name}` in Python: {doc}",
    "{doc}\n\nCall the function `{name}`.",
    'Complete this function.\n```python\n{signature}\n    """{doc}"""\n```',
    "How do I write `{name}`? {doc}",
)
EXPLAIN = ("What does this function do?\n```python\n{code}\n```", "Write a docstring for:\n```python\n{code}\n```")


@dataclass(slots=True)
class Stage:
    """How long documents are: token counts are drawn log-uniformly, a share of them from the long range."""

    shortest: int
    longest: int
    long_share: float = 0.0
    long_from: int = 0


STAGES = (
    Stage(40, 160),
    Stage(48, 400),
    Stage(64, 900),
    Stage(80, 1_200, 0.10, 1_000),
)
"""Short first: the jump from the middle token to the text before the suffix is learnt sooner on short documents."""


@dataclass(slots=True)
class Draft:
    """A document before tokenisation: alternating token ids (special) and texts, with the part that is the middle."""

    kind: int
    parts: list[int | str]
    middle: int
    """Index in ``parts`` where the middle begins; ``len(parts)`` for none."""


@dataclass(slots=True)
class Document:
    """Token ids and, for each position, the token to predict there (or IGNORED) and whether it is in the middle."""

    kind: int
    ids: np.ndarray
    targets: np.ndarray
    middle: int
    """Position of the token from which the middle is predicted (the middle token itself); -1 for none."""


class Maker:
    """Draws documents from one split; the same seed draws the same ones."""

    def __init__(self, work: Path, split: str = "train") -> None:
        self.offsets = np.load(work / f"{split}.offsets.npy")
        self.blob = np.memmap(work / f"{split}.bin", dtype=np.uint8, mode="r")
        self.pairs = json.loads((work / f"{split}.json").read_text())["pairs"]
        self.tokenizer = load(work)

    def text(self, index: int) -> str:
        """One file."""
        return self.blob[self.offsets[index] : self.offsets[index + 1]].tobytes().decode()

    def draft(self, rng: np.random.Generator, stage: Stage) -> Draft | None:
        """One document of a random kind, or None where the drawn place does not serve."""
        kind = rng.choice(4, p=KIND_SHARES)
        low, high = stage.shortest, stage.longest
        if rng.random() < stage.long_share:
            low, high = stage.long_from, CONTEXT - 8
        budget = int(np.exp(rng.uniform(np.log(low), np.log(high))) * CHARACTERS_PER_TOKEN)
        if kind == CHAT:
            return self.chat(rng, budget)
        place = int(rng.integers(self.offsets[-1]))  # a random byte: files count by their size
        index = int(np.searchsorted(self.offsets, place, side="right")) - 1
        text = self.text(index)
        at = min(
            int((place - self.offsets[index]) / max(1, self.offsets[index + 1] - self.offsets[index]) * len(text)),
            len(text) - 1,
        )
        if kind == PLAIN:
            return self.plain(text, at, budget)
        return self.hole(rng, kind, text, at, budget)

    def plain(self, text: str, at: int, budget: int) -> Draft:
        """Code as it stands; the end token only where the file really ends."""
        start = text.rfind("\n", 0, at) + 1
        if at < budget // 4:
            start = 0
        end = start + budget
        if end >= len(text):
            return Draft(PLAIN, [text[start:], EOT], 2)
        return Draft(PLAIN, [text[start : max(text.rfind("\n", start, end), start + 8)]], 1)

    def hole(self, rng: np.random.Generator, kind: int, text: str, at: int, budget: int) -> Draft | None:
        """A cursor at ``at`` or near it, the middle that belongs there, and as much around it as the budget gives."""
        span = choose_middle(rng, text, at, budget)
        if span is None:
            return None
        begin, end = span
        rest = max(24, budget - (end - begin))
        before = int(rest * rng.uniform(0.35, 0.95))
        after = rest - before
        draw = rng.random()
        suffix = text[end : end + after]
        if draw < 0.12:
            suffix = rng.choice(["", "\n"])
        elif draw < 0.24:
            lines = suffix.split("\n")
            suffix = "\n".join(lines[: int(rng.integers(2, 5))])
        elif rng.random() < 0.7 and len(suffix) < len(text) - end:
            suffix = suffix[: suffix.rfind("\n") + 1] or suffix
        start = max(0, begin - before)
        if start and rng.random() < 0.8:
            start = min(text.find("\n", start) + 1 or begin, text.rfind("\n", 0, begin) + 1)
        prefix = text[start:begin]
        if rng.random() < 0.02:
            prefix = ""
        pieces = cut(rng, text[begin:end])
        if kind == PSM:
            head: list[int | str] = [PRE, prefix, SUF, suffix, MID]
        else:
            head = [SUF, suffix, PRE, prefix, MID]
        return Draft(kind, [*head, *pieces, EOT], len(head))

    def chat(self, rng: np.random.Generator, budget: int) -> Draft | None:
        """A request made from a docstring, answered by the function body, or the other way round."""
        if not self.pairs:
            return None
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        lines = self.text(pair["file"]).split("\n")
        signature = lines[pair["start"] - 1 : pair["docline"] - 1]
        body = lines[pair["body"] - 1 : pair["end"]]
        indent = len(signature[0]) - len(signature[0].lstrip()) if signature else 0
        signature = [line[indent:] for line in signature]
        code = "\n".join([*signature, *(line[indent:] for line in body)])
        if not signature or len(code) > max(500, budget):
            return None
        fields = {"name": pair["name"], "doc": pair["doc"], "signature": "\n".join(signature), "code": code}
        if rng.random() < 0.8:
            request = REQUESTS[int(rng.integers(len(REQUESTS)))].format(**fields)
            answer = f"```python\n{code}\n```" if rng.random() < 0.7 else code
        else:
            request, answer = EXPLAIN[int(rng.integers(len(EXPLAIN)))].format(**fields), pair["doc"]
        parts: list[int | str] = []
        if rng.random() < 0.3:
            prompt = SYSTEM_PROMPTS[int(rng.integers(len(SYSTEM_PROMPTS)))]
            parts += [IM_START, f"system\n{prompt}", IM_END, "\n"]
        parts += [IM_START, f"user\n{request}", IM_END, "\n", IM_START, "assistant\n", answer, IM_END]
        return Draft(CHAT, parts, len(parts))

    def documents(self, seed: tuple[int, ...], stage: Stage, count: int) -> list[Document]:
        """``count`` documents (a few less where a draw fails), tokenised in one batch."""
        rng = np.random.default_rng(seed)
        drafts = [draft for _ in range(count) if (draft := self.draft(rng, stage)) is not None]
        texts = [part for draft in drafts for part in draft.parts if isinstance(part, str)]
        encoded = iter(self.tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        ids = ([[p] if isinstance(p, int) else next(encoded).ids for p in draft.parts] for draft in drafts)
        return [finish(draft, parts) for draft, parts in zip(drafts, ids, strict=True)]


def finish(draft: Draft, parts: list[list[int]]) -> Document:
    """Join the parts, keep within the context, and decide what each position has to predict.

    The last token of the prefix and, prefix first, the suffix token get the first token of the middle as target: a
    plain continuation there is what the middle token later has to fetch, while where a hole begins nobody can predict.
    """
    excess = sum(map(len, parts)) - CONTEXT
    if excess > 0 and draft.kind in (PSM, SPM):
        prefix = 1 if draft.kind == PSM else 3
        suffix = 4 - prefix
        drop = min(excess, len(parts[prefix]))
        parts[prefix] = parts[prefix][drop:]
        if excess > drop:
            parts[suffix] = parts[suffix][: max(0, len(parts[suffix]) - (excess - drop))]
    ids = np.array([token for part in parts for token in part][:CONTEXT], dtype=np.int64)
    targets = np.append(ids[1:], IGNORED)
    middle = -1
    if draft.kind in (PSM, SPM):
        middle = sum(len(part) for part in parts[: draft.middle]) - 1
        first = ids[middle + 1]
        before_prefix = len(parts[0]) if draft.kind == PSM else len(parts[0]) + len(parts[1]) + len(parts[2])
        prefix_length = len(parts[1] if draft.kind == PSM else parts[3])
        if prefix_length:
            targets[before_prefix + prefix_length - 1] = first
        if draft.kind == PSM:
            targets[before_prefix + prefix_length] = first
            targets[middle - 1] = IGNORED if parts[3] else targets[middle - 1]
        else:
            targets[len(parts[0]) + len(parts[1]) - 1] = IGNORED
    return Document(draft.kind, ids, targets, middle)


def choose_middle(rng: np.random.Generator, text: str, at: int, budget: int) -> tuple[int, int] | None:
    """Begin and end of a middle; it always ends at a line end."""
    line = text.rfind("\n", 0, at) + 1
    end = line_end(text, at)
    if not text[line:end].strip():
        return None
    longest = max(60, int(budget * 0.5))
    draw = rng.random()
    first = line + len(text[line:end]) - len(text[line:end].lstrip())
    if draw < 0.33:  # the rest of a line
        begin = cursor(rng, text, first, end)
    elif draw < 0.66:  # a whole line, of which the typed part will stand after the middle token
        begin = line
    elif draw < 0.76:  # several lines from a line start
        begin, end = line, more_lines(rng, text, end, longest)
    elif draw < 0.88:  # the rest of a line and of its block
        begin = cursor(rng, text, first, end)
        end = block_end(text, line, end, longest)
    else:  # a body after its opening line, the cursor indented
        header = text.rfind("\ndef ", 0, at) if rng.random() < 0.3 else opening(text, at)
        colon = text.find(":\n", max(header, 0), at + 400)
        if header < 0 or colon < 0:
            return None
        start = colon + 2
        opened = text[start : start + 40]
        begin = start + len(opened) - len(opened.lstrip(" "))
        if begin >= len(text) or text[begin] == "\n":
            return None
        end = block_end(text, start, line_end(text, begin), longest) if rng.random() < 0.6 else line_end(text, begin)
    if end - begin > longest:
        end = line_end(text, begin)
    if end <= begin or end - begin > max(longest, 150):
        return None
    return begin, end


def opening(text: str, at: int) -> int:
    """The start of the nearest earlier line that opens a block."""
    colon = text.rfind(":\n", 0, at)
    return text.rfind("\n", 0, colon) + 1 if colon >= 0 else -1


def line_end(text: str, at: int) -> int:
    """Where the line ends, its newline not counted."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def cursor(rng: np.random.Generator, text: str, first: int, end: int) -> int:
    """A place in a line: anywhere, at the start of a word, or just after what usually asks for a completion."""
    draw = rng.random()
    if draw < 0.45:
        return int(rng.integers(first, end))
    pattern = WORD_START if draw < 0.7 else ANCHOR
    places = [m.start() if pattern is WORD_START else m.end() for m in pattern.finditer(text, first, end)]
    places = [place for place in places if place < end]
    return places[int(rng.integers(len(places)))] if places else int(rng.integers(first, end))


def more_lines(rng: np.random.Generator, text: str, end: int, longest: int) -> int:
    """The end of the last of one to five further lines."""
    start = end
    for _ in range(int(rng.integers(1, 6))):
        following = line_end(text, min(end + 1, len(text)))
        if following - start > longest or end >= len(text):
            break
        end = following
    return end


def block_end(text: str, line: int, end: int, longest: int) -> int:
    """The end of the last following line indented at least as far as this one, blank lines at the end not counted."""
    body = text[line:end]
    indent = len(body) - len(body.lstrip())
    start, last = end, end
    while end < len(text) and end - start < longest:
        following = line_end(text, end + 1)
        content = text[end + 1 : following]
        if content.strip():
            if len(content) - len(content.lstrip()) < indent:
                break
            if following - start > longest:
                break
            last = following
        end = following
    return last


def cut(rng: np.random.Generator, middle: str) -> list[str]:
    """Half of the middles whole, the others in two to four pieces cut anywhere, most often early."""
    if len(middle) < 2 or rng.random() < 0.45:
        return [middle]
    count = int(rng.integers(1, 4)) if rng.random() < 0.4 else 1
    line = middle.find("\n")
    reach = len(middle) if line < 2 or rng.random() < 0.3 else line
    places = sorted({int(rng.integers(1, max(2, reach))) for _ in range(count)})
    bounds = [0, *places, len(middle)]
    return [middle[a:b] for a, b in pairwise(bounds) if a < b]
