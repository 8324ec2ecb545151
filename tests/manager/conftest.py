"""A runtime folder with chaos workers, and supervisors that are taken down at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.house import House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def house(runtime_dir: Path) -> AsyncIterator[House]:
    """A fresh runtime folder."""
    made = House(runtime_dir)
    yield made
    await made.close()
