"""Daemons for the tests of the LSP door."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from support.lsp_client import FAKE_DAEMON, LspClient, daemon_environment, running_daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


@pytest.fixture
def journal(runtime_dir: Path) -> Callable[[], list[dict[str, Any]]]:
    """What the fake router saw so far."""
    path = runtime_dir / "journal"

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def fake(runtime_dir: Path) -> Callable[..., AbstractAsyncContextManager[LspClient]]:
    """Start a daemon with a made-up router; the options are those of `support.fake_daemon`."""

    @contextlib.asynccontextmanager
    async def start(*arguments: str, environ: dict[str, str] | None = None, **options: Any) -> AsyncIterator[LspClient]:
        options.setdefault("journal", str(runtime_dir / "journal"))
        env = daemon_environment(runtime_dir, FAKE_ROUTER=json.dumps(options), **(environ or {}))
        async with running_daemon((*FAKE_DAEMON, *arguments), env=env, cwd=runtime_dir) as client:
            yield client

    return start
