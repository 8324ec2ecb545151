"""(j) Typing with the embedded model's own suggestions: how much of a file a person need not type.

Lines of the daemon's own source, which the model never saw, are typed again, 1 to 4 characters a key, without the
editor's own brackets. A suggestion is accepted if it is at least two characters long and the whole of it is what the
file really has there; then the editor inserts it and says so. Everything else is typed through.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.keystrokes.replay import position
from bench.keystrokes.retyping import CHUNK_SHARES
from bench.keystrokes.sources import choose
from bench.keystrokes.trace import interval
from bench.keystrokes.typing_session import new_root
from bench.report import Report, Row, spread
from bench.setting import EMBEDDED, HERE, running

if TYPE_CHECKING:
    from bench.keystrokes.sources import Source
    from bench.setting import Setting
    from botframework.demo.editor import Editor

KEYS = 600
DOCUMENTS = 8
SEED = 11
MIN_ACCEPTED = 2
SOURCES = HERE.parents[1] / "daemon" / "botframework"
WITHOUT_CALL = frozenset({"cached", "prefetched"})


class Writer:
    """A person who types one region of a document and takes what is right."""

    def __init__(self, editor: Editor, source: Source, uri: str, chance: random.Random) -> None:
        start, end = source.regions[0]
        self._editor = editor
        self._uri = uri
        self._chance = chance
        self._target = source.text[start:end]
        self._before, self._after = source.text[:start], source.text[end:]
        self._done = 0
        self._version = 1
        self.accepted_chars = 0
        self.accepted = 0
        self.after_keys: Counter[str] = Counter()
        self.after_accepting: Counter[str] = Counter()
        self.answer_ms: list[float] = []
        document = {"uri": uri, "languageId": "python", "version": 1, "text": self._before + self._after}
        editor.notify("textDocument/didOpen", {"textDocument": document})

    @property
    def written_chars(self) -> int:
        """What stands there now, typed or accepted."""
        return self._done

    def is_finished(self) -> bool:
        """Whether everything is there."""
        return self._done == len(self._target)

    def press(self) -> None:
        """Type a key, look at the suggestion, perhaps accept it; then an editor asks for the next one by itself."""
        count = self._chance.choices(range(1, len(CHUNK_SHARES) + 1), CHUNK_SHARES)[0]
        left = self._target[self._done :]
        started = time.perf_counter()
        self._insert(left[:1] if left[0] == "\n" else left[:count].partition("\n")[0])
        item = self._ask(self.after_keys)
        self.answer_ms.append((time.perf_counter() - started) * 1000)
        while item is not None and self._accepts(item) and not self.is_finished():
            item = self._ask(self.after_accepting)

    def _ask(self, sources: Counter[str]) -> dict[str, Any] | None:
        place = {"textDocument": {"uri": self._uri}, "position": self._position()}
        result = self._editor.request("textDocument/inlineCompletion", {**place, "context": {"triggerKind": 2}})
        told = self._editor.request("botframework/inspect", {"textDocument": {"uri": self._uri}})
        sources[told["source"] if result["items"] else f"nothing ({told['reason']})"] += 1
        return result["items"][0] if result["items"] else None

    def _accepts(self, item: dict[str, Any]) -> bool:
        """Take a suggestion if it is right."""
        text = self._new_text(item)
        if len(text) < MIN_ACCEPTED or not text.strip() or not self._target.startswith(text, self._done):
            return False
        self._insert(text)
        self.accepted += 1
        self.accepted_chars += len(text)
        self._editor.request("workspace/executeCommand", item["command"])
        return True

    def _new_text(self, item: dict[str, Any]) -> str:
        """What accepting would add at the cursor; nothing if it would replace what stands there."""
        text: str = item["insertText"]
        chosen = item["range"]
        if chosen["end"] != self._position():
            return ""
        typed = self._position()["character"] - chosen["start"]["character"]
        return text[typed:]

    def _position(self) -> dict[str, int]:
        text = self._before + self._target[: self._done]
        return position(text, len(text))

    def _insert(self, text: str) -> None:
        place = self._position()
        self._version += 1
        self._done += len(text)
        self._editor.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": self._uri, "version": self._version},
                "contentChanges": [{"range": {"start": place, "end": place}, "text": text}],
            },
        )


def measure(setting: Setting) -> Report:
    """The embedded model, whatever the other benchmarks measure with."""
    chance = random.Random(SEED)
    files = sorted(Path(SOURCES).rglob("*.py"))
    sources = choose(chance, DOCUMENTS, files)
    root = new_root()
    writers: list[Writer] = []
    n_keys = setting.times(KEYS)
    with running("--model", str(EMBEDDED), root_uri=root) as (editor, _):
        for number, source in enumerate(sources):
            writer = Writer(editor, source, f"{root}/{number}.py", chance)
            writers.append(writer)
            for _ in range(n_keys // DOCUMENTS):
                if writer.is_finished():
                    break
                time.sleep(interval(chance) / 1000)
                writer.press()
        editor.request("botframework/sessions/clear")
    keys = sum((writer.after_keys for writer in writers), Counter())
    accepting = sum((writer.after_accepting for writer in writers), Counter())
    written = sum(writer.written_chars for writer in writers)
    accepted = sum(writer.accepted_chars for writer in writers)
    without = sum(count for name, count in keys.items() if name in WITHOUT_CALL)
    answers = [each for writer in writers for each in writer.answer_ms]
    rows = [
        Row("keys answered with no model call", f"{without / keys.total():.1%} of {keys.total()}"),
        Row("where suggestions after a key came from", shares(keys)),
        Row("where suggestions after an accepted one came from", shares(accepting)),
        Row("characters that need not be typed", f"{accepted / written:.1%} of {written}"),
        Row("suggestions accepted whole", f"{sum(writer.accepted for writer in writers)}"),
        Row("answer at the client", spread(answers)),
    ]
    return Report("j", "typing with the embedded model", "", rows, "accepted only where it is the file's real text")


def shares(sources: Counter[str]) -> str:
    """In per cent, the most frequent first."""
    return ", ".join(f"{name or 'unknown'} {count / sources.total():.0%}" for name, count in sources.most_common())
