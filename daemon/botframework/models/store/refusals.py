"""Why a server does not give a file, in words that say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botframework.errors import DownloadFailed, ModelGated, RemoteNotFound, StoreError
from botframework.models.store.credentials import HOW_TO_SET
from botframework.models.store.remote import shown_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from botframework.models.store.credentials import Token

PUBLIC_HUB = "https://huggingface.co"
"""Where licences are accepted, also when a mirror is asked for the files."""
DISABLED = "Access to this resource is disabled."
"""The hub's words for a repository that was taken down; it has no code for it."""


def by_hub(
    response: httpx.Response, name: str, token: Token | None, near: Callable[[], Sequence[str]] = tuple
) -> StoreError:
    """The hub's refusal, by its status and by the code in its header.

    Parameters
    ----------
    response
        What it said; the body is not needed.
    name
        ``owner/repo``.
    token
        The one that was sent.
    near
        Finds repositories whose names come near, if it comes to that.
    """
    status, code = response.status_code, response.headers.get("x-error-code", "")
    page = f"{PUBLIC_HUB}/{name}"
    error: StoreError
    if response.headers.get("x-error-message") == DISABLED:
        error = RemoteNotFound(f"the hub gives {page} to nobody any more")
    elif code == "GatedRepo" or (status == 403 and code != "RepoNotFound"):
        error = gated(name, token)
    elif code == "RevisionNotFound":
        error = RemoteNotFound(f"{page} has no such branch, tag or commit")
    elif code == "EntryNotFound":
        error = RemoteNotFound(f"{page} has no such file")
    elif status == 401 and token is not None and code != "RepoNotFound":
        error = ModelGated(f"the hub does not take {token}; make a new one at {PUBLIC_HUB}/settings/tokens", url=page)
    elif status in {401, 403, 404, 410}:
        names = near()
        meant = f"did you mean {' or '.join(names)}?" if names else "is its name right?"
        private = "" if token else f" If it is private, {HOW_TO_SET}."
        error = RemoteNotFound(f"the hub has no repository {name}; {meant}{private}")
    else:
        error = DownloadFailed(f"{page}: the hub answers {status}", url=page)
    return error


def gated(name: str, token: Token | None) -> ModelGated:
    """A repository whose owner wants to be asked first."""
    page = f"{PUBLIC_HUB}/{name}"
    if token is None:
        return ModelGated(
            f"{name} is given only to those who accepted its licence: accept it at {page}, then {HOW_TO_SET}", url=page
        )
    return ModelGated(
        f"{name} is not given to the account of {token}: accept the licence at {page} with that account (some owners "
        "let you wait for their answer), and see that the token may read it",
        url=page,
    )


def by_server(response: httpx.Response, url: str) -> StoreError:
    """The refusal of a server that is no hub."""
    status, shown = response.status_code, shown_url(url)
    if status in {404, 410}:
        return RemoteNotFound(f"{shown}: there is no such file ({status})", url=shown)
    if status in {401, 403}:
        return ModelGated(f"{shown} is not given without a login ({status}); download it yourself", url=shown)
    return DownloadFailed(f"{shown} answers {status}", url=shown)
