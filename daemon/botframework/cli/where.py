"""``botframework where``: the folders and files that are used here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.cli import command, exits
from botframework.cli.documents import Place, Places
from botframework.cli.tables import Column, Table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from botframework.cli.terminal import Terminal
    from botframework.config import Settings


def main(arguments: Sequence[str]) -> int:
    """Print them."""
    parser = command.make_parser(
        "where", "The folders and files that botframework uses here. Nothing is made by asking, but the runtime folder."
    )
    command.add_settings(parser)
    return command.run(parser, arguments, _where)


def _where(options: argparse.Namespace, terminal: Terminal) -> int:
    found = places(command.read_settings(options, terminal))
    terminal.document(Places(places=found))
    columns = (Column("what"), Column("where"), Column("holds", is_prose=True))
    rows = tuple((place.name, place.path + ("" if place.exists else "  (not there)"), place.holds) for place in found)
    terminal.table(Table(columns, rows))
    return exits.DONE


def places(settings: Settings) -> tuple[Place, ...]:
    """All of them.

    Raises
    ------
    ConfigError
        The runtime folder could be changed by others.
    """
    from botframework.models.source import printable

    return tuple(
        Place(name=name, path=printable(path), exists=path.exists(), holds=holds)
        for name, path, holds in (*_of_the_user(settings), *_of_others(), *_of_the_program())
    )


def _of_the_user(settings: Settings) -> Iterator[tuple[str, Path, str]]:
    """What is read and written."""
    from botframework import config
    from botframework.manager import machine, machine_watch
    from botframework.manager.folder import models_folder
    from botframework.models.catalog import user_catalog_file
    from botframework.process import logs

    cache = config.cache_dir()
    yield "settings", config.config_file(), "your botframework.toml"
    yield "catalog", user_catalog_file(), "models of your own to be proposed"
    yield "models", models_folder(settings), "GGUF files to choose from, and what was pulled"
    yield "sessions", cache / config.SESSIONS_NAME, "snapshots of what models have read; text of yours"
    yield "machine", cache / machine_watch.FILE_NAME, "what was found here last time, to notice a change"
    yield "bandwidth", cache / machine.BANDWIDTH_FILE, "how fast the memory was measured to be"
    yield (
        "log",
        config.log_dir() / logs.FILE_NAME,
        "what the daemons of your editors wrote, older ones beside it; no text of yours",
    )
    yield "runtime", config.runtime_dir(), "sockets, locks and records of running workers"


def _of_others() -> Iterator[tuple[str, Path, str]]:
    """What other programs keep here and is read where it lies."""
    from botframework.models.store import foreign
    from botframework.models.store.credentials import token_file

    if (token := token_file(os.environ)) is not None:
        yield "token", token, "your token for Hugging Face, if it is not in HF_TOKEN; only read"
    for name, folder in foreign.places(foreign.Surroundings.ours()):
        yield name, folder, "models of that program; only read"


def _of_the_program() -> Iterator[tuple[str, Path, str]]:
    """What only is read, and comes and goes with the program."""
    import botframework
    from botframework.manager import embedded
    from botframework.manager.load import EMBEDDED_MODEL
    from botframework.process import program

    yield "embedded model", embedded.place(EMBEDDED_MODEL), "what completes when no model is set"
    yield "package", Path(botframework.__file__).parent, "the program's modules and data"
    yield "program" if program.is_frozen() else "python", Path(sys.executable), "what runs it"
    if (unpacked := program.unpacked_folder()) is not None:
        yield "unpacked", unpacked, "what one file unpacks itself into, at every start, and removes"
