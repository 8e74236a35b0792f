# `make demo` and `make test` each work as the first command after a clone: they build .venv and then run.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Circuits are tiny: more threads than cores only make them wait for each other.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: demo test check format lint types bench readme clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/qlifq simulate --out runs/demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(JOBS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

check: lint types test

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist runs *.egg-info
