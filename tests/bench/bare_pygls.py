"""The peer of the start: the smallest server that pygls can make, with an inline completion and document sync."""

from __future__ import annotations

from lsprotocol import types
from pygls.lsp.server import LanguageServer

server = LanguageServer("bare", "1", text_document_sync_kind=types.TextDocumentSyncKind.Incremental)


@server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
async def complete(_: types.InlineCompletionParams) -> list[types.InlineCompletionItem]:
    """Nothing to suggest."""
    return []


if __name__ == "__main__":
    server.start_io()
