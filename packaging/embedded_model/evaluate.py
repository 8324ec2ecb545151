"""Measure the GGUF file in llama.cpp on the held-out files and write the model card.

    python evaluate.py --work DIR --model model.gguf [--card MODEL_CARD.md] [--fixture heldout_tokens.tsv]

Holes are drawn from a fixed seed on files that were held out by name before training; only code lines are taken, the
cursor stands anywhere after the indentation, and at least four characters are missing. Each hole is answered in both
orders, with the typed part of the line before the middle token (as usual) and after it, and by a baseline that knows
the training files by heart but does not generalise.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import io
import json
import math
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import card
import llama_cpp
import numpy as np
import torch
from corpus import name_hash, read_split
from model import Config, Model
from tokenizer import MID, PRE, SPECIALS, SUF, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PREFIX_CHARACTERS, SUFFIX_CHARACTERS = 900, 450
LONGEST_ANSWER = 64
MIN_REST = 4
BPB_SHARE = 3
"""Bits per byte are measured on the first window of one held-out file in this many."""
SHORTEST_KEY = 6


@dataclass(slots=True)
class Hole:
    """A cursor in a held-out file: the earlier lines, the typed part of its line, what is missing, what follows."""

    name: str
    before: str
    typed: str
    rest: str
    after: str

    @property
    def inside_word(self) -> bool:
        """Whether the cursor cuts a word."""
        return bool(self.typed) and self.typed[-1].isidentifier() and (self.rest[0].isalnum() or self.rest[0] == "_")


class Engine:
    """llama.cpp with greedy decoding, through its low-level interface."""

    def __init__(self, path: Path, threads: int) -> None:
        self.llama = llama_cpp.Llama(
            str(path),
            n_ctx=2_048,
            n_batch=2_048,
            n_ubatch=512,
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=True,
            verbose=False,
        )
        self.context = self.llama.ctx
        self.vocabulary = self.llama.n_vocab()

    def tokens(self, text: str) -> list[int]:
        """Text to ids; special tokens in the text stay text."""
        return self.llama.tokenize(text.encode(), add_bos=False, special=False) if text else []

    def forget(self) -> None:
        """Empty the cache."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def decode(self, ids: list[int]) -> np.ndarray:
        """Feed tokens; the logits after the last one."""
        array = (llama_cpp.llama_token * len(ids))(*ids)  # the batch only points to it
        batch = llama_cpp.llama_batch_get_one(array, len(ids))
        if llama_cpp.llama_decode(self.context, batch):
            raise RuntimeError("llama_decode failed")
        logits = llama_cpp.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (self.vocabulary,))

    def answer(self, prompt: list[int]) -> str:
        """The greedy continuation up to the end token or the end of the line."""
        self.forget()
        out = bytearray()
        ids = prompt
        for _ in range(LONGEST_ANSWER):
            token = int(self.decode(ids).argmax())
            if token < len(SPECIALS):
                break
            out += self.llama.detokenize([token])
            if b"\n" in out:
                break
            ids = [token]
        return out.split(b"\n")[0].decode(errors="replace")

    def logits(self, ids: list[int]) -> np.ndarray:
        """Logits after every token."""
        self.llama.reset()
        self.forget()
        self.llama.eval(ids)
        return np.array(self.llama.scores[: len(ids)])


def code_lines(text: str) -> list[int]:
    """Numbers (from 0) of lines on which a name or operator starts: neither comment nor string body nor blank."""
    lines: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in {tokenize.NAME, tokenize.OP} and len(token.line.strip()) > MIN_REST:
                lines.add(token.start[0] - 1)
    except (tokenize.TokenError, SyntaxError):
        return []
    return sorted(lines)


def draw_holes(names: list[str], texts: list[str], count: int, seed: int = 7) -> list[Hole]:
    """Holes spread over the files: files in random order, again and again, one line of each."""
    rng = np.random.default_rng(seed)
    lines = [code_lines(text) for text in texts]
    usable = [i for i in range(len(texts)) if len(lines[i]) > 5]
    holes: list[Hole] = []
    while len(holes) < count:
        for index in rng.permutation(usable):
            if len(holes) == count:
                break
            content = texts[index].split("\n")
            number = int(rng.choice(lines[index]))
            line = content[number].rstrip()
            first = len(line) - len(line.lstrip())
            if len(line) - MIN_REST < first:
                continue
            at = int(rng.integers(first, len(line) - MIN_REST + 1))
            before = "".join(f"{previous}\n" for previous in content[:number])
            after = "\n" + "\n".join(content[number + 1 :]) if number + 1 < len(content) else ""
            holes.append(Hole(names[index], before, line[:at], line[at:], after))
    return holes


