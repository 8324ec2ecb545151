"""The folder of models: what can be pulled, what was, and what other programs already hold.

What is exported here is light; httpx is imported by `resolve` and `download`, which a pull imports on use.
"""

from __future__ import annotations

from botframework.models.store.reference import (
    CatalogReference,
    FileReference,
    HubReference,
    ModelReference,
    WebReference,
    parse,
)

__all__ = [
    "CatalogReference",
    "FileReference",
    "HubReference",
    "ModelReference",
    "WebReference",
    "parse",
]
