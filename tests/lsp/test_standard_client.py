"""A stock LSP client (pytest-lsp on pygls) against the daemon: nothing here knows about our own methods."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest_asyncio
from lsprotocol import types
from pygls.protocol import default_converter
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities
from pytest_lsp.client import DEFAULT_CLIENT_FEATURES, register_lsp_features

from support.lsp_client import FAKE_DAEMON, daemon_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

URI = "file:///a.py"
DEADLINE_S = 20


class StockClient(LanguageClient):
    """pytest-lsp's client, which takes every ``$/progress`` for work-done progress and raises at a streamed token."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.streamed: list[Any] = []
        self.told: types.InitializeResult


def make_client() -> StockClient:
    """Give the stock features to a client, and let it keep streamed tokens aside."""
    client = StockClient(converter_factory=default_converter)

    def progress(params: types.ProgressParams) -> None:
        value: Any = params.value
        if value["kind"] == "token":
            client.streamed.append(value)
        else:
            DEFAULT_CLIENT_FEATURES[types.PROGRESS](client, params)

    register_lsp_features(client, DEFAULT_CLIENT_FEATURES | {types.PROGRESS: progress})
    return client


@pytest_asyncio.fixture
async def client(runtime_dir: Path, tmp_path: Path) -> AsyncIterator[StockClient]:
    """A stock client that went through ``initialize`` with Visual Studio Code's capabilities."""
    env = daemon_environment(runtime_dir, FAKE_ROUTER=json.dumps({"load_ms": 100}))
    client: Any = await ClientServerConfig(list(FAKE_DAEMON), make_client, env).start()
    capabilities = client_capabilities("visual-studio-code")
    client.told = await client.initialize_session(
        types.InitializeParams(capabilities, process_id=None, root_uri=tmp_path.as_uri())
    )
    yield client
    await client.shutdown_session()
    await client.stop()


async def ready(client: StockClient) -> None:
    """Wait for the made-up model."""
    await asyncio.wait_for(client.wait_for_notification("$/botframework/modelReady"), DEADLINE_S)


async def test_inline_completion(client: StockClient) -> None:
    """initialize, open, change, ghost text, close, shutdown, exit: with lsprotocol's own types on the other side."""
    await ready(client)
    item = types.TextDocumentItem(uri=URI, language_id=types.LanguageKind.Python, version=1, text="x\ntext=old")
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    area = types.Range(types.Position(1, 5), types.Position(1, 8))
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(version=2, uri=URI),
            [types.TextDocumentContentChangePartial(range=area, text="new")],
        )
    )
    answer = await client.text_document_inline_completion_async(
        types.InlineCompletionParams(
            types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
            types.TextDocumentIdentifier(URI),
            types.Position(1, 8),
        )
    )
    client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(URI)))

    assert isinstance(answer, types.InlineCompletionList)
    assert [item.insert_text for item in answer.items] == ["new"]
    assert answer.items[0].range == types.Range(types.Position(1, 8), types.Position(1, 8))


async def test_capabilities_are_those_of_the_specification(client: StockClient) -> None:
    """Lsprotocol reads what the daemon tells about itself."""
    told = client.told
    assert told.server_info is not None
    assert told.server_info.name == "botframework"
    assert told.capabilities.position_encoding == types.PositionEncodingKind.Utf16
    assert told.capabilities.inline_completion_provider == types.InlineCompletionOptions()


async def test_loading_is_shown(client: StockClient) -> None:
    """A stock client shows the loading as it shows any work-done progress, and complains about nothing."""
    await ready(client)
    reports: list[Any] = next(iter(client.progress_reports.values()))
    assert len(client.progress_reports) == 1
    assert isinstance(reports[0], types.WorkDoneProgressBegin)
    assert isinstance(reports[-1], types.WorkDoneProgressEnd)


async def test_accepting_a_suggestion(client: StockClient) -> None:
    """The command of a suggestion can be executed by any client."""
    await ready(client)
    result = await client.workspace_execute_command_async(types.ExecuteCommandParams("botframework.accepted", ["1"]))
    assert result is None


async def test_streamed_chat(client: StockClient) -> None:
    """Our own methods work through pygls's client too."""
    await ready(client)
    params = {"messages": [{"role": "user", "content": "tokens=5"}], "partialResultToken": "p"}
    result = await asyncio.wrap_future(client.protocol.send_request("botframework/chat", params))
    assert result.text == ""
    assert "".join(value["text"] for value in client.streamed) == "0 1 2 3 4 "
