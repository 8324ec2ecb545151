# Every target makes its own environment first: packaging/bootstrap.py needs Python >= 3.11 and a C++ compiler, nothing
# else. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

# The first interpreter that is new enough; a pyenv shim may be found and yet not run, so each one is tried.
ifndef PYTHON
PYTHON := $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
endif
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# What needs neither a daemon nor a worker.
UNIT := tests/test_errors.py $(wildcard tests/test_bootstrap.py tests/test_config.py tests/test_schemas.py \
	tests/bench/test_typing_trace.py tests/layers tests/models/test_gguf.py tests/models/test_hardware.py tests/wire \
	tests/lsp/test_acceptance.py tests/lsp/test_completion.py tests/lsp/test_documents.py tests/lsp/test_filters.py \
	tests/lsp/test_framing.py tests/lsp/test_messages.py tests/lsp/test_suggestions.py \
	tests/manager/test_ledger.py tests/manager/test_load.py \
	tests/worker/test_endings.py tests/worker/test_fim.py tests/worker/test_healing.py tests/worker/test_infilling.py \
	tests/worker/test_parked.py tests/worker/test_plaintext.py tests/worker/test_sampling.py \
	tests/worker/test_sessions.py tests/worker/test_speed.py tests/worker/test_threads.py tests/worker/test_turns.py \
	tests/worker/test_window.py)

.PHONY: help setup demo test check types unit bench soak schemas fmt clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv (every other target does it too)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: sudo apt-get install python3.11" >&2; exit 1; }
	@$(PYTHON) packaging/bootstrap.py

demo: setup ## complete a real file and chat, on the embedded model, through the real daemon
	@$(BIN)/python -m botframework demo $(ARGS)

check: setup ## format, lint, types, unit tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory -j2 --output-sync=recurse types unit

types:
	$(BIN)/python -m mypy

unit:
	$(PYTEST) -q -m "not soak" $(UNIT)

test: setup ## everything that CI runs: check, then every test but the soaks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(PYTEST) -m "not soak" $(ARGS)

bench: setup ## the benchmarks, each beside its named peer
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

soak: setup ## the full-length soak runs: minutes to hours
	$(PYTEST) -m soak --timeout 0 $(ARGS)

schemas: setup ## write schemas/*.json and the table of limits from the code
	@$(BIN)/python packaging/generate_schemas.py
	@$(BIN)/python packaging/generate_tables.py

fmt: setup ## format and apply the linter's safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what the targets made
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build tests/artefacts
	find daemon tests packaging -name __pycache__ -type d -prune -exec rm -rf {} +
