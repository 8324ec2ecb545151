"""From messages to the prompt's tokens, with the model's own template, and never more than fit.

A template prints messages between special tokens, all as one text. `worker.plaintext` keeps the messages from writing
special tokens themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from botframework.errors import ContextOverflow, TemplateError
from botframework.worker.plaintext import SENTINEL, SpecialTexts, cut_long_runs
from botframework.worker.renderer import FINAL_REASONS, TemplateRenderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from botframework.wire.messages import ChatMessage

MOST_CHARS_PER_TOKEN = 16
"""No real text packs more into a token; longer messages are counted out without being rendered."""
TYPICAL_CHARS_PER_TOKEN = 4
NEIGHBOURS_TRIED = 2
"""Cuts on either side of the estimated one that are tried one by one before halving."""
_PROBE_CHARS = 64
_ROLE_GAP = "\n\n"
"""Between messages that become one."""

_TOOL_VARIABLES: tuple[dict[str, Any], ...] = (
    {"tools": None, "documents": None},
    {"tools": [], "documents": [], "functions": "", "datetime": "today"},
)
"""What templates are told about tools: nothing, as almost all expect. Some were written for the use with tools only."""

Message = dict[str, str]


class Tokenize(Protocol):
    """Text to tokens, without BOS."""

    def __call__(self, text: str, *, parse_special: bool) -> list[int]:
        """With ``parse_special`` the names of special tokens become those tokens."""
        ...


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A prompt that fits."""

    tokens: list[int]
    dropped_messages: int


