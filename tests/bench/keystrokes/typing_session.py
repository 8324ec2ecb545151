"""(g) What a key costs in a whole editing session, beside llama-server as llama.vscode uses it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from rich.console import Console

from bench.keystrokes import costs, llama_server, plot
from bench.keystrokes.bare_calls import measuring
from bench.keystrokes.costs import Run
from bench.keystrokes.replay import LINE_TOKENS, Desk, replay_complete, replay_inline, replay_peer
from bench.keystrokes.trace import make_trace
from bench.report import Report
from bench.setting import CACHE, running
from botframework.process import rss_bytes
from support.llama_sdist import OfflineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.keystrokes.replay import Answer
    from bench.keystrokes.trace import Trace
    from bench.setting import Setting

KEYS = 240
QUICK_KEYS = 40
SEEDS = (1, 2, 3)
PLOT = CACHE / "typing.png"


def new_root() -> str:
    """A workspace that no run before has left snapshots of."""
    return f"file:///bench/{uuid.uuid4().hex}"


def find_peer(say: Callable[[str], None]) -> Path | None:
    """The peer's executable; None, and why, if there can be none."""
    try:
        return llama_server.build(CACHE, say)
    except (OfflineError, llama_server.PeerError) as error:
        say(f"[yellow]no peer: {error}[/]")
        return None


def play_complete(trace: Trace, model: Path) -> tuple[list[Answer], int, dict[str, int]]:
    """The answers, the worker's memory afterwards, and how it was set up."""
    root = new_root()
    with running("--model", str(model), root_uri=root) as (editor, ready):
        answers = replay_complete(trace, Desk(editor, trace, root))
        rss = editor.request("botframework/status")["workerRss"]
        editor.request("botframework/sessions/clear")
    return answers, rss, {"n_threads": ready["nThreads"], "n_ctx": ready["nCtxFim"]}


def play_inline(trace: Trace, model: Path) -> list[Answer]:
    """The answers to an editor that asks with default settings."""
    root = new_root()
    more = ("--model", str(model), "--set", f"completion.maxTokens={LINE_TOKENS}")
    with running(*more, root_uri=root) as (editor, _):
        answers = replay_inline(trace, Desk(editor, trace, root))
        editor.request("botframework/sessions/clear")
    return answers


def play_peer(trace: Trace, model: Path, executable: Path | None, setup: dict[str, int]) -> tuple[list[Answer], int]:
    """The peer's answers and its memory afterwards."""
    if executable is None:
        return [], 0
    with llama_server.serving(executable, model, **setup) as server:
        return replay_peer(trace, server), rss_bytes(server.process.pid)


def bare_times(answers: Sequence[Answer], model: Path, setup: dict[str, int]) -> list[float]:
    """For each answer the time of the llama.cpp calls that it needed until its first token."""
    with measuring(model, setup["n_threads"], setup["n_ctx"]) as ask:
        return [
            (ask(answer.prompt - answer.evaluated, answer.evaluated) if answer.evaluated else 0.0)
            + (answer.first_index * ask(answer.prompt, 1) if answer.first_index else 0.0)
            for answer in answers
        ]


def measure(setting: Setting) -> Report:
    """Every session in turn: ours twice, the peer, the bare calls. Only one of them computes at a time."""
    console = Console()
    executable = find_peer(console.print)
    seeds = SEEDS[:1] if setting.quick else SEEDS
    n_keys = QUICK_KEYS if setting.quick else KEYS
    runs: list[Run] = []
    setup: dict[str, int] = {}
    for seed in seeds:
        trace = make_trace(seed, n_keys)
        console.print(f"session {seed}: {len(trace.keys)} keys, four times …")
        complete, worker_rss, setup = play_complete(trace, setting.model)
        inline = play_inline(trace, setting.model)
        peer, peer_rss = play_peer(trace, setting.model, executable, setup)
        runs.append(Run(complete, inline, peer, bare_times(complete, setting.model, setup), worker_rss, peer_rss))
    note = f"{setting.model_name}, {setup['n_threads']} thread(s), {len(runs)} session(s) of {n_keys} keys in 8 files"
    drawn = plot.draw(runs[0], PLOT, note)
    note += f"; drawn in {PLOT.name}" if drawn else "; no picture: matplotlib is not installed"
    return Report("g", "typing", "llama-server", costs.rows(runs, LINE_TOKENS), note)