def prompt(engine: Engine, hole: Hole, order: str, typed_after: bool) -> list[int]:
    """The token ids asked with."""
    before = hole.before[-PREFIX_CHARACTERS:]
    if len(hole.before) > PREFIX_CHARACTERS:
        before = before[before.find("\n") + 1 :]
    after = hole.after[:SUFFIX_CHARACTERS]
    if len(hole.after) > SUFFIX_CHARACTERS:
        after = after[: after.rfind("\n") + 1] or after
    prefix = [PRE, *engine.tokens(before if typed_after else before + hole.typed)]
    suffix = [SUF, *engine.tokens(after)]
    ids = prefix + suffix if order == "psm" else suffix + prefix
    return [*ids, MID, *(engine.tokens(hole.typed) if typed_after else [])]


def score(holes: list[Hole], answers: Iterable[str]) -> dict[str, float]:
    """Exact match and match of the first four characters, in percent; also where the cursor cuts a word."""
    rows = [(h.inside_word, a.rstrip() == h.rest, a[:4] == h.rest[:4]) for h, a in zip(holes, answers, strict=True)]
    inside = [row for row in rows if row[0]]

    def percent(values: list[bool]) -> float:
        return round(100 * sum(values) / max(1, len(values)), 1)

    return {
        "exact": percent([r[1] for r in rows]),
        "prefix4": percent([r[2] for r in rows]),
        "exact_inside_word": percent([r[1] for r in inside]),
        "prefix4_inside_word": percent([r[2] for r in inside]),
    }


def baseline(holes: list[Hole], work: Path) -> list[str]:
    """The most frequent continuation of the same line prefix in training, else the rest of a similar earlier line."""
    by_key: dict[str, list[str]] = {}
    for typed in {hole.typed.lstrip() for hole in holes} - {""}:
        by_key.setdefault(typed[:SHORTEST_KEY], []).append(typed)
    found: dict[str, Counter[str]] = {}
    for data in read_split(work, "train")[1]:
        for line in map(str.strip, data.decode().split("\n")):
            for length in range(1, SHORTEST_KEY + 1):
                for typed in by_key.get(line[:length], ()) if length <= len(line) else ():
                    if len(line) > len(typed) and line.startswith(typed):
                        found.setdefault(typed, Counter())[line[len(typed) :]] += 1
    answers: list[str] = []
    for hole in holes:
        typed = hole.typed.lstrip()
        frequent = found.get(typed)
        answers.append(frequent.most_common(1)[0][0] if frequent else similar_line(hole, typed))
    return answers


def similar_line(hole: Hole, typed: str) -> str:
    """What follows the longest end of the typed text in the nearest earlier line that has it."""
    earlier = [line.strip() for line in reversed(hole.before.split("\n")) if line.strip()]
    for length in range(len(typed), 0, -1):
        tail = typed[-length:]
        for line in earlier:
            at = line.find(tail)
            if at >= 0 and at + length < len(line):
                return line[at + length :]
    return earlier[0] if earlier else ""


def bits_per_byte(engine: Engine, names: list[str], texts: list[str]) -> tuple[float, int]:
    """Bits per byte of plain text over first windows, each from its second token on, and the bytes measured."""
    bits, size = 0.0, 0
    for name, text in zip(names, texts, strict=True):
        if name_hash("bpb", name) % BPB_SHARE:
            continue
        ids = engine.tokens(text)[:2_048]
        bits += negative_log(engine.logits(ids), ids) / math.log(2)
        size += len(engine.llama.detokenize(ids[1:]))
    return bits / size, size


def negative_log(logits: np.ndarray, ids: list[int]) -> float:
    """Sum of the negative log-probabilities of the tokens after the first."""
    shifted = logits[:-1] - logits[:-1].max(-1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(ids) - 1), ids[1:]]).sum())


