"""``botframework models …``: from "which one suits this machine" to a file that is there, whole, and can be loaded."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from botframework.cli import command, exits, progress, tables
from botframework.cli.documents import ModelList, ModelPlaces, Removed, Verdict, Verdicts
from botframework.cli.tables import Column, Table
from botframework.errors import BotframeworkError, InvalidParams
from botframework.quantities import count, plural, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from botframework.cli.terminal import Terminal
    from botframework.config import Settings
    from botframework.manager.entry import ModelEntry, Source
    from botframework.models.store.store import Store
    from botframework.models.store.value import InstalledModel

    Work = Callable[[argparse.Namespace, Terminal], int]

SOURCE_WORDS: dict[Source, str] = {
    "embedded": "the package",
    "pulled": "pulled",
    "folder": "your folder",
    "file": "named",
    "ollama": "Ollama",
    "lmStudio": "LM Studio",
    "huggingFace": "Hugging Face",
    "llamaCpp": "llama.cpp",
}
"""Who keeps a model."""
REFERENCES = """\
A REFERENCE is one of
  hf:OWNER/REPO/FILE.gguf      a file of a repository at Hugging Face
  hf:OWNER/REPO:Q4_K_M         the file of that number format, all parts of it
  hf:OWNER/REPO@REVISION:…     of a branch, a tag or a commit
  qwen2.5-coder-7b-instruct    an id of the catalog (botframework models recommend)
  https://HOST/FILE.gguf       a file of any server
  /PATH/FILE.gguf              a file of this machine, which is copied
