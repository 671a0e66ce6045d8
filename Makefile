# The two commands: `make prior` builds the example prior, `make test` checks the project. Both install what they need first, once.
# `make server`, `make deploy` and `make worker` are for builds and retraining on a schedule: see docs/operations.md.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help prior server deploy worker test test-survival format docs bench-metrics bench-build bench-store bench-methods bench-loader bench-train clean

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

prior: .venv/installed ## Build the fusion knowledge prior of the example pairs into ./store
	$(BIN)/fusion-prior build --store store

deploy worker: export PREFECT_API_URL ?= http://127.0.0.1:4200/api
server deploy worker: export DO_NOT_TRACK ?= 1

server: .venv/installed ## Start the Prefect server, on this machine alone
	$(BIN)/prefect server start

deploy: .venv/installed ## Register every deployment of prefect.yaml with the server
	$(BIN)/python -m flows.prepare_server
	$(BIN)/prefect --no-prompt deploy --all

worker: .venv/installed ## Start a worker that runs what is asked for and scheduled
	$(BIN)/prefect worker start --pool prior-pool

test: .venv/installed-dev ## Lint, check types, run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# one core checks types, the other compiles the kernels that all tests find ready
	$(BIN)/python -m prior.warm_up & $(BIN)/mypy; status=$$?; wait; exit $$status
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-survival: .venv/installed-dev ## Kill builds, fill disks, race commits: every round, 5 to 10 minutes
	$(BIN)/pytest tests/survival --kills 30 --commit-rounds 100

format: .venv/installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed ## Write docs/metrics.md from the passports of the metrics
	$(BIN)/python -m flows.metric_page > docs/metrics.md

bench-metrics: .venv/installed-dev ## Metrics: milliseconds, beside their textbook versions; errors; memory
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/bench_metrics.py

bench-methods: .venv/installed-dev ## Methods: milliseconds, likeness to published images, strength on real pairs (two of each set)
	$(BIN)/python benchmarks/bench_methods.py
	$(BIN)/python benchmarks/bench_strength.py

bench-build: .venv/installed-dev ## A whole build against the bare sum of its kernels; one worker against two
	$(BIN)/python benchmarks/bench_build.py

bench-loader: .venv/installed-dev ## Crops for training: from the store against three PNG files per pair
	$(BIN)/python benchmarks/bench_loader.py

bench-store: .venv/installed-dev ## Ways to keep 5,000 pairs; a triple against three PNG files; a snapshot of 10,000 pairs
	$(BIN)/python benchmarks/bench_store.py

bench-train: .venv/installed-dev ## Seconds per training step, to fuse, and memory of each preset
	$(BIN)/python benchmarks/bench_train.py

clean: ## Remove the environment and the example store
	rm -rf .venv store

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fusion-prior needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/installed
