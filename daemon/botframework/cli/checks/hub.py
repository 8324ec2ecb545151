"""The hub that models are pulled from. It is asked only on demand: nothing here opens a connection by itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from botframework.cli.checks.finding import failed, good
from botframework.errors import ConfigError, StoreError
from botframework.models.store.credentials import HOW_TO_SET, find_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botframework.cli.checks.finding import Case
    from botframework.cli.documents import Finding

PATIENCE_S = 10.0
UNKNOWN = 401


def token(_case: Case) -> Iterator[Finding]:
    """Whether the token of the hub can be one, if there is one."""
    try:
        found = find_token()
    except ConfigError as error:
        yield failed("hub's token", error.message, f"unset it, or {HOW_TO_SET}")
        return
    told = f"taken from {found.source}" if found is not None else "none; only gated models need one"
    yield good("hub's token", told)


def reachable(_case: Case) -> Iterator[Finding]:
    """Whether the hub answers, and knows the token."""
    from botframework.models.store.guard import origin
    from botframework.models.store.web import ENV_ENDPOINT, Patience, Web, endpoint

    try:
        hub, found = endpoint(), find_token()
        places = frozenset({origin(hub).place} if os.environ.get(ENV_ENDPOINT) else ())
        with Web(places, found, Patience(stall_s=PATIENCE_S, connect_s=PATIENCE_S)) as web:
            path = "/api/whoami-v2" if found is not None else "/api/models?limit=1"
            response, _ = web.answer(hub + path)
    except ConfigError as error:
        yield failed("hub", error.message, "correct the proxy or the token that is set")
    except StoreError as error:
        yield failed("hub", error.message, f"look at the network, HTTPS_PROXY and {ENV_ENDPOINT}")
    else:
        if response.status_code == UNKNOWN and found is not None:
            yield failed(
                "hub", f"{hub} does not know {found}", f"make a new one at {hub}/settings/tokens and {HOW_TO_SET}"
            )
        elif response.is_success:
            yield good("hub", f"{hub} answers" + (" and knows the token" if found is not None else ""))
        else:
            yield failed("hub", f"{hub} answers with {response.status_code}", "try again later, or look at HTTPS_PROXY")
