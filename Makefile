.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := VIRTUAL_ENV=.venv $(BIN)/uv

help:  ## What can be done here
	@grep -hE '^[a-z.-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# A .venv that was made from older requirements is made up to date.
.venv: requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 13) else f"Python 3.13 is needed, found {sys.version.split()[0]}; say which with: make PYTHON=/path/to/python3.13")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	$(UV) pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv

demo: .venv  ## The main job on this machine: a service, recordings, verdicts
	$(BIN)/python -m workbench.demo

serve: .venv  ## The service on this machine: http://127.0.0.1:8000
	$(BIN)/audio-anomaly serve

test: .venv  ## Lint, types and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy shared functions workbench
	$(BIN)/pytest

format: .venv  ## Sort imports, lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements: .venv  ## Pin the newest versions of requirements/*.in, with hashes
	cd requirements && for name in uv runtime dev; do \
	  ../$(BIN)/uv pip compile --quiet --upgrade --python-version 3.13 --universal --generate-hashes \
	    --no-emit-index-url --no-annotate --custom-compile-command "make requirements" \
	    $$name.in --output-file $$name.txt || exit 1; done

clean:  ## Remove everything that make made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache

.PHONY: help demo serve test format requirements clean
