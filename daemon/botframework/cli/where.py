"""``botframework where``: the folders and files that are used here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.cli import command, exits
from botframework.cli.documents import Place, Places
from botframework.cli.tables import Column, Table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

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
    import botframework
    from botframework import config
    from botframework.manager.folder import models_folder
    from botframework.manager.load import EMBEDDED_MODEL
    from botframework.models.source import printable
    from botframework.process import logs

    known = (
        ("settings", config.config_file(), "your botframework.toml"),
        ("models", models_folder(settings), "GGUF files to choose from, and what was pulled"),
        ("embedded model", EMBEDDED_MODEL, "what completes when no model is set"),
        ("sessions", config.cache_dir() / config.SESSIONS_NAME, "snapshots of what models have read; text of yours"),
        ("log", config.log_dir() / logs.FILE_NAME, "what the daemons of your editors wrote; no text of yours"),
        ("runtime", config.runtime_dir(), "sockets and locks of running workers"),
        ("package", Path(botframework.__file__).parent, "the program itself"),
        ("python", Path(sys.executable), "what runs it"),
    )
    return tuple(
        Place(name=name, path=printable(path), exists=path.exists(), holds=holds) for name, path, holds in known
    )
