.DELETE_ON_ERROR:
PYTHON ?= python3
VENV   ?= .venv
# Where pip is offered no CPU build of torch: make demo PIP_ARGS="--extra-index-url <the vendor's CPU index>"
PIP_ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt $(PIP_ARGS)
# One OpenMP thread a test process: two processes with two threads each fight over two cores.
TEST := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo install check test test-long test-all clean
demo: $(VENV)/.base
	$(BIN)/denoisight demo

install: $(VENV)/.base

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/architecture -n 0

test: $(VENV)/.test
	$(TEST) --durations=10

# What test leaves out: kills, several processes, whole runs.
test-long: $(VENV)/.test
	$(TEST) -m long --timeout 1800 --durations=10

test-all: test test-long

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@
$(VENV)/.test: $(VENV)/.base
	$(PIP) -e '.[test]'
	@touch $@
