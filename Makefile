# The study's commands. Each builds .venv by itself when needed.
PYTHON ?= python3
PRESET ?= laptop
BIN := .venv/bin

.PHONY: help study test test-gpu lab bench notebooks lint lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

study: .venv/installed ## execute every notebook and write runs/laptop/index.html
	@$(BIN)/nbkit study --preset $(PRESET)

test: .venv/installed ## lint, unit, notebook, fault and docs tests
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup

test-gpu: .venv/installed ## the tests that need a CUDA device
	@$(BIN)/python -m pytest -q -m gpu

lab: .venv/installed ## open JupyterLab on notebook 00
	@$(BIN)/jupyter lab --ip 127.0.0.1 --ServerApp.root_dir=. \
	  --LabApp.default_url=/lab/tree/notebooks/00_overview.ipynb

bench: .venv/installed ## print the speed ratios
	@$(BIN)/python tests/bench.py

notebooks: .venv/installed ## rebuild and execute notebooks/*.ipynb and figures/ from the sources
	@$(BIN)/nbkit study --refresh

lint: .venv/installed ## format and lint
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lock: ## renew requirements.lock from pyproject.toml (needs uv)
	@uv pip compile --universal --python-version 3.11 --all-extras \
	  --no-annotate --no-header --upgrade pyproject.toml -o requirements.lock

clean: ## remove .venv and runs/: pages, checkpoints, fresh results (data/results stays)
	@rm -rf .venv runs

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "Python 3.11.4 or later is needed; try make PYTHON=python3.11")'
	@echo "Installing the locked packages into .venv (a few minutes, once) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
