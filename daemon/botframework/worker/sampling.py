"""Choosing tokens and turning them into text: the sampler chain as a value, whole characters, stop strings.

Nothing here knows llama.cpp. `chain_spec` says which samplers to build and in which order; `worker.llama` builds them.
"""

from __future__ import annotations

import codecs
import functools
import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from botframework.errors import InvalidParams
from botframework.wire.messages import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDEST_TOP_K = 1_000
"""What ``top_k`` 0 means: later filters sort the candidates, and a whole 150k vocabulary costs 10 ms a token."""
COLDEST_TEMPERATURE = 1e-3
"""Anything colder is greedy: candidates 0.01 apart already differ by e^10, and dividing logits by a number near 0 ends
in infinities, whose softmax is NaN."""
RANDOM_SEED = 2**32 - 1
"""llama.cpp reads this seed as "take a random one", so it never stands in a chain."""


@dataclass(frozen=True, slots=True)
class LogitBias:
    """Add to the logits of some tokens."""

    biases: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Penalties:
    """Make tokens that were generated lately less likely."""

    last_n: int
    repeat: float
    frequency: float
    presence: float


@dataclass(frozen=True, slots=True)
class TopK:
    """Keep the k most likely candidates."""

    k: int


@dataclass(frozen=True, slots=True)
class Infill:
    """llama.cpp's infill sampler."""


@dataclass(frozen=True, slots=True)
class TopP:
    """Keep the likeliest candidates whose probabilities sum up to p, at least one."""

    p: float


@dataclass(frozen=True, slots=True)
class MinP:
    """Drop candidates less likely than p times the likeliest one."""

    p: float


@dataclass(frozen=True, slots=True)
class Temperature:
    """Divide the logits; never 0."""

    temperature: float


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw from what is left; the seed is taken literally."""

    seed: int


@dataclass(frozen=True, slots=True)
class Greedy:
    """Take the likeliest."""


SamplerStep = LogitBias | Penalties | TopK | Infill | TopP | MinP | Temperature | Draw | Greedy


def chain_spec(sampling: Sampling) -> tuple[SamplerStep, ...]:
    """The samplers of one request, in the order that `wire.messages.Sampling` documents, without those that do nothing.

    Parameters
    ----------
    sampling
        Values that `validate` has passed.

    Returns
    -------
    steps
        The last one is `Greedy` or `Draw`. Equal requests with a seed give equal chains.
    """
    steps: list[SamplerStep] = []
    biases = tuple(sorted((int(token), float(bias)) for token, bias in sampling.logit_bias.items() if bias != 0.0))
    if biases:
        steps.append(LogitBias(biases))
    strengths = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
    if sampling.penalty_last_n > 0 and strengths != (1.0, 0.0, 0.0):
        steps.append(Penalties(sampling.penalty_last_n, *strengths))
    if sampling.temperature < COLDEST_TEMPERATURE:
        if sampling.infill:
            steps += (TopK(sampling.top_k or WIDEST_TOP_K), Infill())
        steps.append(Greedy())
        return tuple(steps)
    steps.append(TopK(sampling.top_k or WIDEST_TOP_K))
    if sampling.infill:
        steps.append(Infill())
    if sampling.top_p < 1.0:
        steps.append(TopP(sampling.top_p))
    if sampling.min_p > 0.0:
        steps.append(MinP(sampling.min_p))
    if sampling.temperature != 1.0:
        steps.append(Temperature(sampling.temperature))
    steps.append(Draw(_literal_seed(sampling.seed)))
    return tuple(steps)


def _literal_seed(seed: int | None) -> int:
    return secrets.randbelow(RANDOM_SEED) if seed is None else min(seed, RANDOM_SEED - 1)


def validate(sampling: Sampling, n_vocab: int) -> None:
    """Refuse what the wire's own types cannot know or never saw: decoding checks limits, a constructor checks nothing.

    Parameters
    ----------
    sampling
        From the wire or built in Python.
    n_vocab
        Token ids of ``logit_bias`` are below it.

    Raises
    ------
    InvalidParams
        Names the field as a JSON pointer, and its limits.
    """
    for limit in _limits():
        value = getattr(sampling, limit.name)
        if value is not None or not limit.optional:
            limit.check(value, f"/sampling/{limit.wire_name}")
    if not isinstance(sampling.infill, bool):
        raise _invalid("/sampling/infill", "true or false", sampling.infill)
    _validate_bias(sampling.logit_bias, n_vocab)


@dataclass(frozen=True, slots=True)
class _Limit:
    name: str
    wire_name: str
    whole: bool
    optional: bool
    low: float
    high: float

    def check(self, value: object, pointer: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            raise _invalid(pointer, self.describe(), value)
        if not self.low <= value <= self.high:  # false for NaN as well
            raise _invalid(pointer, self.describe(), value)

    def describe(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:g} to {self.high:.10g}"


@functools.cache
def _limits() -> tuple[_Limit, ...]:
    """The numeric fields with the limits that their annotations give, so that no limit is written twice."""
    info = msgspec.inspect.type_info(Sampling)
    limits = []
    for field in info.fields if isinstance(info, msgspec.inspect.StructType) else ():
        kind = field.type
        optional = isinstance(kind, msgspec.inspect.UnionType)
        if isinstance(kind, msgspec.inspect.UnionType):
            kind = next(option for option in kind.types if not isinstance(option, msgspec.inspect.NoneType))
        if isinstance(kind, (msgspec.inspect.IntType, msgspec.inspect.FloatType)):
            limits.append(_limit(field, kind, optional=optional))
    return tuple(limits)


def _limit(
    field: msgspec.inspect.Field, kind: msgspec.inspect.IntType | msgspec.inspect.FloatType, *, optional: bool
) -> _Limit:
    low = -math.inf if kind.ge is None else kind.ge
    high = math.inf if kind.le is None else kind.le
    whole = isinstance(kind, msgspec.inspect.IntType)
    return _Limit(field.name, field.encode_name, whole=whole, optional=optional, low=low, high=high)


_MAX_BIAS = 100.0


def _validate_bias(logit_bias: dict[str, float], n_vocab: int) -> None:
    limit = _Limit("", "", whole=False, optional=False, low=-_MAX_BIAS, high=_MAX_BIAS)
    for token, bias in logit_bias.items():
        pointer = f"/sampling/logitBias/{token}"
        if not (isinstance(token, str) and token.isascii() and token.isdigit() and int(token[:8]) < n_vocab):
            raise _invalid(pointer, f"a token id from 0 to {n_vocab - 1} as the key", token)
        limit.check(bias, pointer)


def _invalid(pointer: str, expected: str, value: Any) -> InvalidParams:
    shown = repr(value)[:40]
    return InvalidParams(f"{pointer} must be {expected}, not {shown}", pointer=pointer, expected=expected)


def logprob(logits: np.ndarray[Any, np.dtype[np.float32]], token: int) -> float:
    """The natural logarithm of a token's probability, before any sampler has changed it; at most 0."""
    best = logits.max()
    shifted = logits - best
    total = float(np.exp(shifted, out=shifted).sum(dtype=np.float64))
    return min(float(logits[token]) - float(best) - math.log(total), 0.0)


