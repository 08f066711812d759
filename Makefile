# Needs Python 3.11 or newer, make, and a network to a package index. `make PYTHON=python3.12 setup` picks another Python.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
FOR_DEVELOPMENT := .venv/.installed-for-development
# Bytecode is written at the first import: compiling all of torch would take half the installation.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable
# Container images often set this; then every process would compile all of torch again, 10 s each.
unexport PYTHONDONTWRITEBYTECODE
MIN_COVERAGE ?= 90
NOTEBOOKS ?= off
PYTEST := $(BIN)/python -m pytest
QUICK := OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

.PHONY: help setup test coverage test-slow test-gpu docs lint demo
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(FOR_DEVELOPMENT) ## make .venv, or bring it up to date

$(INSTALLED): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) .
	@touch $@

$(FOR_DEVELOPMENT): $(INSTALLED)
	$(PIP_INSTALL) '.[dev]'
	@touch $@

test: setup ## quick tests
	$(QUICK) --durations=10

# On its own, since tracing makes the quick tests take 1.4 times as long.
coverage: setup ## quick tests, and whether they reach 90 % of the lines
	$(QUICK) --cov --cov-report=term --cov-fail-under=$(MIN_COVERAGE)

test-slow: setup ## the tests that `make test` leaves out
	$(PYTEST) -m slow

test-gpu: setup ## on a machine with a GPU: its tests and short benchmarks, within 8 minutes, into gpu.txt
	tests/gpu/run.sh $(BIN)/python gpu.txt

docs: setup ## the documentation site, in docs/built/html; NOTEBOOKS=force runs the notebooks, too
	$(BIN)/python -m sphinx -W --keep-going -q -b html -D nb_execution_mode=$(NOTEBOOKS) docs docs/built/html
	@echo "docs/built/html/index.html"

lint: setup ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

demo: $(INSTALLED) ## train a small codec on embedded photographs, write report.html with it, the zoo's model, JPEG and WebP
	$(BIN)/nic-train experiment=demo
	$(BIN)/nic-evaluate run=photo evaluation.datasets=embedded evaluation.baselines=[] run_dir=runs/photo
	$(BIN)/nic report runs/demo runs/photo -o report.html
