"""The settings during a daemon's life: from the command line to what the editor says while it runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls import uris

from botframework import config
from botframework.errors import BotframeworkError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from botframework.lsp.protocol import DaemonProtocol

logger = logging.getLogger(__name__)

SECTION = "botframework"
ASK_DEADLINE_S = 5.0
"""For ``workspace/configuration``; without an answer the settings stay as they are."""
MAX_TOLD = 100
"""Problems told to the client in one session; the log has the rest."""


class Configuration:
    """The layers of settings known so far, and what they come to."""

    def __init__(self, layers: Iterable[config.Layer], problems: Iterable[config.Problem]) -> None:
        self._layers = tuple(layers)
        self._reading_problems = tuple(problems)
        self._told: set[config.Problem] = set()
        self._merged = config.merge(self._layers)

    @property
    def settings(self) -> config.Settings:
        """The settings in force."""
        return self._merged.settings

    def take_initialize(self, params: types.InitializeParams) -> None:
        """Take what ``initialize`` brings: its options, and the folder that may hold a file of settings."""
        self._take(config.Layer(config.Source.INITIALIZATION_OPTIONS, params.initialization_options))
        root = workspace_root(params)
        if root is not None:
            layer, problems = config.read_file(root / config.FILE_NAME, config.Source.WORKSPACE_FILE)
            self._reading_problems += problems
            self._take(layer)

    def take_client_settings(self, values: Any) -> None:
        """Take the client's section of settings; only behaviour is taken from there."""
        self._take(config.Layer(config.Source.WORKSPACE_CONFIGURATION, values))

    def _take(self, layer: config.Layer) -> None:
        self._layers = config.replaced(self._layers, layer)
        self._merged = config.merge(self._layers)

    def tell_problems(self, protocol: DaemonProtocol) -> None:
        """Tell the client what was not taken over, each thing once."""
        for problem in (*self._reading_problems, *self._merged.problems):
            if problem in self._told or len(self._told) >= MAX_TOLD:
                continue
            self._told.add(problem)
            place = f"{problem.source.value}: {problem.key}" if problem.key else problem.source.value
            text = f"botframework: {place} {problem.message}"
            logger.warning("%s", text)
            protocol.tell(types.WINDOW_LOG_MESSAGE, {"type": types.MessageType.Warning.value, "message": text})


async def ask_client(protocol: DaemonProtocol) -> Any:
    """Ask for ``workspace/configuration``; None when the client does not tell."""
    try:
        params = {"items": [{"section": SECTION}]}
        answer = await protocol.ask(types.WORKSPACE_CONFIGURATION, params, ASK_DEADLINE_S)
    except (TimeoutError, BotframeworkError) as error:
        logger.debug("no workspace/configuration: %s", type(error).__name__)
        return None
    return answer[0] if isinstance(answer, list) and answer else None


def workspace_root(params: types.InitializeParams) -> Path | None:
    """The first workspace folder as a path, if it is a local one."""
    uri = params.workspace_folders[0].uri if params.workspace_folders else params.root_uri
    if uri is None:
        return Path(params.root_path) if params.root_path else None
    try:
        path = uris.to_fs_path(uri) if uri.startswith("file:") else None
    except ValueError:
        return None
    return Path(path) if path else None
