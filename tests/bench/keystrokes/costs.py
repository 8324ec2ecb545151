"""What sessions cost, key by key: the rows of the table.

Times are the median of the runs' own figures. Numbers of tokens hardly differ between runs, and some kinds of key are
rare, so those are taken over all runs at once.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report import Row, quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from bench.keystrokes.replay import Answer

TYPING = frozenset({"typing"})
EDITING = frozenset({"autoClose", "newline", "delete"})
JUMP = frozenset({"jump"})
SWITCH = frozenset({"switch"})
RARE = frozenset({"paste", "undo"})
OPEN = frozenset({"open"})

TYPING_P50, TYPING_P95 = 1, 3
EDITING_P95 = 4
SWITCH_P95 = 16
ALL_MEAN = 15.0
FIRST_P50, FIRST_P95 = 1 / 30, 1 / 15
JUMP_P50 = 0.5
BARE_P50 = 1.25
LINE_P50 = 1 / 3
MEMORY = 1.1


@dataclass(frozen=True, slots=True)
class Run:
    """One session, played three times."""

    complete: Sequence[Answer]
    """Twelve tokens at every key, streamed."""
    inline: Sequence[Answer]
    """As an editor asks."""
    peer: Sequence[Answer]
    """Empty if there is no peer."""
    bare_ms: Sequence[float]
    """What llama.cpp alone needs for each answer of `complete`; 0: nothing had to be computed."""
    worker_rss: int
    peer_rss: int


def of_kind(answers: Sequence[Answer], kinds: Collection[str]) -> list[Answer]:
    """The keys of some kinds."""
    return [answer for answer in answers if answer.kind in kinds]


def rows(runs: Sequence[Run], line_tokens: int) -> list[Row]:
    """The whole table."""
    return [*token_rows(runs), *time_rows(runs), *line_rows(runs, line_tokens), *memory_rows(runs)]


# --- tokens -----------------------------------------------------------------------------------------------------------


def token_rows(runs: Sequence[Run]) -> list[Row]:
    """Prompt tokens per key."""

    def row(
        name: str, kinds: Collection[str], promise: str = "", kept: Callable[[list[int]], bool] | None = None
    ) -> Row:
        ours = [answer.evaluated for run in runs for answer in of_kind(run.inline, kinds)]
        peer = [answer.evaluated for run in runs for answer in of_kind(run.peer, kinds)]
        ratio = statistics.mean(ours) / statistics.mean(peer) if ours and peer and any(peer) else None
        verdict = kept(ours) if kept is not None and ours else None
        return Row(f"prompt tokens of a key: {name} ({len(ours)})", counts(ours), counts(peer), ratio, promise, verdict)

    def typing_is_cheap(values: list[int]) -> bool:
        return quantile(values, 0.5) <= TYPING_P50 and quantile(values, 0.95) <= TYPING_P95

    return [
        row("typing", TYPING, f"p50 <= {TYPING_P50}, p95 <= {TYPING_P95}", typing_is_cheap),
        row(
            "auto-close, newline, delete",
            EDITING,
            f"p95 <= {EDITING_P95}",
            lambda values: quantile(values, 0.95) <= EDITING_P95,
        ),
        row("back to another file", SWITCH, f"p95 <= {SWITCH_P95}", lambda v: quantile(v, 0.95) <= SWITCH_P95),
        row("first after a jump", JUMP),
        row("paste, undo", RARE),
        row("first in a newly opened file", OPEN),
        all_tokens(runs),
    ]


def counts(values: Sequence[int]) -> str:
    """Quantiles of numbers of tokens."""
    if not values:
        return ""
    text = f"p50 {quantile(values, 0.5):.0f}, p95 {quantile(values, 0.95):.0f}"
    return f"{text}, mean {statistics.mean(values):.1f}"


def all_tokens(runs: Sequence[Run]) -> Row:
    """Everything that was read after the files were opened, whoever asked for it."""
    ours = [answer for run in runs for answer in run.inline if answer.kind not in OPEN]
    peer = [answer.evaluated for run in runs for answer in run.peer if answer.kind not in OPEN]
    foreground = statistics.mean(answer.evaluated for answer in ours)
    background = statistics.mean(answer.background for answer in ours)
    total = foreground + background
    return Row(
        "all prompt tokens per key, files opened before",
        f"mean {total:.1f} ({background:.1f} in the background)",
        f"mean {statistics.mean(peer):.1f}" if peer else "",
        total / statistics.mean(peer) if peer else None,
        f"mean <= {ALL_MEAN:.0f}",
        total <= ALL_MEAN,
    )


# --- times ------------------------------------------------------------------------------------------------------------


def time_rows(runs: Sequence[Run]) -> list[Row]:
    """Milliseconds to the first token."""
    return [
        beside("first token, typing, p50", runs, TYPING, 0.5, limit=FIRST_P50, promise="1/30"),
        beside("first token, typing, p95", runs, TYPING, 0.95, limit=FIRST_P95, promise="1/15"),
        beside("first token, auto-close, newline, delete, p50", runs, EDITING, 0.5),
        beside("first token, auto-close, newline, delete, p95", runs, EDITING, 0.95),
        beside("first token after a jump, p50", runs, JUMP, 0.5, limit=JUMP_P50),
        beside("first token back in another file, p50", runs, SWITCH, 0.5),
        beside("first token in a newly opened file, p50", runs, OPEN, 0.5),
        bare_row(runs),
        Row(
            "length of the prompt, typing",
            counts([answer.prompt for run in runs for answer in of_kind(run.complete, TYPING)]),
            counts([answer.prompt for run in runs for answer in of_kind(run.peer, TYPING)]),
        ),
    ]


def beside(
    name: str,
    runs: Sequence[Run],
    kinds: Collection[str],
    share: float,
    *,
    limit: float | None = None,
    promise: str = "",
) -> Row:
    """A quantile of the time to the first token beside the peer's."""
    ours = [quantile(each, share) for run in runs if (each := [a.first_ms for a in of_kind(run.complete, kinds)])]
    peer = [quantile(each, share) for run in runs if (each := [a.first_ms for a in of_kind(run.peer, kinds)])]
    if not ours:
        return Row(name, "no such key")
    ratio = statistics.median(ours) / statistics.median(peer) if peer else None
    return Row(
        name,
        milliseconds(ours),
        milliseconds(peer),
        ratio,
        f"<= {promise or limit}" if limit else "",
        None if limit is None or ratio is None else ratio <= limit,
    )


