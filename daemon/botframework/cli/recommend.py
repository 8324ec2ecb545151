"""``botframework models recommend``: what suits this machine, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, get_args

import msgspec

from botframework.cli import command, exits
from botframework.cli.tables import Column, Table
from botframework.models.recommendation import Role
from botframework.quantities import count, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from botframework.cli.terminal import Terminal
    from botframework.manager.advice import HardwareSummary
    from botframework.models.recommendation import Placement, Recommendation

SHOWN = 5
"""Of each role, without ``--all``."""
USUAL_ROLES: tuple[Role, ...] = ("fim", "chat")
ROLE_WORDS: dict[Role, str] = {
    "fim": "Ghost text",
    "chat": "Chat and edits",
    "embed": "Search (vectors of texts)",
    "rerank": "The order of search results",
}
PLACE_WORDS: dict[Placement, str] = {"gpu": "GPU", "partial": "GPU in part", "cpu": "processor", "none": "nowhere"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command knows beside the usual."""
    parser.add_argument(
        "--role", action="append", choices=get_args(Role), help="what for; may be given several times (fim and chat)"
    )
    parser.add_argument("--all", dest="is_all", action="store_true", help=f"more than {SHOWN} of each role")
    parser.add_argument("--why", action="store_true", help="the reasons of each, not only of the first")


def work(options: argparse.Namespace, terminal: Terminal) -> int:
    """Look at the machine and print what suits it."""
    from botframework.manager import advice

    settings = command.read_settings(options, terminal)
    roles: tuple[Role, ...] = tuple(dict.fromkeys(options.role or USUAL_ROLES))
    with terminal.waiting("looking at the machine …"):
        found = asyncio.run(advice.advise(settings, roles))
    by_role = {role: _best(found.recommendations, role, is_all=options.is_all) for role in roles}
    kept = tuple(each for role in roles for each in by_role[role])
    terminal.document(msgspec.structs.replace(found, recommendations=kept))
    terminal.say(machine_words(found.hardware))
    for role, listed in by_role.items():
        terminal.say(f"\n{ROLE_WORDS[role]}", "bold")
        if not listed:
            terminal.say("nothing of the catalog fits this machine")
            continue
        terminal.table(table_of(listed))
        for each in listed if options.why else listed[:1]:
            _explain(terminal, each)
    return exits.DONE


def _best(recommendations: Iterable[Recommendation], role: Role, *, is_all: bool) -> tuple[Recommendation, ...]:
    of_role = tuple(each for each in recommendations if each.role == role)
    return of_role if is_all else of_role[:SHOWN]


def machine_words(found: HardwareSummary) -> str:
    """The machine in a line."""
    parts = [found.cpu, f"{size(found.ram_total)} of memory"]
    parts += [f"{gpu.name} with {size(gpu.vram_total)}" if gpu.vram_total else gpu.name for gpu in found.gpus]
    return ", ".join(parts)


def table_of(listed: tuple[Recommendation, ...]) -> Table:
    """Recommendations of one role, best first."""
    columns = (
        Column("", "right"),
        Column("model"),
        Column("params", "right"),
        Column("format"),
        Column("size", "right"),
        Column("runs on"),
        Column("context", "right"),
        Column("score", "right"),
        Column("licence"),
        Column("", is_prose=True),
    )
    rows = tuple(
        (
            str(number),
            each.name,
            count(each.parameters),
            each.quantization,
            f"~{size(each.estimated_bytes)}",
            PLACE_WORDS[each.placement],
            f"{each.context_tokens:,}" if each.context_tokens else "",
            f"{each.total:.0f}",
            each.licence or "?",
            "installed" if each.is_installed else "",
        )
        for number, each in enumerate(listed, 1)
    )
    return Table(columns, rows)


def _explain(terminal: Terminal, each: Recommendation) -> None:
    terminal.say(f"\n  {each.name} {each.quantization}", "bold")
    for reason in each.reasons:
        terminal.say(f"  - {terminal.wrapped(reason, 4)}")
    if not each.is_installed:
        terminal.say(f"  botframework models pull {each.reference}", "green")
