# The two commands of the README: `make run` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUICKSTART := results/runs/quickstart

# A folder of real data sets; tests that need one are skipped where there is none.
ifneq ($(wildcard ../shared/datasets),)
export BFEDREC_DATA ?= $(abspath ../shared/datasets)
endif

.PHONY: run test test-slow results bench lint format setup setup-run clean

run: setup-run
	rm -rf $(QUICKSTART)
	$(BIN)/bfedrec run experiments/quickstart.yaml --out $(QUICKSTART)
	$(BIN)/bfedrec audit $(QUICKSTART)

test: lint
	$(BIN)/pytest

# The recorded results, from real data: three seeds each, resumable. See experiments/README.md.
SWEEP = $(BIN)/bfedrec sweep --seeds 0-2 --jobs $(JOBS) --record results/reference
JOBS ?= 2
results: setup-run
	$(SWEEP) experiments/ml-1m.yaml
	$(SWEEP) experiments/ml-1m-samples.yaml
	$(SWEEP) experiments/ml-1m-malicious.yaml
	$(SWEEP) experiments/ml-1m-captured.yaml
	$(SWEEP) experiments/lfm-2k.yaml data.variant=rows,distinct
	$(SWEEP) experiments/pinterest.yaml

test-slow: setup
	$(BIN)/pytest -m slow

bench: setup
	$(BIN)/pytest -o addopts=--strict-markers --benchmark-only tests/bench

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.ready-test
setup-run: $(VENV)/.ready-run

# Repeated only when pyproject.toml changes. What is installed already is left as it is.
$(VENV)/.ready-run: pyproject.toml $(BIN)/python
	$(BIN)/python .ci/installed.py || $(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.ready-test: pyproject.toml $(BIN)/python
	$(BIN)/python .ci/installed.py test || $(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.ready-run

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it as in: make PYTHON=python3.12 run" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find bfedrec consensus tests -name __pycache__ -type d -prune -exec rm -rf {} +
