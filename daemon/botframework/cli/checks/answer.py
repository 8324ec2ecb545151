"""The whole way: a daemon, a worker, a model, one suggestion."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from botframework.cli.checks.finding import failed, good, warning
from botframework.cli.terminal import Terminal
from botframework.errors import BotframeworkError
from botframework.quantities import duration

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding

SLOW_S = 2.0
"""An editor's own deadline of a suggestion (`completion.deadlineMs`)."""


def check(options: argparse.Namespace) -> Callable[[Case], Iterator[Finding]]:
    """The check with the model and the settings of the command line."""

    def answer(_case: Case) -> Iterator[Finding]:
        """Whether a suggestion comes."""
        from botframework.cli import client
        from botframework.demo.spot import default_spot

        started = time.monotonic()
        try:
            with client.daemon(options, Terminal(as_json=True), "fim", {"completion.maxTokens": 8}) as (editor, model):
                loaded_s = time.monotonic() - started
                if not model["canInfill"]:
                    yield good("answer", f"{model['name']} is loaded after {duration(loaded_s)}")
                    return
                spot = default_spot()
                editor.notify("textDocument/didOpen", {"textDocument": spot.document})
                asked = time.monotonic()
                editor.request("botframework/complete", {"textDocument": {"uri": spot.uri}, "position": spot.position})
                took_s = time.monotonic() - asked
        except BotframeworkError as error:
            yield failed(
                "answer", f"{type(error).__name__}: {error.message}", "the lines above may say why; else the log does"
            )
            return
        told = f"{model['name']}: loaded after {duration(loaded_s)}, a suggestion of 8 tokens after {took_s:.2f} s"
        if took_s > SLOW_S:
            yield warning("answer", f"{told}: an editor does not wait so long", "take a smaller model")
        else:
            yield good("answer", told)

    return answer
