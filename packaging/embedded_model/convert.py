"""Write a checkpoint and its tokenizer as a GGUF file: matrices in Q8_0, norms in F32, llama.cpp's ``llama`` names.

Run it so::

    python convert.py --work DIR --out model.gguf [--order psm|spm] [--typed before|after]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np
import torch
from model import Config
from tokenizer import EOT, IM_END, MID, PAD, PRE, SPECIALS, SUF

if TYPE_CHECKING:
    from collections.abc import Iterable

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' "
    "+ message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LAYER_NAMES = {
    "attention_norm": "attn_norm",
    "attention.q": "attn_q",
    "attention.k": "attn_k",
    "attention.v": "attn_v",
    "attention.o": "attn_output",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
TOP_NAMES = {"embedding": "token_embd", "norm": "output_norm", "output": "output"}


def gguf_name(name: str) -> str:
    """The GGUF name of a parameter of the trained model."""
    stem, _ = name.rsplit(".", 1)
    if stem in TOP_NAMES:
        return f"{TOP_NAMES[stem]}.weight"
    _, layer, rest = stem.split(".", 2)
    return f"blk.{layer}.{LAYER_NAMES[rest]}.weight"


def add_tokenizer(writer: gguf.GGUFWriter, path: Path) -> None:
    """Tokens, merges and the ids with a meaning."""
    model = json.loads(path.read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in SPECIALS else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    writer.add_bos_token_id(EOT)
    writer.add_eos_token_id(EOT)
    writer.add_eot_token_id(IM_END)
    writer.add_pad_token_id(PAD)
    for name, token in (("pre", PRE), ("suf", SUF), ("mid", MID), ("pad", PAD)):
        writer.add_uint32(f"tokenizer.ggml.fim_{name}_token_id", token)
    writer.add_chat_template(CHAT_TEMPLATE)


def describe(writer: gguf.GGUFWriter, config: Config, order: str, typed: str, tokens: int) -> None:
    """What the file is and how it wants to be asked: which order, and where the typed part of the line goes."""
    writer.add_name("botframework-embedded")
    writer.add_author("botframework")
    writer.add_description("Small fill-in-the-middle model for Python, trained from scratch by botframework")
    writer.add_license("Apache-2.0")
    writer.add_languages(["en"])
    writer.add_tags(["code", "python", "fill-in-the-middle"])
    writer.add_string("botframework.fim.order", order)
    writer.add_string("botframework.fim.typed", typed)
    writer.add_uint64("botframework.training.tokens", tokens)
    writer.add_vocab_size(config.vocabulary)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.epsilon)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.theta)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def convert(checkpoint: Path, tokenizer: Path, out: Path, order: str, typed: str) -> None:
    """Write the file whole or not at all."""
    state = torch.load(checkpoint, weights_only=True)
    temporary = out.with_suffix(".tmp")
    writer = gguf.GGUFWriter(temporary, "llama")
    describe(writer, Config(**state["config"]), order, typed, state["progress"]["tokens"])
    add_tokenizer(writer, tokenizer)
    for name, tensor in state["model"].items():
        array = tensor.float().numpy()
        if array.ndim == 2:
            quantized = gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(gguf_name(name), quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(gguf_name(name), array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.replace(out)
    print(f"{out}: {out.stat().st_size} bytes, {state['progress']['tokens']} tokens of training")


def read_gguf(path: Path, names: Iterable[str]) -> tuple[dict[str, torch.Tensor], int]:
    """What ``convert`` wrote, as far as the file still has it: dequantised weights, and the tokens trained on."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    weights: dict[str, torch.Tensor] = {}
    for name in names:
        tensor = tensors[gguf_name(name)]
        weights[name] = torch.from_numpy(np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type)))
    return weights, int(reader.fields["botframework.training.tokens"].contents())


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--order", choices=["psm", "spm"], default="spm")
    parser.add_argument(
        "--typed",
        choices=["before", "after"],
        default="after",
        help="typed part of the line before or after the middle token",
    )
    parser.add_argument("--name", default="checkpoint")
    arguments = parser.parse_args()
    checkpoint, tokenizer = arguments.work / f"{arguments.name}.pt", arguments.work / "tokenizer.json"
    convert(checkpoint, tokenizer, arguments.out, arguments.order, arguments.typed)


if __name__ == "__main__":
    main()
