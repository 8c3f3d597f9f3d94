# One command each: `make demo`, `make test`. Both create .venv and install what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
export MPLBACKEND := Agg
# A process for each core; a worker that runs out of tests takes some of another's.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist worksteal

DEVICE ?= cpu

# Which version of the site `make docs` builds: dev, or the number of a release.
VERSION ?= dev

# The lowest versions of pyproject.toml of what changes most below us.
OLDEST := torch==2.11.0 torchvision==0.26.0 timm==1.0.27

.PHONY: install demo check test test-slow test-kill test-cuda bench docs format clean
.PHONY: wheel wheel-test oldest release-check release-notes

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/convgate study digits/demo --out demo

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest $(PARALLEL)

test-slow: $(STAMP)
	$(BIN)/pytest $(PARALLEL) -m slow

# Commands killed at random moments, one after another; CONVGATE_KILL_SEED repeats a run's moments.
test-kill: $(STAMP)
	$(BIN)/pytest -m kill --capture=no

test-cuda: $(STAMP)
	$(BIN)/pytest -m cuda

bench: $(STAMP)
ifeq ($(DEVICE),cuda)
	$(BIN)/python benchmarks/kernels
	$(BIN)/python -m benchmarks.cuda
else
	$(BIN)/python -m benchmarks.run
endif

# Strict: a stale page, a warning, a dead link or a file from another host ends it.
docs: $(STAMP)
	$(BIN)/python docs/generate.py --check
	$(BIN)/zensical build --strict --clean
	$(BIN)/python docs/site_publish.py build/docs build/site $(VERSION)

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --outdir dist

# The wheel alone in an empty environment, then with each extra.
wheel-test: wheel
	$(PYTHON) tests/installed.py dist/*.whl build/installed constraints.txt

oldest:
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet --editable '.[dev]' $(OLDEST)
	build/oldest/bin/pytest $(PARALLEL)

release-check:
	$(PYTHON) tests/release.py check $(TAG)

release-notes:
	mkdir -p build
	$(PYTHON) tests/release.py notes $(TAG) > build/release-notes.md

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo build dist *.egg-info
