"""Where the tests with other people's editors run."""

from __future__ import annotations

import sys

import pytest

from botframework.manager.load import EMBEDDED_MODEL
from editors.headless import DAEMON_PROGRAM

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # processes are watched through pidfd and /proc


@pytest.fixture(autouse=True)
def _complete(request: pytest.FixtureRequest) -> None:
    """Whoever starts an editor needs the program that a user's editor would start, and its model."""
    if "home" not in request.fixturenames:
        return
    if not DAEMON_PROGRAM.is_file():
        pytest.skip("this Python environment has no program named botframework")
    if not EMBEDDED_MODEL.is_file():
        pytest.skip("the package was built without its model")