def compare_tokens(engine: Engine, work: Path, names: list[str], texts: list[str], fixture: Path | None) -> int:
    """Held-out files on which llama.cpp and the trainer disagree; the trainer's digests go into the fixture."""
    tokenizer = load(work)
    different, rows = 0, []
    for name, text in zip(names, texts, strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        different += ids != engine.tokens(text)
        digest = hashlib.sha256(np.array(ids, dtype="<u2").tobytes()).hexdigest()
        rows.append(f"{name}\t{hashlib.sha256(text.encode()).hexdigest()}\t{len(ids)}\t{digest}\n")
    if fixture:
        head = "file\tsha256 of the text\ttokens\tsha256 of the ids (uint16, little-endian)\n"
        fixture.write_text(head + "".join(rows))
    return different


def compare_logits(engine: Engine, checkpoint: Path, texts: list[str]) -> dict[str, float]:
    """How far llama.cpp's logits on Q8_0 weights are from torch's on the trained ones."""
    state = torch.load(checkpoint, weights_only=True)
    model = Model(Config(**state["config"]))
    model.load_state_dict(state["model"])
    worst, agree, ours, theirs, count = 0.0, 0.0, 0.0, 0.0, 0
    for text in texts:
        ids = engine.tokens(text)[:512]
        with torch.no_grad():
            reference = model(torch.tensor([ids]))[0].numpy()
        logits = engine.logits(ids)
        worst = max(worst, float(np.abs(reference - logits).max()))
        agree += float((reference.argmax(-1) == logits.argmax(-1)).sum())
        ours, theirs = ours + negative_log(logits, ids), theirs + negative_log(reference, ids)
        count += len(ids)
    return {
        "worst": round(worst, 3),
        "same_best_token": round(100 * agree / count, 2),
        "nats_llama_cpp": round(ours / count, 4),
        "nats_torch": round(theirs / count, 4),
    }


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", default="checkpoint")
    parser.add_argument("--holes", type=int, default=600)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--card", type=Path)
    parser.add_argument("--fixture", type=Path)
    parser.add_argument("--only-baseline", action="store_true", help="answer the holes by the baseline, keep, and end")
    arguments = parser.parse_args()
    work: Path = arguments.work
    names, blobs = read_split(work, "heldout")
    texts = [blob.decode() for blob in blobs]
    holes = draw_holes(names, texts, arguments.holes)
    kept = work / f"baseline-{arguments.holes}.json"
    if not kept.exists():
        kept.write_text(json.dumps(baseline(holes, work)))
    if arguments.only_baseline:
        print("baseline", score(holes, json.loads(kept.read_text())))
        return
    engine = Engine(arguments.model, arguments.threads)
    metadata = engine.llama.metadata
    results: dict[str, object] = {
        "holes": arguments.holes,
        "heldout_files": len(names),
        "tokens": int(metadata["botframework.training.tokens"]),
        "order": metadata["botframework.fim.order"],
        "typed": metadata["botframework.fim.typed"],
        "bytes": arguments.model.stat().st_size,
    }
    results["tokens_differ"] = compare_tokens(engine, work, names, texts, arguments.fixture)
    if (checkpoint := work / f"{arguments.name}.pt").exists():
        results["logits"] = compare_logits(engine, checkpoint, texts[:: max(1, len(texts) // 8)])
    results["inside_word_holes"] = sum(hole.inside_word for hole in holes)
    ask: dict[str, Callable[[Hole], list[int]]] = {
        "psm": lambda hole: prompt(engine, hole, "psm", False),
        "spm": lambda hole: prompt(engine, hole, "spm", False),
        "psm_typed_after": lambda hole: prompt(engine, hole, "psm", True),
        "spm_typed_after": lambda hole: prompt(engine, hole, "spm", True),
    }
    scores: dict[str, dict[str, float]] = {}
    for layout, make in ask.items():
        scores[layout] = score(holes, [engine.answer(make(hole)) for hole in holes])
        print(layout, scores[layout], flush=True)
    scores["baseline"] = score(holes, json.loads(kept.read_text()))
    print("baseline", scores["baseline"], flush=True)
    results["scores"] = scores
    results["bits_per_byte"], results["bits_per_byte_bytes"] = bits_per_byte(engine, names, texts)
    (work / "results.json").write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))
    if arguments.card:
        card.write(arguments.card, work, results)


if __name__ == "__main__":
    main()
