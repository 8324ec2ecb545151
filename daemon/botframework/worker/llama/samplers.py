"""llama.cpp's samplers: how a request chooses its tokens from the logits."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as lib
import numpy as np

from botframework.errors import BotframeworkError
from botframework.worker import sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botframework.worker.llama.vocab import Vocab
    from botframework.worker.sampling import SamplerStep

_CANDIDATE = np.dtype([("id", "=i4"), ("logit", "=f4"), ("p", "=f4")])
"""llama_token_data."""


class SamplerChain:
    """How one request chooses its tokens; frees itself."""

    def __init__(self, vocab: Vocab, steps: Sequence[SamplerStep]) -> None:
        self._size = vocab.size
        self._is_greedy = tuple(steps) == (sampling.Greedy(),)
        self.pointer = _make_chain(vocab, steps)
        # The infill rule may answer with an end-of-generation token that is no candidate, or, in a vocabulary that has
        # none, end the process. Where the candidates are limited there is nothing to end.
        bounded = [step for step in steps if not isinstance(step, sampling.Infill)]
        self._bounded = _make_chain(vocab, bounded) if len(bounded) < len(steps) else None

    def choose(
        self, logits: np.ndarray[Any, np.dtype[np.float32]], allowed: np.ndarray[Any, np.dtype[np.int32]] | None = None
    ) -> int:
        """Choose the next token from logits, which are left as they are, and tell the chain about it.

        Parameters
        ----------
        logits
            Of the whole vocabulary, as `Context.logits` gives them.
        allowed
            The only tokens to choose from, at least one. The infill rule is left out then, or it would answer with a
            token that is not among them.

        Returns
        -------
        token
            What `Context.sample` would choose, without ``allowed``.

        Raises
        ------
        ValueError
            The logits are of another vocabulary, or ``allowed`` is empty or holds what is no token.
        """
        if logits.shape != (self._size,):
            raise ValueError(f"{logits.shape} logits for a vocabulary of {self._size}")
        if self._is_greedy and allowed is None:
            # No list of candidates where only the largest is looked for: a third of a millisecond for 150k tokens.
            token = int(logits.argmax())
            if not np.isnan(logits[token]):  # the two would differ about what is not a number
                return token
        pointer = self.pointer
        if allowed is None:
            candidates = np.empty(self._size, dtype=_CANDIDATE)
            candidates["id"] = np.arange(self._size, dtype=np.int32)
            candidates["logit"] = logits
        else:
            if not len(allowed) or allowed.min() < 0 or allowed.max() >= self._size:
                raise ValueError(f"{len(allowed)} tokens to choose from, in a vocabulary of {self._size}")
            pointer = self._bounded or self.pointer
            candidates = np.empty(len(allowed), dtype=_CANDIDATE)
            candidates["id"] = allowed
            candidates["logit"] = logits[allowed]
        candidates["p"] = 0.0
        data = ctypes.cast(candidates.ctypes.data, lib.llama_token_data_p)
        array = lib.llama_token_data_array(data, len(candidates), -1, False)
        lib.llama_sampler_apply(pointer, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise BotframeworkError(f"the samplers left none of {len(candidates)} candidates")
        token = int(array.data[array.selected].id)
        for chain in (self.pointer, self._bounded):
            if chain:
                lib.llama_sampler_accept(chain, token)
        return token

    def __del__(self) -> None:
        for name in ("pointer", "_bounded"):
            pointer = getattr(self, name, None)
            setattr(self, name, None)
            if pointer:
                lib.llama_sampler_free(pointer)


def _make_chain(vocab: Vocab, steps: Sequence[SamplerStep]) -> Any:
    params = lib.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = lib.llama_sampler_chain_init(params)
    if not chain:
        raise MemoryError("no memory for a sampler chain")
    for step in steps:
        sampler = _make_sampler(vocab, step)
        if not sampler:
            lib.llama_sampler_free(chain)
            raise ValueError(f"llama.cpp refused the sampler {step}")
        lib.llama_sampler_chain_add(chain, sampler)
    return chain


def _make_sampler(vocab: Vocab, step: SamplerStep) -> Any:  # noqa: PLR0911 - one line per kind of step
    match step:
        case sampling.LogitBias(biases):
            entries = (lib.llama_logit_bias * len(biases))(*(lib.llama_logit_bias(*entry) for entry in biases))
            return lib.llama_sampler_init_logit_bias(vocab.size, len(biases), entries)
        case sampling.Penalties(last_n, repeat, frequency, presence):
            return lib.llama_sampler_init_penalties(vocab.size, last_n, repeat, frequency, presence)
        case sampling.TopK(k):
            return lib.llama_sampler_init_top_k(k)
        case sampling.Infill():
            return lib.llama_sampler_init_infill(vocab.pointer)
        case sampling.TopP(p):
            return lib.llama_sampler_init_top_p(p, 1)
        case sampling.MinP(p):
            return lib.llama_sampler_init_min_p(p, 1)
        case sampling.Temperature(temperature):
            return lib.llama_sampler_init_temp(temperature)
        case sampling.Draw(seed):
            return lib.llama_sampler_init_dist(seed)
        case sampling.Greedy():
            return lib.llama_sampler_init_greedy()