def milliseconds(values: Sequence[float]) -> str:
    """The median of the runs, and how far they lie apart."""
    if not values:
        return ""
    text = f"{statistics.median(values):.1f} ms"
    return text if len(values) == 1 else f"{text}  ({min(values):.1f} to {max(values):.1f})"


def bare_row(runs: Sequence[Run]) -> Row:
    """Beside llama_decode and sampling alone, over the keys at which something had to be computed."""
    ours, bare = [], []
    for run in runs:
        pairs = [
            (answer.first_ms, needed)
            for answer, needed in zip(run.complete, run.bare_ms, strict=True)
            if needed and answer.kind in TYPING | EDITING
        ]
        if pairs:
            ours.append(statistics.median(first for first, _ in pairs))
            bare.append(statistics.median(needed for _, needed in pairs))
    if not ours:
        return Row("first token beside the bare llama.cpp calls", "no such key")
    ratio = statistics.median(mine / needed for mine, needed in zip(ours, bare, strict=True))
    return Row(
        "first token beside the bare llama.cpp calls it needs, p50",
        f"{milliseconds(ours)}; bare {milliseconds(bare)}",
        "",
        ratio,
        f"<= {BARE_P50}",
        ratio <= BARE_P50,
    )


def line_rows(runs: Sequence[Run], line_tokens: int) -> list[Row]:
    """A whole line in the client; only answers that have all of its tokens count."""
    kinds = TYPING | EDITING

    def whole(answers: Sequence[Answer]) -> list[float]:
        return [answer.total_ms for answer in of_kind(answers, kinds) if answer.generated == line_tokens]

    ours = [statistics.median(each) for run in runs if (each := whole(run.complete))]
    peer = [statistics.median(each) for run in runs if (each := whole(run.peer))]
    name = f"a line of {line_tokens} tokens, end to end, p50"
    if not ours:
        return [Row(name, "no such answer")]
    ratio = statistics.median(ours) / statistics.median(peer) if peer else None
    kept = None if ratio is None else ratio <= LINE_P50
    shown = [answer for run in runs for answer in of_kind(run.inline, kinds)]
    inline = [statistics.median(answer.total_ms for answer in of_kind(run.inline, kinds)) for run in runs]
    share = sum(answer.is_shown for answer in shown) / len(shown)
    tokens = statistics.mean(answer.generated for answer in shown)
    return [
        Row(name, milliseconds(ours), milliseconds(peer), ratio, "<= 1/3", kept),
        Row(
            "inlineCompletion as an editor sees it, p50",
            f"{milliseconds(inline)}; {share:.0%} shown, {tokens:.1f} tokens generated per key",
        ),
    ]


def memory_rows(runs: Sequence[Run]) -> list[Row]:
    """Resident memory after the session."""
    ours = statistics.median(run.worker_rss for run in runs)
    peer = statistics.median(run.peer_rss for run in runs)
    if not peer:
        return [Row("worker's memory after the session", f"{ours / 2**20:.0f} MiB")]
    ratio = ours / peer
    return [
        Row(
            "worker's memory after the session",
            f"{ours / 2**20:.0f} MiB",
            f"{peer / 2**20:.0f} MiB",
            ratio,
            f"<= {MEMORY}",
            ratio <= MEMORY,
        )
    ]
