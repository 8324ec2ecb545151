"""The network: a small Llama, written so that its weights go into a GGUF file as they are.

llama.cpp's ``llama`` architecture rotates neighbouring pairs of channels, and so does this model; no weight has to be
permuted on conversion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(slots=True)
class Config:
    """The shape of the model."""

    vocabulary: int = 2_048
    layers: int = 4
    width: int = 256
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 704
    context: int = 2_048
    theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads


def rotations(config: Config) -> tuple[Tensor, Tensor]:
    """Cosines and sines for every position and channel pair."""
    half = config.head_width // 2
    frequencies = config.theta ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(config.context, dtype=torch.float64), frequencies)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate channels (2i, 2i+1) of (batch, heads, length, channels)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


SHORT, BLOCKS = 320, 4
"""Beyond this length attention is computed in so many blocks of queries, each over the keys up to its end only.

Plain matrix products, because the fused kernel's backward pass is slow on a CPU.
"""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention written out."""
    length = q.shape[-2]
    blocks = 1 if length <= SHORT else BLOCKS
    ends = [length * (i + 1) // blocks for i in range(blocks)]
    queries, keys, values = q.flatten(0, 1) * q.shape[-1] ** -0.5, k.flatten(0, 1), v.flatten(0, 1)
    parts = []
    for start, end in zip([0, *ends], ends, strict=False):
        mask = torch.full((end - start, end), float("-inf"), dtype=q.dtype).triu(start + 1)
        scores = torch.baddbmm(mask, queries[:, start:end], keys[:, :end].transpose(1, 2))
        parts.append(torch.bmm(scores.softmax(-1).to(v.dtype), values[:, :end]))
    return torch.cat(parts, 1).view_as(q)


class Attention(nn.Module):
    """Causal self-attention with fewer key heads than query heads."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        inner = config.kv_heads * config.head_width
        self.q = nn.Linear(config.width, config.width, bias=False)
        self.k = nn.Linear(config.width, inner, bias=False)
        self.v = nn.Linear(config.width, inner, bias=False)
        self.o = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Mix each position with those before it."""
        batch, length, width = x.shape
        c = self.config
        q = self.q(x).view(batch, length, c.heads, c.head_width).transpose(1, 2)
        k = self.k(x).view(batch, length, c.kv_heads, c.head_width).transpose(1, 2)
        v = self.v(x).view(batch, length, c.kv_heads, c.head_width).transpose(1, 2)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        repeat = c.heads // c.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        return self.o(attend(q, k, v).transpose(1, 2).reshape(batch, length, width))


class Layer(nn.Module):
    """Attention and a gated feed-forward, each behind a norm and added to the stream."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, config.epsilon)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.width, config.epsilon)
        self.gate = nn.Linear(config.width, config.hidden, bias=False)
        self.up = nn.Linear(config.width, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """One layer."""
        x = x + self.attention(self.attention_norm(x), cos, sin)
        h = self.ffn_norm(x)
        return x + self.down(functional.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    """Token embedding, layers, norm, output matrix (not tied: it costs little at this vocabulary)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, config.epsilon)
        self.output = nn.Linear(config.width, config.vocabulary, bias=False)
        cos, sin = rotations(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                deep = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / ((2 * config.layers) ** 0.5 if deep else 1))
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits for every position of (batch, length)."""
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.output(self.norm(x))
