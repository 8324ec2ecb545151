"""The typing benchmark's pure parts: what is typed, how it is asked of the peer, and the arithmetic of the table."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.keystrokes import costs, llama_vscode
from bench.keystrokes.replay import Answer, position
from bench.keystrokes.retyping import Retyping, bracket_pairs
from bench.keystrokes.sources import choose
from bench.keystrokes.trace import Trace, make_trace

SOURCES = sorted((Path(__file__).parents[2] / "daemon" / "botframework").rglob("*.py"))


def played(trace: Trace) -> list[str]:
    """The documents after all keys."""
    texts = list(trace.texts)
    for key in trace.keys:
        texts[key.document] = key.edit.applied_to(texts[key.document])
    return texts


def retyped(target: str, seed: int) -> tuple[str, list[str]]:
    """What stands there after typing, and the kinds of keys."""
    retyping = Retyping(target, random.Random(seed))
    kinds: list[str] = []
    while (stroke := retyping.next_stroke()) is not None:
        kinds.append(stroke.kind)
    assert retyping.is_finished
    return retyping.text, kinds


@pytest.mark.parametrize("seed", range(5))
def test_a_session_played_to_its_end_leaves_the_files_as_they_were(seed: int) -> None:
    """Every bracket, indentation, slip, undo and paste comes out as the real text."""
    trace = make_trace(seed, None)
    originals = {source.name: source.text for source in choose(random.Random(seed), len(trace.names))}

    assert played(trace) == [originals[name] for name in trace.names]


@pytest.mark.parametrize("seed", range(3))
def test_it_works_on_any_source_files(seed: int) -> None:
    """Not only on the standard library: here on the daemon's own code."""
    trace = make_trace(seed, None, files=SOURCES)
    originals = {source.name: source.text for source in choose(random.Random(seed), len(trace.names), SOURCES)}

    assert played(trace) == [originals[name] for name in trace.names]


def test_the_same_seed_gives_the_same_session() -> None:
    """A figure can be measured again."""
    assert make_trace(3, 100) == make_trace(3, 100)
    assert make_trace(3, 100) != make_trace(4, 100)


def test_a_session_has_every_kind_of_key() -> None:
    """All that the promises speak of occurs, within some sessions, whatever files this machine has."""
    kinds = {key.kind for seed in range(20) for key in make_trace(seed, 300).keys}

    assert kinds == {"typing", "autoClose", "newline", "delete", "paste", "undo", "jump", "switch", "open"}


def test_keys_bring_one_to_four_characters_and_take_time() -> None:
    """As fast typists do it; nobody types without an interval."""
    keys = [key for key in make_trace(1, 400).keys if key.kind == "typing"]

    assert {len(key.edit.text) for key in keys} == {1, 2, 3, 4}
    assert min(key.delay_ms for key in keys) >= 45
    assert max(key.delay_ms for key in keys) > 800


@pytest.mark.parametrize(
    "target",
    [
        "f(a, [b], {'c': d})",
        "call(\n    one,\n    two,\n)",
        "call(\n    one,\n\n)",
        "call(\n)",
        "call(one,\n     two)",
        "if x:\n    y = 1\n\n\ndef g():\n    pass",
        "    indented\nnot",
        "# it's (an open\nx = ')' + \"(\"",
        '"""Docs (with [brackets.\n\nAnd \'quotes."""\nx',
        "int f(void)\n{\n\tif (x) {\n\t\treturn;\n\t}\n}",
        "x = (1\n     )  # odd",
        "  \nreal blanks above",
    ],
)
def test_what_the_editor_adds_never_stays(target: str) -> None:
    """Auto-closed brackets and automatic indentation end as the real text, whatever its style."""
    for seed in range(40):
        assert retyped(target, seed)[0] == target


