"""(h) Completions while a chat runs: what each costs the other.

A chat that writes without end runs in the same worker while keys are typed. Then, for every chat with a long question,
keys are typed without a pause until its first token is there. What a writing chat loses to keys follows from the rate
at which it writes alone and from the time that completions leave to it, by the worker's own account of their prompt and
decode times; what a reading one loses is counted in the worker.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.keystrokes.replay import Desk, complete_line
from bench.keystrokes.trace import Key, Trace, make_trace
from bench.keystrokes.typing_session import new_root
from bench.report import Report, Row, quantile
from bench.setting import running
from botframework.demo.editor import DemoError
from botframework.models.gguf import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.setting import Setting
    from botframework.demo.editor import Editor

SEED = 7
KEYS = 120
PAUSE_S = 0.12
"""Between an answer and the next key: a fast typist."""
FIRST_RATIO = 1.5
CHAT_RATIO = 0.9
MAX_LOST_TOKENS = 16
CHAT_TOKENS = 120
"""Written alone, for the chat's own rate."""
QUESTION_WORDS = 200
"""About six tokens each: they are numbers."""
CHAT_DEADLINE_S = 300.0
END_DEADLINE_S = 2.0


@dataclass(slots=True)
class Chat:
    """A chat under way: when each piece came."""

    identifier: int
    arrivals: list[float]
    indices: list[int]

    def rate(self, without_s: float = 0.0) -> float:
        """Tokens per second from the first piece to the last, not counting some of the time."""
        return (self.indices[-1] - self.indices[0]) / (self.arrivals[-1] - self.arrivals[0] - without_s)


def question(seed: int, words: int) -> str:
    """A text that no chat before has read."""
    return " ".join(f"{seed * 7919 + number * 31 % 997}" for number in range(words))


def without_end(model: Path) -> dict[str, Any]:
    """Sampling that forbids the special tokens, so that no answer ends before its time."""
    metadata = read_header(model).metadata
    specials = {str(value) for name, value in metadata.items() if name.endswith("_token_id")}
    return {"temperature": 0.0, "logitBias": dict.fromkeys(specials, -100.0)}


def begin(editor: Editor, seed: int, words: int, max_tokens: int, sampling: dict[str, Any]) -> Chat:
    """Ask, and do not wait; ``editor`` hears of it whenever it waits for something else."""
    token = f"chat-{seed}"
    editor._next_id += 1
    chat = Chat(editor._next_id, [], [])

    def listen(method: str, params: Any) -> None:
        if method == "$/progress" and params["token"] == token:
            chat.arrivals.append(time.perf_counter())
            chat.indices.append(params["value"]["index"])

    editor.on_notification(listen)
    params = {
        "messages": [{"role": "user", "content": question(seed, words)}],
        "maxTokens": max_tokens,
        "sampling": sampling,
        "partialResultToken": token,
    }
    editor._send({"id": chat.identifier, "method": "botframework/chat", "params": params})
    return chat


def end(editor: Editor, chat: Chat) -> None:
    """Cancel a chat and wait for its answer."""
    editor.notify("$/cancelRequest", {"id": chat.identifier})
    with contextlib.suppress(DemoError):  # It may have been answered while something else was waited for.
        editor.wait(lambda message: message.get("id") == chat.identifier, END_DEADLINE_S, "the end of a chat")


def wait_for_tokens(editor: Editor, chat: Chat, count: int) -> None:
    """Until so many tokens of the chat have come."""
    editor.wait(lambda _: bool(chat.indices) and chat.indices[-1] >= count, CHAT_DEADLINE_S, "a chat's tokens")


class Typist:
    """Types on and on, without thinking."""

    def __init__(self, editor: Editor) -> None:
        self._trace: Trace = make_trace(SEED, None)
        self._desk = Desk(editor, self._trace, new_root())
        self._keys: Iterator[Key] = iter(self._trace.keys)
        self._number = 0
        self.busy_s = 0.0
        """Seconds that the worker spent on all keys so far, by its own account."""

    def press(self) -> dict[str, Any]:
        """The next key's answer; files are opened as they come."""
        key = next(self._keys)
        self._desk.show(key.document)
        change, place = self._desk.press(key)
        self._number += 1
        answer = complete_line(self._desk.editor, change, place, f"key-{self._number}")
        answer["kind"] = key.kind
        timings = answer["timings"]
        self.busy_s += (timings["promptMs"] + timings["decodeMs"]) / 1000
        return answer

    def type(self, count: int) -> list[dict[str, Any]]:
        """So many answers to keys inside a stretch: jumps and switches are typed, and left out of the answers."""
        answers: list[dict[str, Any]] = []
        while len(answers) < count:
            time.sleep(PAUSE_S)
            answer = self.press()
            if answer["kind"] not in {"open", "jump", "switch", "paste"}:
                answers.append(answer)
        return answers


