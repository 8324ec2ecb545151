"""From the logits behind a job's last token to the next one: sampling, and healing before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botframework.worker import sampling

if TYPE_CHECKING:
    from botframework.worker.llama import Context
    from botframework.worker.requests import Job


@dataclass(frozen=True, slots=True)
class Choice:
    """A token and what it adds to the answer."""

    token: int
    added: bytes | None
    """None: all of its bytes. For a token that healed the user's last word, the rest of it."""
    repeats: bool = False
    """It only says again what the user typed: it is read as a part of the prompt."""
    logprob: float = 0.0


def choose(job: Job, context: Context, row: int | None) -> Choice | None:
    """Choose what comes next.

    Parameters
    ----------
    job
        Has a sequence and a sampler chain.
    context
        Of the last call.
    row
        Of the logits in it; None: they are remembered from an earlier request at the same place.

    Returns
    -------
    choice
        None if nothing was asked for but to read the prompt.
    """
    sequence, chain, healing = job.sequence, job.chain, job.healing
    assert sequence is not None and chain is not None  # noqa: S101, PT018
    if not job.is_fim:
        assert row is not None  # noqa: S101 - only completions remember logits
        return Choice(context.sample(chain, row), None)
    logits = sequence.logits[len(sequence.tokens)] if row is None else context.logits(row)
    is_healing = healing is not None and not healing.is_done
    is_guess = job.yields and job.max_tokens > 0
    if row is not None and not is_guess and (job.generated == 0 or is_healing):
        sequence.remember_logits(logits)  # The next key may ask here again.
    if job.max_tokens == 0:
        return None
    if healing is None or not is_healing:
        token = chain.choose(logits)
        return Choice(token, None, logprob=sampling.logprob(logits, token))
    token = chain.choose(logits, healing.candidates())
    added = healing.take(token)
    return Choice(token, added, repeats=not added, logprob=sampling.logprob(logits, token))