A token for gated models is taken from HF_TOKEN, from the hub's own token file or from the keyring.
A pull that ends early goes on where it was when it is asked for again."""


def main(arguments: Sequence[str]) -> int:
    """Do what the first word says."""
    from botframework.cli import model_info, recommend

    parser = command.make_parser(
        "models", "Which models there are, which suit this machine; fetch, check, remove them."
    )
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, work: Work, told: str, *, epilog: str = "") -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = parsers.add_parser(
            name,
            help=told,
            description=told[0].upper() + told[1:] + ".",
            epilog=epilog or None,
            allow_abbrev=False,
            formatter_class=parser.formatter_class,
        )
        command.add_json(added)
        command.add_settings(added)
        added.set_defaults(work=work)
        return added

    add("list", _list, "the models that can be chosen from")
    recommend.add_arguments(add("recommend", recommend.work, "which models of the catalog suit this machine, and why"))
    pull = add("pull", _pull, "fetch a model, check it and put it among the others", epilog=REFERENCES)
    pull.add_argument("reference", metavar="REFERENCE")
    verify = add("verify", _verify, "compare pulled models with the digests that they were published with")
    verify.add_argument("names", nargs="*", metavar="NAME", help="all of them without one")
    remove = add("remove", _remove, "delete pulled models")
    remove.add_argument("names", nargs="*", metavar="NAME", help="as `models list` names it")
    remove.add_argument("--unfinished", action="store_true", help="what downloads that were broken off have left")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.add_argument("--force", action="store_true", help="also one that is in use")
    info = add("info", model_info.work, "everything about one model", epilog=model_info.EPILOG)
    info.add_argument("name", metavar="NAME", help="a pulled model, a GGUF file, or an id of the catalog")
    add("where", _where, "where models are kept and found, and what they take")
    return command.run(parser, arguments, lambda options, terminal: int(options.work(options, terminal)))


def open_store(settings: Settings) -> Store:
    """The store in the folder of the settings."""
    from botframework.manager.folder import models_folder
    from botframework.models.store.store import Store

    return Store(models_folder(settings))


# --- list -------------------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace, terminal: Terminal) -> int:
    from botframework.manager.shelf import Shelf

    settings = command.read_settings(options, terminal)
    with terminal.waiting("reading headers …"):
        listing = Shelf(settings).list(())
    downloads = open_store(settings).downloads()
    terminal.document(
        ModelList(models=listing.models, folder=listing.folder, has_more=listing.has_more, downloads=downloads)
    )
    columns = (
        Column("model"),
        Column("size", "right"),
        Column("format"),
        Column("params", "right"),
        Column("good for"),
        Column("fits"),
        Column("from"),
        Column("file", is_prose=True),
    )
    terminal.table(Table(columns, tuple(_row(entry, listing.folder) for entry in listing.models)))
    for download in downloads:
        terminal.say(f"{download.name}: {size(download.done_bytes)} of {size(download.total_bytes)}")
    for entry in listing.models:
        if entry.problem is not None:
            terminal.warn(entry.problem.message)
    if listing.has_more:
        terminal.note(f"there are more files in {listing.folder} than are listed")
    return exits.DONE


def _row(entry: ModelEntry, folder: str) -> tuple[str, ...]:
    mark = " *" if entry.configured else ""
    uses = [name for name, able in (("ghost text", entry.can_infill), ("chat", entry.has_chat_template)) if able]
    return (
        entry.name + mark,
        size(entry.size_bytes),
        entry.quantization or "?",
        count(entry.parameters),
        ", ".join(uses) or ("?" if entry.can_infill is None else "neither"),
        {True: "yes", False: "no", None: "?"}[entry.fits],
        SOURCE_WORDS[entry.source],
        "" if entry.embedded else short_path(entry.path, folder),
    )


def short_path(path: str, folder: str) -> str:
    """A path as people say it: from the folder of models, or from their home."""
    for start, name in ((folder, ""), (os.path.expanduser("~"), "~")):  # noqa: PTH111 - without a home it stays
        with contextlib.suppress(ValueError):
            return str(Path(name) / Path(path).relative_to(start))
    return path


# --- pull -------------------------------------------------------------------------------------------------------------


def _pull(options: argparse.Namespace, terminal: Terminal) -> int:
    from botframework.manager.folder import limit_bytes
    from botframework.manager.roles import named_models

    settings = command.read_settings(options, terminal)
    store = open_store(settings)
    try:
        with progress.shown(terminal, str(options.reference)) as told:
            found = progress.stoppable(
                lambda stop: store.pull(
                    options.reference,
                    on_progress=told.tell,
                    stop=stop,
                    limit_bytes=limit_bytes(settings),
                    keep=named_models(settings),
                )
            )
            told.end(found.size_bytes)
    except KeyboardInterrupt:
        terminal.note("stopped; what has come is kept, and the same command goes on with it")
        raise
    terminal.document(found)
    digest = f"SHA-256 {found.digests[0]}" if len(found.digests) == 1 else plural(found.parts, "file")
    terminal.say(f"{found.name}: {size(found.size_bytes)}, {digest}")
    terminal.say(found.path)
    terminal.note(f'to use it, choose it in your editor, or set model = "{found.path}" in your botframework.toml')
    return exits.DONE


# --- verify, remove ---------------------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace, terminal: Terminal) -> int:
    store = open_store(command.read_settings(options, terminal))
    pulled = [store.find(name) for name in options.names] or list(store.installed())
    verdicts = [_verdict_on(store, model, terminal) for model in pulled]
    terminal.document(Verdicts(models=tuple(verdicts)))
    rows = tuple((verdict.name, "whole" if verdict.is_whole else f"DAMAGED: {verdict.problem}") for verdict in verdicts)
    terminal.table(tables.facts(rows))
    if not verdicts:
        terminal.note("no model was pulled yet")
    return exits.DONE if all(verdict.is_whole for verdict in verdicts) else exits.FAILED


def _verdict_on(store: Store, model: InstalledModel, terminal: Terminal) -> Verdict:
    with progress.shown(terminal, model.name) as told:
        try:
            progress.stoppable(lambda stop: store.verify(model.path, on_progress=told.tell, stop=stop))
        except BotframeworkError as error:
            return Verdict(name=model.name, path=model.path, is_whole=False, problem=error.message)
        told.end(model.size_bytes)
    return Verdict(name=model.name, path=model.path, is_whole=True, problem="")


def _remove(options: argparse.Namespace, terminal: Terminal) -> int:
    store = open_store(command.read_settings(options, terminal))
    # All names first: a wrong one must not be noticed when half is gone.
    models = [store.find_own(name) for name in options.names]
    unfinished = store.usage().unfinished_bytes if options.unfinished else 0
    freed = sum(model.size_bytes for model in models) + unfinished
    if not models and not options.unfinished:
        raise InvalidParams("name the models to delete, or say --unfinished")
    if not options.yes:
        if not sys.stdin.isatty() or terminal.as_json:
            raise InvalidParams("nobody can be asked here whether to delete them; say so with --yes")
        for model in models:
            terminal.note(f"{model.name}  {size(model.size_bytes)}")
        what = [plural(len(models), "model")] * bool(models) + ["unfinished downloads"] * options.unfinished
        if not _agrees(f"Delete {' and '.join(what)}, {size(freed)}? [y/N] "):
            terminal.note("nothing was deleted")
            return exits.DONE
    for model in models:
        store.remove(model.name, force=options.force)
        terminal.say(f"{model.name}: deleted")
    if options.unfinished:
        store.discard_unfinished()
        terminal.say(f"unfinished downloads: {size(unfinished - store.usage().unfinished_bytes)} deleted")
    terminal.document(Removed(removed=tuple(models)))
    return exits.DONE


def _agrees(question: str) -> bool:
    """Ask the user; whoever says nothing does not agree."""
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


# --- where ------------------------------------------------------------------------------------------------------------


def _where(options: argparse.Namespace, terminal: Terminal) -> int:
    from botframework.models.source import printable

    settings = command.read_settings(options, terminal)
    store = open_store(settings)
    usage, foreign = store.usage(), store.foreign()
    limit = settings.models.disk_gib
    terminal.document(ModelPlaces(folder=printable(store.folder), disk_gib=limit, usage=usage, foreign=foreign))
    rows = [
        ("folder", printable(store.folder)),
        ("pulled models", size(usage.models_bytes)),
        ("unfinished", size(usage.unfinished_bytes)),
        ("limit", "none (models.diskGib)" if limit is None else f"{limit:g} GiB (models.diskGib)"),
        ("free on its disk", size(usage.free_bytes)),
    ]
    terminal.table(tables.facts(rows))
    if foreign:
        terminal.say("\nOther programs keep these, and they are used where they lie:")
        columns = (Column("model"), Column("size", "right"), Column("kept by"), Column("file", is_prose=True))
        rows_of = tuple(
            (model.name, size(model.size_bytes), SOURCE_WORDS[model.origin], model.path) for model in foreign
        )
        terminal.table(Table(columns, rows_of))
    return exits.DONE
