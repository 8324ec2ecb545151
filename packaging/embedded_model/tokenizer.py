"""Train the byte-level BPE tokenizer on the training files.

The split expression is the one llama.cpp applies for ``tokenizer.ggml.pre = "qwen2"``, letter for letter, because the
shipped file is only right if llama.cpp cuts every text where this tokenizer cuts it.

    python tokenizer.py --work DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from corpus import name_hash, read_split
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterator

VOCABULARY = 2_048
SPECIALS = [
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    "<|im_start|>",
    "<|im_end|>",
]
EOT, PRE, SUF, MID, PAD, IM_START, IM_END = range(len(SPECIALS))
QWEN2 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SAMPLE = 12
"""One training file in this many is read: 2,048 entries are settled long before the whole corpus is."""


def new_tokenizer() -> Tokenizer:
    """An untrained tokenizer of the shape llama.cpp knows as gpt2 with the qwen2 split."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sample(work: Path) -> Iterator[str]:
    """A fixed share of the training files, chosen by name."""
    for name, data in zip(*read_split(work, "train"), strict=True):
        if name_hash("tokenizer", name) % SAMPLE == 0:
            yield data.decode()


def load(work: Path) -> Tokenizer:
    """The trained tokenizer; text is encoded without special tokens, which are put in by id."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # "<|endoftext|>" written in a source file is text, not the token
    return tokenizer


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    work: Path = parser.parse_args().work
    tokenizer = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample(work), trainer)
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise SystemExit(f"{tokenizer.get_vocab_size()} entries instead of {VOCABULARY}")
    tokenizer.save(str(work / "tokenizer.json"))
    texts = [data.decode() for data in read_split(work, "heldout")[1]]
    count = sum(len(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False))
    print(f"{sum(map(len, texts)) / count:.2f} characters per token on the held-out files")


if __name__ == "__main__":
    main()
