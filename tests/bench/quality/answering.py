"""Many prompts of one place at once: what they have in common is read once, and they are answered side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.worker.healing import Healing
from botframework.worker.llama import Context, DecodeStatus, SamplerChain
from botframework.worker.sampling import Greedy
from botframework.worker.sessions import common_beginning

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bench.quality.layouts import Question
    from botframework.worker.healing import VocabularyIndex
    from botframework.worker.llama import Model

FIRST_CHARACTERS = 4
"""Behind the blanks with which a missing text begins, and these must be the same too."""
LONGEST_ANSWER = 96
"""Tokens; no line that is asked for has more that the model could get right."""
SEQUENCES = 192
CELLS = 16_384
MICRO_BATCH = 256


@dataclass(frozen=True, slots=True)
class Score:
    """How one answer compares with the file's real text."""

    exact: bool
    first: bool


class Judge:
    """Follows one answer only as far as it can still change the score."""

    def __init__(self, expected: str) -> None:
        self._expected = expected.encode()
        blanks = len(expected) - len(expected.lstrip())
        self._first = len(expected[: blanks + FIRST_CHARACTERS].encode())
        self._said = bytearray()

    def hear(self, piece: bytes) -> Score | None:
        """What the answer goes on with; the score as soon as it is certain."""
        self._said += piece
        if self._expected.startswith(self._said):
            return None
        common = common_beginning(self._said, self._expected)
        if common < len(self._expected):
            return Score(exact=False, first=common >= self._first)
        beyond = bytes(self._said[common:])
        if b"\n" in beyond:
            return Score(exact=not beyond.split(b"\n")[0].strip(), first=True)
        return Score(exact=False, first=True) if beyond.strip() else None

    def end(self) -> Score:
        """The answer is over."""
        said = bytes(self._said).rstrip()
        return Score(exact=said == self._expected, first=len(said) >= self._first)


@dataclass(slots=True)
class _Answer:
    sequence: int
    position: int
    healing: Healing
    judge: Judge
    logits: NDArray[np.float32]
    token: int = -1
    score: Score | None = None


class Answerer:
    """A context for answering many questions about one place."""

    def __init__(self, model: Model, index: VocabularyIndex, *, n_threads: int) -> None:
        self._index = index
        self._vocab = model.vocab
        self._chain = SamplerChain(model.vocab, (Greedy(),))
        self._context = Context(
            model,
            n_ctx=CELLS,
            n_seq=SEQUENCES,
            n_ubatch=MICRO_BATCH,
            n_threads=n_threads,
            # Many short sequences over the same cells: without it they are answered twice as fast.
            flash_attn=False,
            kv_type="f16",
        )
        self.read = 0
        """Prompt tokens evaluated."""

    def scores(self, asked: Sequence[tuple[Question, str]]) -> list[Score]:
        """Answer questions greedily, each beside the text that is expected."""
        scores: dict[tuple[Question, str], Score] = {}
        distinct = sorted(set(asked), key=lambda pair: pair[0].prompt)
        while distinct:
            # Neighbours have the most in common. What has nothing in common would only fill the cells.
            group = [distinct.pop(0)]
            while distinct and len(group) < SEQUENCES and distinct[0][0].prompt[0] == group[0][0].prompt[0]:
                group.append(distinct.pop(0))
            scores |= zip(group, self._answer(group), strict=True)
        return [scores[pair] for pair in asked]

    def _answer(self, group: Sequence[tuple[Question, str]]) -> list[Score]:
        answers: list[_Answer] = []
        before: tuple[int, ...] = ()
        for number, (question, expected) in enumerate(group):
            if question.prompt == before:
                self._context.copy(number - 1, number, len(before))
                logits = answers[-1].logits
            else:
                logits = self._read(number, question.prompt, common_beginning(before, question.prompt))
            before = question.prompt
            healing = Healing(self._index, question.held)
            answers.append(_Answer(number, len(before), healing, Judge(expected), logits))
        for _ in range(LONGEST_ANSWER):
            going = [answer for answer in answers if answer.score is None]
            for answer in going:
                self._choose(answer)
            going = [answer for answer in going if answer.score is None]
            if not going:
                break
            _done(self._context.decode_rows([(one.sequence, one.position, one.token) for one in going]))
            for row, answer in enumerate(going):
                answer.logits = self._context.logits(row)
                answer.position += 1
        for answer in answers:
            self._context.forget(answer.sequence)
        return [answer.score or answer.judge.end() for answer in answers]

    def _read(self, sequence: int, prompt: tuple[int, ...], common: int) -> NDArray[np.float32]:
        if common:
            self._context.copy(sequence - 1, sequence, common)
        for start in range(common, len(prompt), MICRO_BATCH):
            part = prompt[start : start + MICRO_BATCH]
            is_last = start + len(part) == len(prompt)
            _done(self._context.decode_chunk(sequence, start, part, output=is_last))
        self.read += len(prompt) - common
        return self._context.logits((len(prompt) - common - 1) % MICRO_BATCH)

    def _choose(self, answer: _Answer) -> None:
        if not answer.healing.is_done:
            answer.token = self._chain.choose(answer.logits, answer.healing.candidates())
            added = answer.healing.take(answer.token)
            answer.score = answer.judge.hear(added) if added else None
            return
        answer.token = self._chain.choose(answer.logits)
        if self._vocab.is_eog(answer.token):
            answer.score = answer.judge.end()
        else:
            # A special token adds nothing that could be right, and nothing that could be wrong: it ends the answer.
            piece = self._index.piece(answer.token)
            answer.score = answer.judge.hear(piece) if piece else answer.judge.end()


def _done(status: DecodeStatus) -> None:
    if status is not DecodeStatus.DONE:
        raise RuntimeError(f"llama_decode: {status.name}")
