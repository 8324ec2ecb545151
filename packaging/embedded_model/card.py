"""The model card: text around the figures that evaluate.py measured."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROWS = {
    "psm": "prefix, suffix, middle",
    "spm": "suffix first",
    "psm_typed_after": "prefix, suffix, middle; typed text after the middle token",
    "spm_typed_after": "suffix first; typed text after the middle token",
    "baseline": "baseline",
}


def corpus_figures() -> dict[str, float]:
    """Files and megabytes of each split, from the committed manifest."""
    lines = lzma.decompress((HERE / "manifest.tsv.xz").read_bytes()).decode().splitlines()[1:]
    figures: dict[str, float] = {"packages": len({line.split("\t")[0] for line in lines})}
    for split in ("train", "heldout"):
        sizes = [int(line.split("\t")[3]) for line in lines if line.endswith(f"\t{split}")]
        figures[f"{split}_files"] = len(sizes)
        figures[f"{split}_mb"] = round(sum(sizes) / 1e6, 1)
    return figures


def training_log(work: Path) -> dict[str, Any]:
    """What train.py left about its course, empty where it left nothing."""
    path = work / "training.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, work: Path, results: dict[str, Any]) -> None:
    """Write the card."""
    corpus, log, scores = corpus_figures(), training_log(work), results["scores"]
    table = "\n".join(
        f"| {title} | {scores[key]['exact']:.1f} | {scores[key]['prefix4']:.1f} "
        f"| {scores[key]['exact_inside_word']:.1f} | {scores[key]['prefix4_inside_word']:.1f} |"
        for key, title in ROWS.items()
    )
    best = max((key for key in ("psm", "spm")), key=lambda key: (scores[key]["exact"], scores[key]["prefix4"]))
    logits = results.get("logits", {})
    stages = "; ".join(f"stage {int(s) + 1} from step {step}, {tokens / 1e6:.1f} M tokens"
                       for s, step, tokens in log.get("stages", []))
    text = f"""# botframework-embedded

A fill-in-the-middle model for Python that this project trained from scratch and ships in the package, so that a fresh
machine completes code without a download. It is small and was trained for little over an hour on two CPU cores: it
finishes names, calls and idioms that the file around the cursor suggests, and it does not know what the code is for.

| | |
| --- | --- |
| File | `model.gguf`, Q8_0 matrices and F32 norms, {results['bytes']} bytes |
| Shape | `llama`: 4 layers, width 256, 4 heads, 2 key-value heads, feed-forward 704, RoPE, 4.0 M parameters |
| Context | 2,048 tokens |
| Tokenizer | byte-level BPE, 2,048 entries, `gpt2` with the `qwen2` split, no BOS |
| Prompt | `<|fim_prefix|>` … `<|fim_suffix|>` … `<|fim_middle|>`, or suffix first; ChatML for chat |
| Asked best | order `{results['order']}` (metadata `botframework.fim.order`), typed part of the line `{results['typed']}` the middle token (`botframework.fim.typed`) |
| Training tokens reached | {results['tokens']} |
| Licence | that of the project; sources below |

## Results

Measured in llama.cpp on the shipped file, greedy, over {results['holes']} single-line holes in {results['heldout_files']} held-out
files ({results['inside_word_holes']} of the holes cut a word). A hole lies on a code line, begins anywhere after the indentation and
misses at least four characters; the model sees up to 900 characters before and 450 after it. All values in percent.

| Asked | exact match | first 4 characters | exact, inside a word | first 4, inside a word |
| --- | ---: | ---: | ---: | ---: |
{table}

The baseline answers with the most frequent continuation of the same line prefix in the training files, else with the
rest of the most similar earlier line of the file. Of the two orders with the typed text before the middle token,
`{best}` completed more lines.

* Bits per byte on held-out text: {results['bits_per_byte']:.3f} ({results['bits_per_byte_bytes']} bytes, first windows of up to 2,048 tokens).
* Held-out files on which llama.cpp's tokens differ from the trainer's: {results['tokens_differ']} of {results['heldout_files']}.
* Logits of the Q8_0 file in llama.cpp against the trained weights in torch: largest difference {logits.get('worst', 'not measured')},
  the same best token at {logits.get('same_best_token', '-')} % of positions, {logits.get('nats_llama_cpp', '-')} against {logits.get('nats_torch', '-')} nats per token.

## Training

* Text: {corpus['train_files']} Python files, {corpus['train_mb']} MB, from {corpus['packages']} sources (the CPython 3.11 standard library and
  packages from PyPI under MIT, BSD, Apache-2.0 or PSF terms), without exact and near duplicates. `packages.toml` and
  `manifest.tsv.xz` under `packaging/embedded_model/` name versions, licences and the SHA-256 of every file.
* Held out by name before training: {corpus['heldout_files']} files, {corpus['heldout_mb']} MB, two whole packages (tornado, luigi) among them. A
  training file with a function body of three statements or more that also stands in a held-out file was removed, and a
  second check on the written text found none left.
* Documents: 41 % prefix-suffix-middle, 41 % suffix first, 8 % plain, 10 % ChatML pairs made from docstrings and bodies;
  middles start anywhere in a line and end at a line end, more than half of them tokenised in fragments cut at random places.
* Lengths grew in four stages ({stages or 'see train.py'}), the last with a quarter of documents above
  1,000 tokens; the share of the run that each stage got was set by the clock.
* Muon for the inner matrices, AdamW for the rest, bfloat16 arithmetic, batches of 16,384 tokens, constant rate and then
  linear decay; {results['tokens']} tokens in {log.get('minutes', '?')} minutes on two cores shared with other work. {remark(results['tokens'])}

## Limits

* Python only, and mostly library code; comments and names in English.
* Answers longer than a line or two drift. Chat answers have the form of an answer and seldom its substance.
* Text may resemble its sources: the model was trained on public code and can repeat short common passages of it.
* Positions beyond 2,048 tokens were never trained.
"""
    path.write_text(text)


def remark(tokens: int) -> str:
    """How the run compares with what was planned."""
    planned = 60_000_000
    if tokens >= planned:
        return "That is the planned amount."
    return f"Planned were {planned // 1_000_000} M; the clock ended the run at {100 * tokens // planned} % of that."
