# Everything runs in .venv, made here from Python 3.11 alone.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test fast lint types audit clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: setup
	$(BIN)/gradlaw run sqrt_b --preset demo --launcher ray --store results
	$(BIN)/gradlaw verdicts sqrt_b --store results
	$(BIN)/gradlaw report sqrt_b --store results --out report.html

# A file of tests each, so that tests that share a cluster keep it; a third process, as tests of clusters wait a lot.
test: setup
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

fast: setup
	$(BIN)/python -m pytest -m 'not slow'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/python -m mypy

# Known vulnerabilities of what is pinned; asks the advisory service, so it needs the internet.
audit: setup
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

clean:
	rm -rf $(VENV) results report.html
