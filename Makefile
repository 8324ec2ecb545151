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
# Node.js comes with .venv.
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --no-audit --no-fund --no-update-notifier --loglevel=error
# The extension's dependencies, as its lock names them.
NODE_MODULES := vscode-extension/node_modules/.package-lock.json
# What needs neither a daemon nor a worker.
UNIT := tests/test_errors.py $(wildcard tests/test_bootstrap.py tests/test_config.py \
	tests/test_install_code_server.py tests/test_schemas.py tests/test_vscode_settings.py \
	tests/bench/test_typing_trace.py tests/layers tests/models/test_gguf.py tests/models/test_hardware*.py \
	tests/models/test_fit.py tests/models/test_scores.py tests/models/test_recommend.py tests/cli/test_tables.py tests/wire \
	tests/lsp/test_acceptance.py tests/lsp/test_completion.py tests/lsp/test_documents.py tests/lsp/test_fences.py \
	tests/lsp/test_filters.py tests/lsp/test_fitting.py tests/lsp/test_framing.py tests/lsp/test_messages.py \
	tests/lsp/test_suggestions.py tests/lsp/test_tracking.py tests/manager/test_ledger.py tests/manager/test_load.py tests/manager/test_shelf.py \
	tests/worker/test_endings.py tests/worker/test_fim.py tests/worker/test_healing.py tests/worker/test_infilling.py \
	tests/worker/test_parked.py tests/worker/test_plaintext.py tests/worker/test_sampling.py \
	tests/worker/test_sessions.py tests/worker/test_speed.py tests/worker/test_threads.py tests/worker/test_turns.py \
	tests/worker/test_window.py)

# Which llama.cpp goes into the binary: cpu, cuda, vulkan, metal, native (packaging/binary/variants.py).
VARIANT := cpu

.PHONY: help setup demo test check types unit typescript extension vsix vscode binary frozen bench soak schemas fmt clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv (every other target does it too)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: sudo apt-get install python3.11" >&2; exit 1; }
	@$(PYTHON) packaging/bootstrap.py

demo: setup ## complete a real file and chat, on the embedded model, through the real daemon
	@$(BIN)/python -m botframework demo $(ARGS)

check: setup ## format, lint, types, unit tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory -j2 --output-sync=recurse types unit typescript

types:
	$(BIN)/python -m mypy

unit:
	$(PYTEST) -q -m "not soak" $(UNIT)

$(NODE_MODULES): vscode-extension/package-lock.json | setup
	@echo "vscode-extension: installing the build's tools and libraries …"
	@cd vscode-extension && $(NPM) ci --ignore-scripts

typescript: $(NODE_MODULES)
	cd vscode-extension && $(NPM) run --silent check
	cd vscode-extension && $(NPM) test --silent

extension: setup $(NODE_MODULES) ## build vscode-extension/dist/botframework.vsix
	cd vscode-extension && $(NPM) run --silent package

vsix: setup $(NODE_MODULES) ## build the .vsix for this system with dist/botframework inside; without that the one for all
	@if test -e dist/botframework/botframework -o -e dist/botframework/botframework.exe; then \
		(cd vscode-extension && $(NPM) run --silent package -- --binary ../dist/botframework) && \
		build/binary/$(VARIANT)/venv/bin/python packaging/binary/sbom.py extension --output dist/botframework-vscode.cdx.json; \
	else \
		echo "no dist/botframework (make binary): this .vsix is for every system and brings no daemon"; \
		cd vscode-extension && $(NPM) run --silent package; \
	fi

vscode: setup ## install the real VS Code of the browser suite into .tools, where Chromium is there to look at it
	@if command -v "$${CHROMIUM:-chromium}" chromium-browser google-chrome >/dev/null; then \
		$(BIN)/python packaging/install_code_server.py; \
	else \
		echo "no Chromium (sudo apt-get install chromium): the browser suite will be skipped"; \
	fi

test: setup extension vscode typescript ## everything that CI runs: check, then every test but the soaks and those of the binary
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m mypy
	$(PYTEST) -m "not soak and not binary" $(ARGS)

binary: ## make dist/: the program as one folder and as one file, which need no Python (VARIANT=cpu|cuda|vulkan|metal|native)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: sudo apt-get install python3.11" >&2; exit 1; }
	@$(PYTHON) packaging/binary/build.py --variant $(VARIANT)

frozen: setup extension vscode binary ## the tests of what `make binary` makes
	$(PYTEST) -m "binary and not soak" $(ARGS)

bench: setup ## the benchmarks, each beside its named peer
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

soak: setup binary ## the full-length soak runs: minutes to hours
	$(PYTEST) -m soak --timeout 0 $(ARGS)

schemas: setup ## write schemas/*.json, the extension's protocol.ts and the tables of limits and settings from the code
	@$(BIN)/python packaging/generate_schemas.py
	@$(BIN)/python packaging/generate_typescript.py
	@$(BIN)/python packaging/generate_vscode_settings.py
	@$(BIN)/python packaging/generate_tables.py

fmt: setup ## format and apply the linter's safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what the targets made
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build tests/artefacts
	rm -rf vscode-extension/node_modules vscode-extension/dist
	find daemon tests packaging -name __pycache__ -type d -prune -exec rm -rf {} +
