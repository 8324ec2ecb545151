"""``botframework models info``: everything about one model, from its header, the store, and the catalog."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botframework.cli import command, exits, tables
from botframework.cli.documents import ModelFacts, ModelInfo, Need
from botframework.errors import ModelNotFound
from botframework.quantities import count, size

if TYPE_CHECKING:
    import argparse

    from botframework.cli.terminal import Terminal
    from botframework.config import Settings
    from botframework.models.catalog import CatalogEntry
    from botframework.models.store.value import InstalledModel

EPILOG = "Of a file: what its header says and how it fits this machine. Of an id: what the catalog knows."


def work(options: argparse.Namespace, terminal: Terminal) -> int:
    """Print it."""
    from botframework.models import catalog

    settings = command.read_settings(options, terminal)
    found = _find(options.name, settings)
    if found is None:
        try:
            entry = catalog.load_catalog(catalog.user_catalog_file()).entry(options.name)
        except ModelNotFound as error:
            raise ModelNotFound(
                f"{options.name[:200]}: no such file and no pulled model, and {error.message}"
            ) from None
        terminal.document(ModelInfo(model=None, catalog=entry))
        terminal.table(tables.facts(_catalog_rows(entry)))
        return exits.DONE
    path, installed = found
    with terminal.waiting("reading the header …"):
        facts = _read(path, installed, settings)
    terminal.document(ModelInfo(model=facts, catalog=None))
    terminal.table(tables.facts(_rows(facts)))
    for reason in facts.need.reasons:
        terminal.say(f"- {reason}")
    return exits.DONE


def _find(name: str, settings: Settings) -> tuple[Path, InstalledModel | None] | None:
    """The file that is meant, and what the store knows of it."""
    from botframework.cli.models import open_store
    from botframework.manager.shelf import Shelf

    path = Path(name).expanduser()
    store = open_store(settings)
    try:
        model = store.find(name)
    except ModelNotFound:
        listed = Shelf(settings).list(()).models
        named = (*(Path(entry.path) for entry in listed if entry.name == name), store.folder / name, path)
        return next(((each.absolute(), None) for each in named if each.exists()), None)
    if path.is_file() and not path.samefile(model.path):
        return path.absolute(), None  # what a pulled one was copied from
    return Path(model.path), model


def _read(path: Path, installed: InstalledModel | None, settings: Settings) -> ModelFacts:
    from botframework.manager import load, machine
    from botframework.models import gguf
    from botframework.models.source import printable

    header = gguf.read_header(path)
    found = load.find_fit(settings, machine.present(), load.whole_shape(header))
    return ModelFacts(
        name=header.name,
        path=printable(path),
        size_bytes=installed.size_bytes if installed is not None else header.file_size,
        architecture=header.architecture,
        quantization=header.quantization,
        parameters=header.n_params,
        layers=header.n_layers,
        n_ctx_train=header.n_ctx_train,
        can_infill=header.can_infill,
        has_chat_template=header.chat_template is not None,
        need=Need(
            placement=found.placement,
            gpu_layers=found.n_gpu_layers,
            context_tokens=found.n_ctx,
            weights=found.demand.weights,
            kv=found.demand.kv,
            recurrent=found.demand.recurrent,
            compute=found.demand.compute,
            available=found.available,
            reasons=found.reasons,
        ),
        installed=installed,
    )


def _rows(facts: ModelFacts) -> list[tuple[str, str]]:
    need = facts.need
    uses = [word for word, able in (("ghost text", facts.can_infill), ("chat", facts.has_chat_template)) if able]
    rows = [
        ("name", facts.name),
        ("file", facts.path),
        ("size", size(facts.size_bytes)),
        ("architecture", f"{facts.architecture}, {facts.layers} layers"),
        ("parameters", count(facts.parameters)),
        ("format", facts.quantization or "?"),
        ("context", f"trained for {facts.n_ctx_train:,} tokens" if facts.n_ctx_train else "?"),
        ("good for", ", ".join(uses) or "neither ghost text nor chat"),
        (
            "memory",
            f"weights {size(need.weights)}, context {size(need.kv + need.recurrent)}, working {size(need.compute)}",
        ),
        ("runs on", {"gpu": "GPU", "partial": "GPU in part", "cpu": "processor", "none": "nowhere"}[need.placement]),
    ]
    kept = facts.installed
    if kept is not None:
        rows.append(("kept by", kept.origin))
        rows += [("pulled from", kept.reference)] if kept.reference else []
        rows += [("pulled", _day(kept.pulled_at))] if kept.pulled_at else []
        rows += [("last used", _day(kept.used_at))] if kept.used_at else []
        rows += [("SHA-256", digest) for digest in kept.digests]
    return rows


def _day(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _catalog_rows(entry: CatalogEntry) -> list[tuple[str, str]]:
    known: list[tuple[str, Any]] = [
        ("id", entry.id),
        ("name", entry.name),
        ("for", ", ".join(entry.roles)),
        ("parameters", count(entry.parameters)),
        ("layers", entry.layers),
        ("context", f"trained for {entry.n_ctx_train:,} tokens" if entry.n_ctx_train else None),
        ("fill in the middle", entry.fim_family),
        ("licence", entry.licence),
        ("repository", f"https://huggingface.co/{entry.repository}"),
        ("formats", ", ".join(entry.quantizations)),
        *((each.name, f"{each.score:g} %  {each.url}") for each in entry.benchmarks),
        ("to fetch it", f"botframework models pull {entry.id}"),
    ]
    return [(name, str(value)) for name, value in known if value is not None]