def test_brackets_are_closed_typed_over_and_spread_over_lines() -> None:
    """The editor's part is really played: an opener brings its closer, a line end between them makes three lines."""
    retyping = Retyping("f(\n    x\n)", random.Random(2))
    texts = []
    while (stroke := retyping.next_stroke()) is not None:
        texts.append((stroke.kind, stroke.edit.text))

    assert ("autoClose", "()") in texts
    assert ("newline", "\n    \n") in texts


def test_brackets_in_strings_and_comments_do_not_pair() -> None:
    """An editor that knows the language does not close them either."""
    text = "a('(', b)  # (\nc]"

    assert bracket_pairs(text) == {1: 8, 2: 4}


def test_positions_count_utf16_units() -> None:
    """The LSP's columns: an emoji is two."""
    text = "one\n\N{GRINNING FACE}x\n"

    assert position(text, text.index("x")) == {"line": 1, "character": 2}
    assert position(text, len(text)) == {"line": 2, "character": 0}


def test_the_peer_is_asked_as_the_plugin_asks() -> None:
    """Prefix lines, the line up to the cursor, the rest and the lines below; 256 and 64 of them."""
    text = "".join(f"line {number}\n" for number in range(400)) + "    retu)\n" + "below\n" * 100
    cursor = text.index("retu") + 4

    request = llama_vscode.infill_request(text, cursor, 12)

    assert request["prompt"] == "    retu"
    assert request["input_prefix"].count("\n") == 256
    assert request["input_prefix"].endswith("line 399\n")
    assert request["input_suffix"] == ")\n" + "below\n" * 64
    assert (request["n_indent"], request["n_predict"], request["cache_prompt"]) == (4, 12, True)
    assert request["samplers"] == ["top_k", "top_p", "infill"]


def test_a_line_of_blanks_is_asked_as_an_empty_prompt() -> None:
    """What the plugin does to an indented empty line."""
    assert llama_vscode.infill_request("a\n    ", 6, 1)["prompt"] == ""


def test_the_plugin_does_not_ask_before_a_long_rest() -> None:
    """More than eight characters behind the cursor; such keys are left out of the peer's figures."""
    assert llama_vscode.asks("ab" + "x" * 8 + "\n", 2)
    assert not llama_vscode.asks("ab" + "x" * 9 + "\n", 2)


def made_run(*, ours: int, peer: int, first_ms: float, peer_ms: float) -> costs.Run:
    """A session of twenty equal keys."""
    mine = [Answer("typing", first_ms, first_ms * 4, ours, generated=12, is_shown=True)] * 20
    other = [Answer("typing", peer_ms, peer_ms + 200, peer, generated=12)] * 20
    return costs.Run(mine, mine, other, [first_ms / 2] * 20, 110 << 20, 100 << 20)


@pytest.mark.parametrize(
    ("ours", "first_ms", "kept"), [(1, 20.0, True), (4, 20.0, False), (1, 40.0, True), (1, 60.0, False)]
)
def test_promises_are_judged_by_the_figures(ours: int, first_ms: float, kept: bool) -> None:
    """Tokens of a key and the time to its first token, beside a peer that takes 1,200 ms."""
    rows = costs.rows([made_run(ours=ours, peer=250, first_ms=first_ms, peer_ms=1_200.0)] * 3, 12)
    judged = {row.what: row.kept for row in rows}

    if first_ms == 20.0:
        assert judged["prompt tokens of a key: typing (60)"] is kept
    else:
        assert judged["first token, typing, p50"] is kept
    assert judged["a line of 12 tokens, end to end, p50"] is True
    assert judged["first token beside the bare llama.cpp calls it needs, p50"] is False
    assert judged["worker's memory after the session"] is True


def test_a_run_without_a_peer_still_has_a_table() -> None:
    """Where nothing can be compiled or fetched, our own figures are shown and no ratio is judged."""
    run = made_run(ours=1, peer=250, first_ms=20.0, peer_ms=900.0)
    alone = costs.Run(run.complete, run.inline, [], run.bare_ms, run.worker_rss, 0)

    ratios = {row.what: row.kept for row in costs.rows([alone], 12)}

    assert ratios["first token, typing, p50"] is None
