# `make demo` and `make test` each work as the first command after a clone: they build .venv and then run.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Circuits are tiny: more threads than cores only make them wait for each other.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: help demo test long check format lint types bench docs readme dist dist-check clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(READY)-docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

demo: $(READY) ## drive a layer with handwritten digits, into runs/demo
	$(BIN)/qlifq simulate --out runs/demo --force

test: $(READY) ## the tests, the examples in docstrings and the blocks of the README
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(JOBS)

long: $(READY) ## what takes long: what networks must learn, with kernels as fast as a user's, and a cluster of processes
	OMP_NUM_THREADS=1 QLIFQ_LONG_TESTS=1 QLIFQ_CXXFLAGS= $(BIN)/pytest --durations=0 --durations-min=1 \
		tests/training/test_public_modules.py tests/training/test_regression.py::test_mackey_and_glass_by_default \
		tests/backends/distributed/test_processes.py

lint: $(READY) ## format and lint, without changing a file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## strict types
	$(BIN)/mypy

check: lint types test ## everything that continuous integration runs

format: $(READY) ## bring the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## the benchmarks
	$(BIN)/python -m benchmarks

docs: $(READY)-docs ## the site, into build/docs, with every page executed, opened in a browser and searched
	rm -rf build/docs docs/api/generated
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --jobs $(JOBS) docs build/docs
	$(BIN)/pytest docs

readme: demo ## write the figure of the README and the table of parameters
	cp runs/demo/figure.png docs/simulate.png
	$(BIN)/python docs/parameter_table.py

dist: $(READY) ## the wheel and the sdist, into dist/; the wheel is built from the sdist
	rm -rf dist build *.egg-info
	$(BIN)/python -m build

dist-check: $(READY) ## build both and try them: the wheel in an empty environment, the tests of the sdist
	$(BIN)/pytest -m dist tests/test_distribution.py

clean: ## remove what these commands made
	rm -rf .venv build dist runs docs/api/generated *.egg-info
