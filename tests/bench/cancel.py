"""(d) A cancel inside a 2,000-token prompt: how soon the engine is free again, and what it keeps of the prompt."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from bench.attached import attached
from bench.report import Report, Row, quantile, spread
from botframework.wire.messages import FimRequest

if TYPE_CHECKING:
    from bench.setting import Setting

FREE_MS = 15.0
PROMPT_TOKENS = 2_000
WORDS_PER_LINE = 10


def long_prefix(seed: int) -> str:
    """A text of more tokens than the prompt may have, new for every run so that no cache helps."""
    source = random.Random(seed)
    lines = (" ".join(f"{source.randrange(10_000)}" for _ in range(WORDS_PER_LINE)) for _ in range(PROMPT_TOKENS // 10))
    return "\n".join(lines)


async def measure_async(setting: Setting) -> Report:
    """The worker says ``cancelled`` from its computing thread, after llama_decode has returned: then it is free."""
    waits: list[float] = []
    kept = read = 0
    source = random.Random(7)
    async with attached(setting.model) as (supervisor, loaded):
        prefill_s = min(PROMPT_TOKENS, loaded.n_ctx_fim * 3 // 4) / loaded.prefill_tokens_per_s
        for number in range(setting.times(150)):
            name = f"bench {number}"
            request = FimRequest(
                id=0, session=name, prefix=long_prefix(number), suffix="", max_tokens=8, priority="completion"
            )
            generation = supervisor.submit(request)
            # Somewhere inside the prompt: the moment is the thing that is varied here, nothing is waited for.
            await asyncio.sleep(prefill_s * source.uniform(0.02, 0.3))
            started = time.perf_counter()
            generation.cancel()
            done = await generation.result()
            if done.finish_reason == "cancelled" and not done.usage.completion_tokens:
                waits.append((time.perf_counter() - started) * 1000)
                read += done.usage.evaluated_tokens
                kept += sum(each.tokens for each in await supervisor.sessions() if each.session == name)
            await supervisor.close_session(name)
    micro_batch_ms = 64 / loaded.prefill_tokens_per_s * 1000
    p99 = quantile(waits, 0.99)
    rows = [
        Row(
            f"cancel to engine free, p99 of {len(waits)}",
            f"{p99:.1f} ms",
            f"{micro_batch_ms:.1f} ms",
            p99 / micro_batch_ms,
            f"<= {FREE_MS:.0f} ms (quiet machine)",
            p99 <= FREE_MS,
        ),
        Row(
            "prompt tokens of finished micro-batches that are kept", f"{kept} of {read}", "", None, "all", kept >= read
        ),
        Row("cancel to engine free, middle", spread(waits), f"{micro_batch_ms:.1f} ms"),
    ]
    return Report("d", "cancel inside the prompt", "one micro-batch of 64 tokens", rows, setting.model_name)


def measure(setting: Setting) -> Report:
    """Run it."""
    return asyncio.run(measure_async(setting))
