# What can be done here; `make` alone lists it.

PYTHON ?= python3
# Optional dependencies to install: dev for demo and tests, medical for DICOM, NIfTI and ITK, zoo for publishing.
EXTRAS ?= dev
PYTEST_ARGS ?=
# Processes that test; a file of tests stays in one of them, and each computes on one core.
WORKERS ?= auto

BIN := .venv/bin
# Left when an installation is complete, renewed when what is to be installed changes.
STAMP := .venv/.installed-$(EXTRAS)

.DEFAULT_GOAL := help
.PHONY: help setup demo lint test check clean

help: ## list these commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-7s %s\n", $$1, $$2}'

setup: $(STAMP) ## install everything into .venv; EXTRAS=dev,medical,zoo adds optional packages
	@echo "ready: .venv ($(EXTRAS))"

# -qq: pip warns of each package folder that this machine does not have.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing into .venv (some minutes the first time)"
	@$(BIN)/python -m pip install -qq --upgrade pip
	@$(BIN)/python -m pip install -qq -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

demo: setup ## run every bundle on generated images and one real one; results in demo_output
	@$(BIN)/python scripts/demo.py

lint: setup ## style and types
	@echo "ruff check"
	@$(BIN)/ruff check --quiet .
	@echo "ruff format --check"
	@$(BIN)/ruff format --check --quiet .
	@echo "mypy"
	@$(BIN)/mypy

test: lint ## style, types and all tests; PYTEST_ARGS="-m 'not slow'" leaves out the long ones
	@echo "pytest"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist loadfile $(PYTEST_ARGS)

check: setup ## what the MONAI model zoo checks, for every bundle
	@$(BIN)/python scripts/check_bundle.py bundles/*/

clean: ## remove what these commands wrote, except .venv
	@rm -rf demo_output build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	@find common scripts bundles tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "clean"
