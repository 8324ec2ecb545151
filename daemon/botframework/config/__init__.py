"""The settings tree, where its values may come from, and the folders.

Values are merged from layers, weakest first::

    source                        may set       written as
    built-in defaults             everything
    the user's botframework.toml  everything    [completion] maxTokens = 64
    environment                   everything    BOTFRAMEWORK_COMPLETION_MAX_TOKENS=64
    command line                  everything    --set completion.maxTokens=64
    initializationOptions         everything    {"completion": {"maxTokens": 64}}
    a workspace's botframework.toml  behaviour  as the user's file
    workspace/configuration       behaviour     as initializationOptions

Behaviour is everything except `MACHINE_SETTINGS`: whatever came with a workspace is untrusted and may neither choose
files nor decide what stays in memory. What writes the user's text to disk (`ONLY_OFF`) it may switch off, not on. The
editor's word stands above the workspace's file because the user wrote it.
"""

from __future__ import annotations

from botframework.config.folders import (
    ENV_CONFIG_FILE,
    ENV_RUNTIME_DIR,
    FILE_NAME,
    SESSIONS_NAME,
    cache_dir,
    config_file,
    data_dir,
    is_workspace_hash,
    log_dir,
    make_private,
    runtime_dir,
    sessions_dir,
    workspace_hash,
)
from botframework.config.merge import Layer, Merged, Problem, Source, merge, replaced, shown
from botframework.config.settings import (
    MACHINE_SETTINGS,
    ONLY_OFF,
    Chat,
    Completion,
    Edit,
    Engine,
    Log,
    Models,
    Sessions,
    Settings,
    Worker,
)
from botframework.config.sources import (
    ENV_DEBUG,
    ENV_PREFIX,
    argument_layer,
    environment_layer,
    read_file,
    startup_layers,
)

__all__ = [
    "ENV_CONFIG_FILE",
    "ENV_DEBUG",
    "ENV_PREFIX",
    "ENV_RUNTIME_DIR",
    "FILE_NAME",
    "MACHINE_SETTINGS",
    "ONLY_OFF",
    "SESSIONS_NAME",
    "Chat",
    "Completion",
    "Edit",
    "Engine",
    "Layer",
    "Log",
    "Merged",
    "Models",
    "Problem",
    "Sessions",
    "Settings",
    "Source",
    "Worker",
    "argument_layer",
    "cache_dir",
    "config_file",
    "data_dir",
    "environment_layer",
    "is_workspace_hash",
    "log_dir",
    "make_private",
    "merge",
    "read_file",
    "replaced",
    "runtime_dir",
    "sessions_dir",
    "shown",
    "startup_layers",
    "workspace_hash",
]