class Utf8Stream:
    """Bytes of tokens in, whole characters out; what is not UTF-8 becomes U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes) -> str:
        """The characters that are whole after this piece."""
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """The end: an unfinished character becomes U+FFFD. The stream can be used again."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text


class StopScanner:
    """Finds the first stop string in streamed text, however the text is cut.

    The stop string that is complete first ends the text; of several that are complete with the same character, the
    longest. So the outcome is that of a client that looks at the whole text after every character.

    The scanner is an Aho-Corasick automaton: one step per character, however many and long the stop strings.
    Its state is the longest end of the text that begins some stop string, which is just what must be held back.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._nodes = _automaton(stops)
        self._state = self._nodes[0]
        self._held = ""
        self.matched: str | None = None
        """The stop string that was found."""

    def feed(self, text: str) -> tuple[str, bool]:
        """Look at some more text.

        Parameters
        ----------
        text
            The next characters; ignored once a stop string was found.

        Returns
        -------
        emit
            Text that is certainly before any stop string.
        stopped
            Whether a stop string was found.
        """
        if self.matched is not None:
            return "", True
        if len(self._nodes) == 1:
            return text, False
        root, state = self._nodes[0], self._state
        held = self._held + text
        for at, char in enumerate(text, start=len(self._held) + 1):
            while (following := state.edges.get(char)) is None and state is not root:
                state = state.fallback
            state = root if following is None else following
            if state.match:
                self.matched, self._held = state.match, ""
                return held[: at - len(state.match)], True
        self._state = state
        keep_from = len(held) - state.depth
        self._held = held[keep_from:]
        return held[:keep_from], False

    def flush(self) -> str:
        """The end of the text: what was held back is no stop string after all."""
        held, self._held, self._state = self._held, "", self._nodes[0]
        return held


class _Node:
    __slots__ = ("depth", "edges", "fallback", "match")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.edges: dict[str, _Node] = {}
        self.fallback = self
        self.match = ""


def _automaton(stops: Iterable[str]) -> list[_Node]:
    root = _Node(0)
    nodes = [root]
    for stop in stops:
        node = root
        for char in stop:
            if char not in node.edges:
                node.edges[char] = _Node(node.depth + 1)
                nodes.append(node.edges[char])
            node = node.edges[char]
        if node is not root:  # an empty string would stop everything; the wire refuses it
            node.match = stop
    for node in root.edges.values():
        node.fallback = root
    for node in sorted(nodes, key=lambda node: node.depth):  # a fallback is always shallower, so it is complete
        for char, child in node.edges.items():
            if node is not root:
                child.fallback = _step(node.fallback, char, root)
        node.match = node.match or node.fallback.match
    return nodes


def _step(node: _Node, char: str, root: _Node) -> _Node:
    while char not in node.edges and node is not root:
        node = node.fallback
    return node.edges.get(char, root)
