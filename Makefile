PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
DATA ?= data

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo up test test-slow explore lint types layers bench lock clean

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

install: $(VENV)/.runtime ## virtual environment with what running needs
install-dev: $(VENV)/.dev ## virtual environment with what tests need

demo: install ## the whole system and a fleet of 40 chargers on this machine (ARGS=--once to exit at the end)
	@$(BIN)/python run.py demo $(ARGS)

up: install ## the control plane alone, embedded servers included
	@$(BIN)/python run.py up $(ARGS)

lint: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install-dev
	$(BIN)/mypy

layers: install-dev
	$(BIN)/lint-imports

test: lint types layers ## format, lint, types, layers and all tests but the slow ones
	$(BIN)/pytest -m "not slow" -n 2 --dist loadgroup

test-slow: install-dev ## scale, soak and million-row runs
	$(BIN)/pytest -m slow -n 0 --timeout 1800

explore: install-dev ## the core's properties with new examples (ARGS=--hypothesis-seed=1 repeats a run)
	$(BIN)/pytest tests/core -n 2 --hypothesis-profile=explore $(ARGS)

bench: install-dev ## ratios against a peer or a limit measured in the same run
	$(BIN)/python -m bench $(ARGS)

lock: ## rewrite the hash-locked requirements from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra embedded --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.txt
	uv pip compile pyproject.toml --extra embedded --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements-dev.txt

clean: ## remove the data directory of `make up` and build output
	rm -rf build $(DATA)
