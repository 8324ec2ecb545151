"""``botframework version``, which is ``botframework --version``: which program and which llama.cpp this is."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import botframework
from botframework.cli import command, exits, tables
from botframework.cli.documents import ProgramVersion
from botframework.process import program

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from botframework.cli.terminal import Terminal

BUILD_FILE = Path(botframework.__file__).parent / "build.json"
"""Put into a packed program by packaging/binary; a source tree has none."""
ENGINE_DEADLINE_S = 20.0
"""Whoever asks for a version waits no minute for a driver."""
_PROCESSOR_LIBRARY = re.compile(r"(?:lib)?ggml-cpu-(\w+)\.(?:so|dylib|dll)")
_FORMS = {"source": "run from source", "folder": "a folder", "file": "one file"}


class BuildInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the build says of itself."""

    variant: str = ""
    commit: str = ""


def main(arguments: Sequence[str]) -> int:
    """Print it."""
    parser = command.make_parser("version", "Which program this is, and which llama.cpp it runs on.")
    return command.run(parser, arguments, _version)


def _version(options: argparse.Namespace, terminal: Terminal) -> int:
    del options
    # First, and whatever becomes of the rest: it is what most who ask want to know.
    terminal.say(f"botframework {botframework.__version__}")
    terminal.out.flush()
    with terminal.waiting("asking llama.cpp …"):
        found = look()
    terminal.document(found)
    terminal.table(tables.facts(rows(found)))
    return exits.DONE


def look() -> ProgramVersion:
    """Find out; llama.cpp is asked in a process of its own, and one that does not run is told and no error."""
    import asyncio

    from botframework.errors import BotframeworkError
    from botframework.manager import machine, measure
    from botframework.wire.messages import Measured

    problem = ""
    try:
        engine = asyncio.run(measure.probe_engine(deadline_s=ENGINE_DEADLINE_S))
    except (BotframeworkError, OSError) as error:
        engine, problem = Measured(), str(error)
    build = read_build(BUILD_FILE)
    return ProgramVersion(
        version=botframework.__version__,
        form=program.form(),
        variant=build.variant,
        commit=build.commit,
        engine=engine.engine,
        features=engine.features,
        processors=processors(machine.library_names()),
        devices=tuple(device.description.strip() or device.name for device in engine.devices),
        problem=problem,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
    )


def read_build(path: Path) -> BuildInfo:
    """What was written at the build; nothing if there is no such file, or no such text in it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=BuildInfo)
    except (OSError, msgspec.MsgspecError):
        return BuildInfo()


def processors(names: Sequence[str]) -> tuple[str, ...]:
    """The processors for which there are libraries, by the names of these."""
    return tuple(sorted({found[1] for name in names if (found := _PROCESSOR_LIBRARY.fullmatch(name))}))


def rows(found: ProgramVersion) -> list[tuple[str, str]]:
    """Names and values for people."""
    made_of = [_FORMS[found.form]]
    if found.variant:
        made_of.append(f"for {found.variant}")
    if found.commit:
        made_of.append(f"commit {found.commit}")
    listed = [("program", ", ".join(made_of))]
    if found.problem:
        # What is above it is a traceback, or llama.cpp's log.
        last = found.problem.strip().splitlines()[-1]
        listed.append(("llama.cpp", f"does not run here: {last} (`botframework doctor` says what to do)"))
    else:
        listed += [("llama.cpp", found.engine.removeprefix("llama.cpp ")), ("uses", used(found.features))]
        listed.append(("devices", ", ".join(found.devices)))
    if found.processors:
        listed.append(("built for", f"{', '.join(found.processors)}; it takes the best of them that this one is"))
    return [*listed, ("Python", found.python), ("system", found.system)]


def used(features: str) -> str:
    """llama.cpp's features without its signs: ``CPU : AVX = 1 | AVX2 = 1 |`` is ``CPU: AVX, AVX2``."""
    words = [word.strip() for word in features.split("|")]
    shown = [word.replace(" : ", ": ").removesuffix(" = 1") for word in words if word and not word.endswith(" = 0")]
    return ", ".join(shown)
