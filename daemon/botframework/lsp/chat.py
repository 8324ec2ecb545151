"""``botframework/chat``: a conversation in, an answer out, streamed if the client wants it so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from botframework.lsp.generate import deliver, request_fields, work_done
from botframework.lsp.messages import ChatResult
from botframework.wire.messages import ChatMessage, ChatRequest
from botframework.wire.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from botframework import config
    from botframework.lsp.generate import House
    from botframework.lsp.messages import ChatParams
    from botframework.lsp.protocol import DaemonProtocol


class Chat:
    """Answers chat requests."""

    def __init__(self, protocol: DaemonProtocol, house: House) -> None:
        self._protocol = protocol
        self._house = house

    def answer(self, params: ChatParams) -> Awaitable[ChatResult]:
        """Take the settings of this moment and answer."""
        return self._answer(params, chat_request(params, self._house.settings.chat))

    async def _answer(self, params: ChatParams, request: ChatRequest) -> ChatResult:
        # Begun in here, not before: a task that is cancelled before its first step could not end it.
        with self._house.busy(), work_done(self._protocol, params.work_done_token, "Answering"):
            generation = (await self._house.awake("chat")).chat(request)
            done = await deliver(self._protocol, generation, params.partial_result_token)
        return ChatResult(
            text=done.text,
            finish_reason=done.finish_reason,
            usage=done.usage,
            timings=done.timings,
            dropped_messages=done.dropped_messages,
        )


def chat_request(params: ChatParams, settings: config.Chat) -> ChatRequest:
    """What the worker is asked: the client's words, the settings for what it left out."""
    messages = tuple(
        msgspec.structs.replace(message, content=replace_surrogates(message.content)) for message in params.messages
    )
    if settings.system_prompt and messages[0].role != "system":
        messages = (ChatMessage(role="system", content=replace_surrogates(settings.system_prompt)), *messages)
    return ChatRequest(
        **request_fields(params, settings),
        messages=messages,
        priority="chat",
        trim=settings.trim if params.trim is None else params.trim,
    )
