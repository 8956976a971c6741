# make help    what there is
# make demo    install, then answer three questions about an example clip
# make test    install what the tests need, then run them
#
# PYTHON=python3.12      another interpreter for the environment
# VENV=/tmp/venv         another place for it
# PIP_FLAGS=...          more for pip. On Linux without an NVIDIA card this saves several gigabytes:
#                        make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# PYTEST_FLAGS=...       e.g. PYTEST_FLAGS="-m slow"

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
PYTEST_FLAGS ?= -n 2 --dist loadfile

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
# A stamp is newer than these files unless the requirements changed since the last installation.
REQUIREMENTS := pyproject.toml constraints.txt

.PHONY: help demo test lint format docs dist-test clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install into $(VENV), answer three questions about an example clip"
	@echo "make test    install what the tests need, run the tests"
	@echo "make lint    ruff (rules and format) and mypy"
	@echo "make format  let ruff rewrite what it can"
	@echo "make docs    build the documentation's site into site/"
	@echo "make dist-test   build wheel and sdist into dist/, try each in an empty environment"
	@echo "make clean   remove $(VENV) and the caches of the tools"

demo: $(VENV)/.core
	@$(BIN)/python examples/demo.py

# Two processes on two cores: more threads in each would only slow them down.
test: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(VENV)/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist-test:
	@PIP_FLAGS="$(PIP_FLAGS)" $(PYTHON) .ci/dist_test.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing mobile-videogpt into $(VENV) (a minute or two) ..."
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "Installing what the tests need into $(VENV) ..."
	@$(INSTALL) -e ".[dev]"
	@touch $@
