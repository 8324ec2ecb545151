"""The shipped model: the file, its tokenizer and what its card says of it."""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
from array import array
from pathlib import Path

import llama_cpp
import pytest

import botframework

EMBEDDED = Path(botframework.__file__).parent / "embedded"
MODEL = EMBEDDED / "model.gguf"
CARD = EMBEDDED / "MODEL_CARD.md"
HERE = Path(__file__).parent
LARGEST = 32 * 1024 * 1024
SPECIALS = [
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    "<|im_start|>",
    "<|im_end|>",
]


@pytest.fixture(scope="module")
def model() -> llama_cpp.Llama:
    """The shipped model with a small context."""
    return llama_cpp.Llama(str(MODEL), n_ctx=512, n_threads=1, verbose=False)


def tokens(model: llama_cpp.Llama, text: str) -> list[int]:
    """Plain text as the daemon tokenises it: no BOS, special tokens not read."""
    return list(model.tokenize(text.encode(), add_bos=False, special=False))


def digest(ids: list[int]) -> str:
    """How the fixture records the ids of a file."""
    return hashlib.sha256(array("H", ids).tobytes()).hexdigest()


def complete(model: llama_cpp.Llama, prompt: list[int], longest: int) -> list[int]:
    """The greedy continuation without its end token."""
    model.reset()
    out: list[int] = []
    for token in model.generate(prompt, temp=0.0, repeat_penalty=1.0):
        if token < len(SPECIALS) or len(out) == longest:
            break
        out.append(token)
    return out


def test_file_is_small() -> None:
    """The model that every installation carries takes at most 32 MB."""
    assert 1_000_000 < MODEL.stat().st_size <= LARGEST


def test_metadata(model: llama_cpp.Llama) -> None:
    """The file says by itself what it is, how it splits text, and how it wants to be asked."""
    metadata = model.metadata
    assert metadata["general.architecture"] == "llama"
    assert metadata["general.name"] == "botframework-embedded"
    assert metadata["general.license"] == "Apache-2.0"
    assert metadata["tokenizer.ggml.model"] == "gpt2"
    assert metadata["tokenizer.ggml.pre"] == "qwen2"
    assert metadata["botframework.fim.order"] in {"psm", "spm"}
    assert metadata["botframework.fim.typed"] in {"before", "after"}
    assert int(metadata["llama.context_length"]) == 2_048
    assert "<|im_start|>" in metadata["tokenizer.chat_template"]


def test_special_tokens(model: llama_cpp.Llama) -> None:
    """llama.cpp finds the fill-in-the-middle tokens, ends a generation at either end token and adds no BOS."""
    vocab = llama_cpp.llama_model_get_vocab(model.model)
    found = [
        llama_cpp.llama_vocab_eos(vocab),
        llama_cpp.llama_vocab_fim_pre(vocab),
        llama_cpp.llama_vocab_fim_suf(vocab),
        llama_cpp.llama_vocab_fim_mid(vocab),
        llama_cpp.llama_vocab_fim_pad(vocab),
    ]
    assert found == [0, 1, 2, 3, 4]
    assert llama_cpp.llama_vocab_eot(vocab) == 6
    assert all(llama_cpp.llama_vocab_is_eog(vocab, token) for token in (0, 6))
    assert all(llama_cpp.llama_vocab_is_control(vocab, token) for token in range(len(SPECIALS)))
    assert not llama_cpp.llama_vocab_get_add_bos(vocab)
    assert [model.tokenize(text.encode(), add_bos=False, special=True) for text in SPECIALS] == [[i] for i in range(7)]


def test_special_text_stays_text(model: llama_cpp.Llama) -> None:
    """The name of a special token in somebody's source file is text and not the token."""
    ids = tokens(model, "if text == '<|fim_middle|>':\n")
    assert min(ids) >= len(SPECIALS)


@pytest.mark.parametrize("sample", json.loads((HERE / "token_samples.json").read_text()), ids=lambda s: s["about"])
def test_tokens_of_samples(model: llama_cpp.Llama, sample: dict[str, object]) -> None:
    """llama.cpp cuts awkward texts into the very tokens that the trainer's tokenizer cut them into."""
    text = str(sample["text"])
    ids = tokens(model, text)
    assert ids == sample["ids"]
    assert model.detokenize(ids) == text.encode()


def test_tokens_of_heldout_files(model: llama_cpp.Llama) -> None:
    """On every held-out file of the standard library that is here unchanged, llama.cpp's tokens are the trainer's."""
    rows = [line.split("\t") for line in (HERE / "heldout_tokens.tsv").read_text().splitlines()[1:]]
    assert len(rows) > 100
    library = Path(sysconfig.get_paths()["stdlib"])
    compared = 0
    for name, text_digest, count, ids_digest in rows:
        package, _, path = name.partition("/")
        file = library / path
        if package != "cpython" or not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != text_digest:
            continue
        ids = tokens(model, file.read_text(encoding="utf-8"))
        assert (len(ids), digest(ids)) == (int(count), ids_digest), name
        compared += 1
    if not compared:
        pytest.skip("this interpreter's library has none of the held-out files in the recorded version")


def test_completes_a_repeated_line(model: llama_cpp.Llama) -> None:
    """Asked in the order that the file names, the model writes text and stops by itself within a few lines."""
    before = "import os\n\n\ndef first(path):\n    return os.path.join(path, 'a')\n\n\ndef second(path):\n    retu"
    prefix = [1, *tokens(model, before)]
    suffix = [2, *tokens(model, "\n")]
    psm = model.metadata["botframework.fim.order"] == "psm"
    answer = complete(model, [*(prefix + suffix if psm else suffix + prefix), 3], 200)
    assert 0 < len(answer) < 200
    model.detokenize(answer).decode()


def card_rows() -> dict[str, list[float]]:
    """The table of results: by layout, the figures in percent."""
    rows = re.findall(
        r"^\| ([a-z][^|]*?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", CARD.read_text(), re.MULTILINE
    )
    return {name: [float(value) for value in values] for name, *values in rows}


def test_card_figures() -> None:
    """The card has the figures of both orders and of the baseline, over at least 500 holes, all of them percentages."""
    rows = card_rows()
    assert {"prefix, suffix, middle", "suffix first", "baseline"} <= rows.keys()
    assert all(0 <= value <= 100 for values in rows.values() for value in values)
    assert all(values[0] <= values[1] for values in rows.values()), "an exact answer matches in its first four, too"
    holes = re.search(r"over (\d+) single-line holes", CARD.read_text())
    assert holes is not None
    assert int(holes[1]) >= 500
    bits = re.search(r"Bits per byte of held-out text: ([\d.]+)", CARD.read_text())
    assert bits is not None
    assert 0.3 < float(bits[1]) < 3.0


def test_card_is_of_this_file(model: llama_cpp.Llama) -> None:
    """The card speaks of the file beside it: size, order and tokens of training agree, and no token differed."""
    text = CARD.read_text()
    assert f"{MODEL.stat().st_size:,} bytes" in text
    assert f"| Training tokens | {int(model.metadata['botframework.training.tokens']):,} |" in text
    assert f"| Order asked for | `{model.metadata['botframework.fim.order']}`" in text
    assert re.search(r"differ from the trainer's: 0 of \d+", text)
