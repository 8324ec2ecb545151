"""``botframework licences``: the licences of everything that a packed program contains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import botframework
from botframework.cli import command, exits
from botframework.cli.documents import Licences

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from botframework.cli.terminal import Terminal

FILE = Path(botframework.__file__).parents[1] / "LICENSES.txt"
"""Put there by packaging/binary, beside the package; a source tree has none."""
OF_SOURCE = """\
botframework is under the Apache License 2.0, which lies in its source as LICENSE. This program is not packed: every
library that it uses is installed by itself, and brings its licence along.
"""


def main(arguments: Sequence[str]) -> int:
    """Print them."""
    parser = command.make_parser("licences", "The licences of everything that is inside this program.")
    return command.run(parser, arguments, _licences)


def _licences(options: argparse.Namespace, terminal: Terminal) -> int:
    del options
    text = read(FILE)
    terminal.document(Licences(text=text))
    terminal.say(text.rstrip("\n"))
    return exits.DONE


def read(path: Path) -> str:
    """The text of a packed program; of a source tree why there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return OF_SOURCE
