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
    from collections.abc import Iterable, Iterator

    from botframework.lsp.protocol import DaemonProtocol

logger = logging.getLogger(__name__)

SECTION = "botframework"
ASK_DEADLINE_S = 5.0
"""For ``workspace/configuration``; without an answer the settings stay as they are."""
MAX_TOLD = 100
"""Problems told to the client, and written to the log, in one session: a workspace must not be able to fill either."""


class Configuration:
    """The layers of settings known so far, and what they come to."""

    def __init__(self, layers: Iterable[config.Layer], problems: Iterable[config.Problem]) -> None:
        self._layers = tuple(layers)
        self._reading_problems = tuple(problems)
        self._told: set[config.Problem] = set()
        self._logged: set[config.Problem] = set()
        self._merged = config.merge(self._layers)
        self._asked = self._answered = 0
        """Numbers of the latest ``workspace/configuration``, and of the latest that was answered."""
        self.root_uri = ""
        """Of the workspace, as the client spells it; empty: there is none."""
        # Now: a client that never comes as far as initialize is not told.
        self._log_problems()

    @property
    def settings(self) -> config.Settings:
        """The settings in force."""
        return self._merged.settings

    def take_initialize(self, params: types.InitializeParams) -> None:
        """Take what ``initialize`` brings: its options, and the folder that may hold a file of settings."""
        self._take(config.Layer(config.Source.INITIALIZATION_OPTIONS, params.initialization_options))
        self.root_uri = workspace_uri(params)
        root = workspace_root(params)
        if root is not None:
            layer, problems = config.read_file(root / config.FILE_NAME, config.Source.WORKSPACE_FILE)
            self._reading_problems += problems
            self._take(layer)

    async def ask_client(self, protocol: DaemonProtocol) -> None:
        """Ask for ``workspace/configuration`` and take the answer, unless a later question was answered before.

        Raises
        ------
        BotframeworkError
            The client does not tell.
        """
        self._asked += 1
        number = self._asked
        values = await _ask(protocol)
        if number > self._answered:
            self._answered = number
            self.take_client_settings(values)

    def take_client_settings(self, values: Any) -> None:
        """Take the client's section of settings; only behaviour is taken from there."""
        self._take(config.Layer(config.Source.WORKSPACE_CONFIGURATION, values))

    def _take(self, layer: config.Layer) -> None:
        self._layers = config.replaced(self._layers, layer)
        self._merged = config.merge(self._layers)
        self._log_problems()

    def _log_problems(self) -> None:
        for problem in self._fresh(self._logged):
            logger.warning("%s", problem)

    def tell_problems(self, protocol: DaemonProtocol) -> None:
        """Tell the client what was not taken over, each thing once."""
        for problem in self._fresh(self._told):
            message = {"type": types.MessageType.Warning.value, "message": f"botframework: {problem}"}
            protocol.tell(types.WINDOW_LOG_MESSAGE, message)

    def _fresh(self, known: set[config.Problem]) -> Iterator[config.Problem]:
        """The problems that are not known yet, which are from now on."""
        for problem in (*self._reading_problems, *self._merged.problems):
            if problem not in known and len(known) < MAX_TOLD:
                known.add(problem)
                yield problem


async def _ask(protocol: DaemonProtocol) -> Any:
    """The client's section of settings; None when nothing is set there."""
    params = {"items": [{"section": SECTION}]}
    try:
        answer = await protocol.ask(types.WORKSPACE_CONFIGURATION, params, ASK_DEADLINE_S)
    except TimeoutError:
        raise BotframeworkError("the client did not answer workspace/configuration") from None
    return answer[0] if isinstance(answer, list) and answer else None


def workspace_uri(params: types.InitializeParams) -> str:
    """The first workspace folder's URI, as the client spells it; empty: there is none."""
    if params.workspace_folders:
        return params.workspace_folders[0].uri
    if params.root_uri is not None:
        return params.root_uri
    return (uris.from_fs_path(params.root_path) or "") if params.root_path else ""


def workspace_root(params: types.InitializeParams) -> Path | None:
    """The first workspace folder as a path, if it is a local one."""
    uri = workspace_uri(params)
    try:
        path = uris.to_fs_path(uri) if uri.startswith("file:") else None
    except ValueError:
        return None
    return Path(path) if path else None