class ChatFormatter:
    """Everything about one model's way to chat."""

    def __init__(
        self,
        template: str | None,
        special_texts: Sequence[str],
        bos_text: str,
        eos_text: str,
        tokenize: Tokenize,
        *,
        add_bos: bool = False,
    ) -> None:
        """Start nothing yet.

        Parameters
        ----------
        template
            From the GGUF; None takes ChatML, which most models that have none were trained on, if on any.
        special_texts
            Names of all tokens that ``parse_special`` makes of text.
        bos_text, eos_text
            Names of these two, for the template.
        tokenize
            The model's own.
        add_bos
            Whether the model wants BOS first; the template may print it or not.
        """
        self._renderer = None if template is None else TemplateRenderer(template)
        self._guard = SpecialTexts(special_texts)
        self._bos = bos_text
        self._eos = eos_text
        self._tokenize = tokenize
        self._add_bos = add_bos and bool(bos_text)
        self._tool_variables = 0
        """Which of the `_TOOL_VARIABLES` worked last."""
        known = set(special_texts)
        self.extra_stops = () if template is not None or "<|im_end|>" in known else ("<|im_end|>", "<|im_start|>")
        """Stop strings that stand in for end-of-turn tokens which the model does not have."""

    def start(self) -> None:
        """Start the template's process ahead of the first prompt. Errors wait until then."""
        if self._renderer is not None:
            try:
                self._renderer.start()
            except TemplateError:
                self._renderer.close()

    def close(self) -> None:
        """End the template's process."""
        if self._renderer is not None:
            self._renderer.close()

    def prompt(self, messages: Sequence[ChatMessage], *, budget: int, trim: bool) -> ChatPrompt:
        """Make the prompt for the assistant's next turn.

        Parameters
        ----------
        messages
            At least one.
        budget
            The prompt's largest number of tokens.
        trim
            Drop the oldest whole turns until it fits: a user's message with the answers after it. System messages stay.

        Raises
        ------
        ContextOverflow
            The last message does not fit even alone (with the system messages), or ``trim`` is off.
        TemplateError
            The template fails on these messages.
        """
        safe = [{"role": message.role, "content": self._guard.escape(message.content)} for message in messages]
        conversation = _Conversation(safe)
        attempts: dict[int, _Attempt] = {}

        def attempt(index: int) -> _Attempt:
            if index not in attempts:
                attempts[index] = self._attempt(conversation.after(index), budget)
            return attempts[index]

        whole = attempt(0)
        if whole.count <= budget:
            return ChatPrompt(whole.tokens, dropped_messages=0)
        last = len(conversation.cuts) - 1
        index = _smallest(conversation, attempt, whole, budget) if trim and last > 0 else None
        if index is None:
            count = attempt(last).count if trim else whole.count
            raise ContextOverflow(
                f"The messages need {count} tokens, and {budget} fit.", promptTokens=count, contextTokens=budget
            )
        return ChatPrompt(attempt(index).tokens, dropped_messages=conversation.dropped(index))

    def _attempt(self, messages: list[Message], budget: int) -> _Attempt:
        chars = sum(len(message["content"]) for message in messages)
        if chars > budget * MOST_CHARS_PER_TOKEN:
            return _Attempt([], chars, chars // TYPICAL_CHARS_PER_TOKEN)
        tokens = self._tokens(self._render(messages))
        return _Attempt(tokens, chars, len(tokens))

    def _tokens(self, rendered: str) -> list[int]:
        if self._bos and rendered.startswith(self._bos * 2):
            rendered = rendered[len(self._bos) :]
        elif self._add_bos and not rendered.startswith(self._bos):
            rendered = self._bos + rendered
        tokens: list[int] = []
        for part in rendered.split(SENTINEL):
            parse_special = part not in self._guard.unbreakable
            for piece in cut_long_runs(part, self._guard):
                tokens += self._tokenize(piece, parse_special=parse_special)
        return tokens

    def _render(self, messages: list[Message]) -> str:
        """Render as the messages are; where the template refuses or drops some, say the same in a way that it takes."""
        if self._renderer is None:
            return _chatml(messages)
        first_error: TemplateError | None = None
        incomplete: str | None = None
        for tool_variables in range(self._tool_variables, len(_TOOL_VARIABLES)):
            for variant in _variants(messages):
                try:
                    rendered = self._render_once(self._renderer, variant, _TOOL_VARIABLES[tool_variables])
                except TemplateError as error:
                    if error.data.get("reason") in FINAL_REASONS:
                        raise
                    first_error = first_error or error
                    continue
                self._tool_variables = tool_variables
                if _shows_all(messages, rendered):
                    return rendered
                incomplete = rendered if incomplete is None else incomplete
            if incomplete is not None:
                return incomplete
        raise first_error or TemplateError("The model's chat template makes nothing of these messages.")

    def _render_once(self, renderer: TemplateRenderer, messages: list[Message], tools: dict[str, Any]) -> str:
        variables: dict[str, Any] = {
            "messages": messages,
            "add_generation_prompt": True,
            "bos_token": self._bos,
            "eos_token": self._eos,
            **tools,
        }
        return renderer.render(variables, input_chars=sum(len(message["content"]) for message in messages))


@dataclass(frozen=True, slots=True)
class _Attempt:
    tokens: list[int]
    chars: int
    count: int
    """Of the tokens; an estimate where the text is so long that it was not rendered."""


class _Conversation:
    """Messages and the places where their beginning may be cut off."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        talk = [at for at, message in enumerate(messages) if message["role"] != "system"]
        turns = [at for at in talk if messages[at]["role"] == "user"]
        self.cuts = sorted({*talk[:1], *turns, *talk[-1:]}) or [0]
        """Index of the first message that stays, system messages aside; the last cut keeps only the last message."""

    def after(self, index: int) -> list[Message]:
        cut = self.cuts[index]
        return [message for at, message in enumerate(self._messages) if at >= cut or message["role"] == "system"]

    def dropped(self, index: int) -> int:
        return len(self._messages) - len(self.after(index))


def _smallest(
    conversation: _Conversation, attempt: Callable[[int], _Attempt], whole: _Attempt, budget: int
) -> int | None:
    """The first cut whose messages fit, with few renders: estimate by length, look at the neighbours, then halve."""
    per_char = whole.count / max(whole.chars, 1)
    low, high = 0, len(conversation.cuts)
    guess = 1
    for index in range(1, high):
        guess = index
        chars = sum(len(message["content"]) for message in conversation.after(index))
        if chars * per_char <= budget:
            break
    tried = 0
    while high - low > 1:
        tried += 1
        if attempt(guess).count <= budget:
            high = guess
            guess = high - 1
        else:
            low = guess
            guess = low + 1
        if tried > NEIGHBOURS_TRIED:
            guess = (low + high) // 2
    return high if high < len(conversation.cuts) else None


def _variants(messages: list[Message]) -> Iterator[list[Message]]:
    """The messages as they are, then with what some templates refuse said in another way; each variant once."""
    told = [message for message in messages[:-1] if message["content"].strip()] + messages[-1:]
    plain = [{**message, "role": "user"} if message["role"] == "tool" else message for message in told]
    seen: list[list[Message]] = []
    for variant in (messages, _merge(told), _fold_system(told), _merge(plain), _fold_system(plain)):
        if variant not in seen:
            seen.append(variant)
            yield variant


def _merge(messages: list[Message]) -> list[Message]:
    """Make one message of neighbours of the same role."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1] = {**message, "content": merged[-1]["content"] + _ROLE_GAP + message["content"]}
        else:
            merged.append(message)
    return merged


def _fold_system(messages: list[Message]) -> list[Message]:
    """Put what the system says in front of what the user says first."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    if not system:
        return _merge(rest)
    if not rest or rest[0]["role"] != "user":
        return _merge([{"role": "user", "content": _ROLE_GAP.join(system)}, *rest])
    return _merge([{"role": "user", "content": _ROLE_GAP.join([*system, rest[0]["content"]])}, *rest[1:]])


def _shows_all(messages: list[Message], rendered: str) -> bool:
    """Whether what system and tools say is there: some templates drop it without a word."""
    often_dropped = (message["content"].strip() for message in messages if message["role"] in ("system", "tool"))
    return all(content[:_PROBE_CHARS] in rendered for content in often_dropped)


def _chatml(messages: list[Message]) -> str:
    turns = (f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
    return "".join(turns) + "<|im_start|>assistant\n"
