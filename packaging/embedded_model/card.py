"""The model card: ``card_template.md`` filled with the figures that evaluate.py measured."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from string import Template
from typing import Any

HERE = Path(__file__).resolve().parent
ROWS = {
    "psm": "prefix, suffix, middle",
    "spm": "suffix first",
    "psm_typed_after": "prefix, suffix, middle; typed text after the middle token",
    "spm_typed_after": "suffix first; typed text after the middle token",
    "baseline": "baseline",
}
COLUMNS = ("exact", "prefix4", "exact_inside_word", "prefix4_inside_word")
PLANNED = 60_000_000
EARLIER_RUNS = ((24_020_428, 113), (17_810_864, 103))
"""Tokens and minutes of the first two runs; ``training.json`` in the working folder tells of the third."""
STEP_TOKENS = "16,384"


def corpus_figures() -> dict[str, str]:
    """Files and megabytes of each split, from the committed manifest."""
    lines = lzma.decompress((HERE / "manifest.tsv.xz").read_bytes()).decode().splitlines()[1:]
    figures = {"packages": str(len({line.split("\t")[0] for line in lines}))}
    for split in ("train", "heldout"):
        sizes = [int(line.split("\t")[3]) for line in lines if line.endswith(f"\t{split}")]
        figures[f"{split}_files"] = f"{len(sizes):,}"
        figures[f"{split}_mb"] = f"{sum(sizes) / 1e6:.1f}"
    return figures


def course_figures(path: Path) -> dict[str, str]:
    """What train.py wrote about the last run, beside those before it."""
    course = json.loads(path.read_text())
    words = ("first", "second", "third", "fourth")
    stages = [f"the {words[stage]} from {tokens / 1e6:.1f} M tokens on" for stage, _, tokens in course["stages"]]
    before, minutes_before = map(sum, zip(*EARLIER_RUNS, strict=True))
    runs = [*EARLIER_RUNS, (course["tokens"] - before, course["minutes"])]
    numbered = {
        f"{name}_{number}": f"{figure:,}"
        for number, run in enumerate(runs, 1)
        for name, figure in zip(("tokens", "minutes"), run, strict=True)
    }
    return numbered | {"minutes": str(minutes_before + course["minutes"]), "stages": ", ".join(stages)}


def remark(tokens: int) -> str:
    """How the runs compare with what was planned."""
    if tokens >= PLANNED:
        return f"More than the {PLANNED // 1_000_000} M that were planned."
    return f"Planned were {PLANNED // 1_000_000} M: the clock ended training at {100 * tokens / PLANNED:.0f} % of that."


def verdict(scores: dict[str, dict[str, float]], order: str, typed: str) -> str:
    """The comparison with the baseline in words, whichever way it went."""
    model, base = scores[f"{order}_typed_after" if typed == "after" else order], scores["baseline"]
    words = []
    for key, name in (("exact", "exact matches"), ("prefix4", "first four characters")):
        side = "above" if model[key] > base[key] else "below" if model[key] < base[key] else "level with"
        words.append(f"{side} the baseline in {name} ({model[key]:.1f} against {base[key]:.1f} %)")
    return f"Asked as its metadata says, the model is {' and '.join(words)}."


def write(path: Path, work: Path, results: dict[str, Any]) -> None:
    """Write the card."""
    scores = results["scores"]
    rows = [
        " | ".join([f"| {title}", *(f"{scores[key][column]:.1f}" for column in COLUMNS)]) + " |"
        for key, title in ROWS.items()
    ]
    figures = corpus_figures() | course_figures(work / "training.json")
    figures |= {key: str(value) for key, value in results["logits"].items()}
    figures |= {key: f"{results[key]:,}" for key in ("bytes", "tokens", "bits_per_byte_bytes")}
    figures |= {
        "order": results["order"],
        "typed": results["typed"],
        "holes": str(results["holes"]),
        "inside_word_holes": str(results["inside_word_holes"]),
        "tokens_differ": str(results["tokens_differ"]),
        "bits_per_byte": f"{results['bits_per_byte']:.3f}",
        "table": "\n".join(rows),
        "verdict": verdict(scores, results["order"], results["typed"]),
        "remark": remark(results["tokens"]),
        "batch": STEP_TOKENS,
    }
    path.write_text(Template((HERE / "card_template.md").read_text()).substitute(figures))
