# Two commands need nothing but Python 3.11 and make: `make run` and `make test`. Nothing here uses the network once the
# environment is set up; a stamp file says for which pyproject.toml and constraints.txt that was.

VENV := .venv
BIN := $(VENV)/bin
# Errors stay visible; setuptools' advice about editable installations and data folders says nothing about this project.
PIP := PYTHONWARNINGS='ignore:Editable installation,ignore:Package' $(BIN)/python -m pip --disable-pip-version-check --quiet install \
	--prefer-binary --constraint constraints.txt
PACKAGES := pyproject.toml constraints.txt
TORCH := torch==2.13.0
TRITON_VENV := .venv-triton
API_VENV := .venv-api
SUITE := not gpu and not bench and not soak
# Two test processes share two cores: files are the unit, so that what a file prepares is prepared once.
JOBS := 2
SOURCES := sim models reference_node tests

# The first interpreter that is new enough, 3.11 before others.
PYTHON ?= $(shell for name in python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup setup-all run app test lint bench test-triton test-api soak bench-accelerator clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.stamp-setup ## .venv with the simulator, the chain and the dashboard

setup-all: $(VENV)/.stamp-setup-all ## the same with the reference node (torch), cadCAD and the developers' tools

run: setup ## simulate scenarios/baseline.yaml (or go on where it was stopped) and say where its report is
	$(BIN)/olsim run scenarios/baseline.yaml --resume

app: setup ## the dashboard on 127.0.0.1
	$(BIN)/olsim app

test: setup-all lint ## the whole suite but gpu, bench and soak
	$(BIN)/pytest -m "$(SUITE)" --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

lint: setup-all ## ruff, mypy --strict, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

bench: setup-all ## ratios measured on this machine
	$(BIN)/olsim bench node

test-triton: $(TRITON_VENV)/.stamp ## the kernels under Triton's interpreter, in an environment of their own
	OMP_NUM_THREADS=1 $(TRITON_VENV)/bin/python -m pytest -c /dev/null --rootdir=. --confcutdir=tests/triton \
		--import-mode=importlib -p no:cacheprovider -W "ignore:Conversion of an array" -q tests/triton

test-api: setup-all $(API_VENV)/.stamp ## schemathesis (an environment of its own) against a live node
	OMP_NUM_THREADS=1 $(BIN)/python tests/api/run.py $(API_VENV)/bin/st

soak: setup-all ## ten minutes of four times the load a node can serve; SOAK_SECONDS=60 for less
	OMP_NUM_THREADS=1 $(BIN)/pytest -m soak tests/soak -s

bench-accelerator: ## kernels, figures and profile of an NVIDIA card, by any Python here whose torch sees it
	@for name in $(ACCELERATOR_PYTHON) $(BIN)/python python3 python; do \
		$$name -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null || continue; \
		exec $$name -m reference_node.bench.accelerator --out runs/accelerator $(ACCELERATOR_OPTIONS); \
	done; echo "no Python here has a torch that sees a CUDA device; ACCELERATOR_PYTHON=... names another" >&2; exit 2

clean: ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) $(TRITON_VENV) $(API_VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "olsim needs Python 3.11 or newer; none was found on PATH" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check --quiet install --upgrade pip

$(VENV)/.stamp-setup: $(PACKAGES) | $(BIN)/python
	$(PIP) --editable '.[chain,app]'
	@touch $@

# torch comes in a command of its own: on a machine that holds a build of this version already, pip leaves it alone.
$(VENV)/.stamp-setup-all: $(VENV)/.stamp-setup
	$(PIP) $(TORCH)
	$(PIP) --editable '.[chain,app,node,cadcad,peers,dev]'
	@touch $@

# Triton's interpreter needs an older numpy than the rest; torch in a command of its own, as above.
$(TRITON_VENV)/.stamp: constraints-triton.txt
	@test -n "$(PYTHON)" || { echo "olsim needs Python 3.11 or newer; none was found on PATH" >&2; exit 2; }
	$(PYTHON) -m venv $(TRITON_VENV)
	$(TRITON_VENV)/bin/python -m pip --disable-pip-version-check --quiet install $(TORCH)
	$(TRITON_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --requirement constraints-triton.txt
	@touch $@

$(API_VENV)/.stamp: constraints-api.txt | $(BIN)/python
	$(PYTHON) -m venv $(API_VENV)
	$(API_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --upgrade pip
	$(API_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --requirement constraints-api.txt
	@touch $@
