"""``botframework demo [FILE:LINE:COL]``: the main job on a terminal.

It is an editor in miniature: it starts the daemon as editors do (``botframework --stdio``, LSP over pipes), opens a
real file, asks for ghost text, types the first of it, asks a chat question, reads the status, and says goodbye. So what
it shows is what any client gets.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

QUESTION = "Write a Python function that returns the sum of a list of numbers."
PICTURE_COLUMNS = 112


def main(arguments: Sequence[str]) -> int:
    """Run the demo; 0 when every scene played."""
    parser = argparse.ArgumentParser(prog="botframework demo", description="Complete and chat, as an editor would.")
    parser.add_argument("target", nargs="?", metavar="FILE:LINE:COL", help="complete here (1-based)")
    parser.add_argument("--chat", default=QUESTION, metavar="QUESTION", help="what to ask")
    parser.add_argument("--model", metavar="FILE", help="a GGUF to use instead of the embedded one")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also write a picture of the terminal")
    options = parser.parse_args(arguments)
    # On use: the command line needs the editor of this room without what the scenes need.
    from rich.console import Console
    from rich.markup import escape

    from botframework.demo.editor import DemoError, Editor, daemon_command
    from botframework.demo.scenes import Demo
    from botframework.demo.spot import default_spot, parse_spot

    if options.svg is not None and not options.svg.parent.is_dir():
        parser.error(f"--svg: there is no folder {options.svg.parent}")
    console = Console(
        record=bool(options.svg), highlight=False, emoji=False, width=PICTURE_COLUMNS if options.svg else None
    )
    command = daemon_command(*(["--model", options.model] if options.model else []))
    try:
        spot = parse_spot(options.target) if options.target else default_spot()
        editor = Editor(command)
        try:
            demo = Demo(editor, console)
            demo.start()
            demo.complete(spot)
            demo.chat(options.chat)
            demo.status()
        finally:
            code = editor.stop()
    except DemoError as error:
        Console(stderr=True, highlight=False).print(f"[red]demo: {escape(str(error))}[/]", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"\n[dim]shutdown, exit: the daemon left with {code}[/]")
    if options.svg is not None:
        # rich names fonts of a web site; a picture of ours asks nobody for anything.
        picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="botframework demo"), flags=re.DOTALL)
        options.svg.write_text(picture, encoding="utf-8")
    return 0 if code == 0 else 1
