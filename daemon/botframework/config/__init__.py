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
files nor decide what stays in memory. The editor's word stands above the workspace's file because the user wrote it.
"""

from __future__ import annotations

from botframework.config.folders import (
    ENV_CONFIG_FILE,
    ENV_RUNTIME_DIR,
    FILE_NAME,
    config_file,
    data_dir,
    log_dir,
    runtime_dir,
)
from botframework.config.merge import Layer, Merged, Problem, Source, merge, replaced
from botframework.config.settings import MACHINE_SETTINGS, Chat, Completion, Engine, Log, Settings, Worker
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
    "Chat",
    "Completion",
    "Engine",
    "Layer",
    "Log",
    "Merged",
    "Problem",
    "Settings",
    "Source",
    "Worker",
    "argument_layer",
    "config_file",
    "data_dir",
    "environment_layer",
    "log_dir",
    "merge",
    "read_file",
    "replaced",
    "runtime_dir",
    "startup_layers",
]