def measure(setting: Setting) -> Report:
    """Keys alone, a chat alone, both; then chats whose questions are read under continuous typing."""
    count = setting.times(KEYS)
    endless = without_end(setting.model)
    with running("--model", str(setting.model), root_uri=new_root()) as (editor, _):
        typist = Typist(editor)
        typist.type(8)
        idle = [answer["clock"][0] for answer in typist.type(count)]
        chat = begin(editor, 1, 20, 4_096, endless)
        wait_for_tokens(editor, chat, CHAT_TOKENS)
        alone = chat.rate()
        chat.arrivals.clear()
        chat.indices.clear()
        wait_for_tokens(editor, chat, CHAT_TOKENS + 1)
        busy_before = typist.busy_s
        beside = [answer["clock"][0] for answer in typist.type(count)]
        shared = chat.rate(typist.busy_s - busy_before)
        end(editor, chat)
        reading = [
            read_while_typing(editor, typist, number, endless) for number in range(2, 2 + setting.times(10) // 2)
        ]
        editor.request("botframework/sessions/clear")
    ratio = quantile(beside, 0.95) / quantile(idle, 0.95)
    lost = [tokens for each in reading for tokens in each.lost]
    stuck = sum(each.stuck_keys for each in reading)
    rows = [
        Row(
            "first token of a completion, p95",
            f"{quantile(beside, 0.95):.1f} ms",
            f"{quantile(idle, 0.95):.1f} ms",
            ratio,
            f"<= {FIRST_RATIO}",
            ratio <= FIRST_RATIO,
        ),
        Row("the same, p50", f"{statistics.median(beside):.1f} ms", f"{statistics.median(idle):.1f} ms"),
        Row(
            "chat tokens per second of the time not spent in completions",
            f"{shared:.1f}",
            f"{alone:.1f}",
            shared / alone,
            f">= {CHAT_RATIO}",
            shared / alone >= CHAT_RATIO,
        ),
        Row(
            "chat's question under continuous typing, tokens lost per key",
            f"most {max(lost)}, mean {statistics.mean(lost):.1f}  ({stuck} of {len(lost)} keys without progress)",
            "",
            None,
            f"<= {MAX_LOST_TOKENS}",
            max(lost) <= MAX_LOST_TOKENS and not stuck,
        ),
    ]
    return Report("h", "completions beside a chat", "the same alone", rows, setting.model_name)


@dataclass(slots=True)
class Reading:
    """How a chat's question was read."""

    stuck_keys: int
    """Keys between which the chat read nothing."""
    lost: list[int]
    """For each key, tokens of the micro-batches that it ended before they were done."""


def read_while_typing(editor: Editor, typist: Typist, seed: int, sampling: dict[str, Any]) -> Reading:
    """One question, while keys are typed."""
    chat = begin(editor, seed, QUESTION_WORDS, 4_096, sampling)
    reading = Reading(0, [])
    read, discarded = _read(editor)
    give_up_at = time.perf_counter() + CHAT_DEADLINE_S
    while not chat.indices and time.perf_counter() < give_up_at:
        time.sleep(PAUSE_S)
        answer = typist.press()
        before, discarded_before = read, discarded
        read, discarded = _read(editor)
        reading.stuck_keys += read - before <= answer["usage"]["evaluatedTokens"] and not chat.indices
        reading.lost.append(discarded - discarded_before)
    end(editor, chat)
    return reading


def _read(editor: Editor) -> tuple[int, int]:
    """Prompt tokens that the worker has read, and those of chats that it has to read again."""
    status = editor.request("botframework/status")
    return status["promptTokensRead"], status["chatTokensDiscarded"]
