"""(q) Which layout completes best: the middle session beside the classic ones, on files that were not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.quality import holes, running
from bench.quality.plot import draw
from bench.quality.summary import Summary, markdown, rows
from bench.report import Report
from bench.setting import CACHE, EMBEDDED

if TYPE_CHECKING:
    from bench.setting import Setting

SPOTS = 660
"""Lines; almost each has four cursors."""
QUICK_SPOTS = 12
TYPED = 24
"""Places at which a session types."""
QUICK_TYPED = 2
SEED = 11


def measure(setting: Setting) -> Report:
    """Answer the holes; a table, a picture and a text for ARCHITECTURE.md come out."""
    manifest = holes.Manifest()
    if setting.corpus is not None:
        files, source = holes.from_corpus(setting.corpus, manifest), "held out of the embedded model's corpus"
    else:
        files, source = holes.from_installed(manifest), "installed packages that are not in the corpus"
    # Random weights have no preference.
    model = EMBEDDED if "random" in setting.model.name else setting.model
    count, typed = (QUICK_SPOTS, QUICK_TYPED) if setting.quick else (SPOTS, TYPED)
    if setting.holes:
        count = -(-setting.holes // len(holes.KINDS))
    spots = holes.draw(files, count, SEED)
    found = running.run(model, spots, holes.draw(files, typed, SEED + 1))
    summary = Summary(found)
    text = markdown(summary, source)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "quality.md").write_text(text + "\n", encoding="utf-8")
    picture = CACHE / "quality.png"
    is_drawn = draw(summary, picture)
    note = f"{len(found.results):,} holes, {source}; as Markdown in {CACHE / 'quality.md'}"
    note += f", the curve in {picture}" if is_drawn else ", no picture: matplotlib is not installed"
    return Report("q", "quality of the layouts, embedded model", "against the better classic", rows(summary), note)
