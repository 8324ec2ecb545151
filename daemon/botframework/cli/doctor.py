"""``botframework doctor``: everything that could be wrong here, each with its cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botframework.cli import command, exits
from botframework.quantities import plural

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding
    from botframework.cli.terminal import Terminal
    from botframework.wire.messages import Device

    Check = Callable[[Case], Iterable[Finding]]

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
SIGNS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "skip"}
NAME_COLUMNS = 18


def main(arguments: Sequence[str]) -> int:
    """Look at everything."""
    parser = command.make_parser(
        "doctor",
        "Look for everything that could be wrong on this machine, and say what to do about it.",
        epilog="Exit code 0: nothing failed (there may be warnings). 1: something failed.",
    )
    parser.add_argument("--quick", action="store_true", help="do not load the model")
    parser.add_argument("--online", action="store_true", help="also ask the hub that models are pulled from")
    command.add_settings(parser)
    return command.run(parser, arguments, _doctor)


def _doctor(options: argparse.Namespace, terminal: Terminal) -> int:
    from botframework.cli.documents import Report

    with terminal.waiting("looking at the machine …"):
        case = _take_case(options)
    findings: list[Finding] = []
    for check in _checks(options):
        with terminal.waiting("looking …"):
            found = list(_carefully(check, case))
        for finding in found:
            _tell(terminal, finding)
        findings += found
    n_failed = sum(finding.outcome == "failed" for finding in findings)
    n_warnings = sum(finding.outcome == "warning" for finding in findings)
    terminal.document(Report(findings=tuple(findings), failed=n_failed, warnings=n_warnings))
    if n_failed or n_warnings:
        terminal.say(f"\n{plural(n_failed, 'failure')}, {plural(n_warnings, 'warning')}")
    else:
        terminal.say("\nall is well", "green")
    return exits.FAILED if n_failed else exits.DONE


def _take_case(options: argparse.Namespace) -> Case:
    import asyncio

    from botframework import config
    from botframework.cli.checks.finding import Case
    from botframework.errors import BotframeworkError
    from botframework.manager.measure import probe_devices
    from botframework.models import hardware

    layers, problems = config.startup_layers(options.model, options.set)
    merged = config.merge(layers)
    devices: tuple[Device, ...] = ()
    error: BotframeworkError | None = None
    try:
        devices = asyncio.run(probe_devices())
    except BotframeworkError as found:
        error = found
    machine = hardware.with_devices(hardware.probe(), devices) if error is None else hardware.probe()
    return Case(merged.settings, (*problems, *merged.problems), machine, devices, error)


def _checks(options: argparse.Namespace) -> Iterator[Check]:
    from botframework.cli.checks import answer, folders, hub, installation, machine, models, workers

    yield from (installation.program, installation.packages, folders.settings, folders.runtime, folders.disks)
    yield from (machine.processor, machine.memory, machine.limits, machine.battery)
    yield from (installation.engine, installation.gpus)
    yield from (models.model, models.store, workers.deaths, workers.running, workers.log, hub.token)
    if options.online:
        yield hub.reachable
    if not options.quick:
        yield answer.check(options)


def _carefully(check: Check, case: Case) -> Iterator[Finding]:
    """What a check finds; one that breaks is a finding too, and the others go on."""
    from botframework.cli.checks.finding import failed
    from botframework.errors import BotframeworkError

    try:
        yield from check(case)
    except BotframeworkError as error:
        yield failed(check.__name__.replace("_", " "), error.message, "see the message; the log may say more")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with this machine is what we are here for
        told = f"the check itself broke: {type(error).__name__}: {error}"
        yield failed(check.__name__.replace("_", " "), told, "please report it, with this line")


def _tell(terminal: Terminal, finding: Finding) -> None:
    lead = f"{SIGNS[finding.outcome]:5} {finding.check:{NAME_COLUMNS}} "
    terminal.say(lead + terminal.wrapped(finding.told, len(lead)), STYLES[finding.outcome])
    if finding.cure:
        terminal.say(f"{'->':>{len(lead) - 1}} {terminal.wrapped(finding.cure, len(lead))}")
