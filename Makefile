# Needs Python 3.11 or newer, make and a package index. Everything is installed into .venv, nowhere else.

PYTHON ?= python3
BIN := .venv/bin

# An idle PyTorch thread must sleep, not spin: beside one other busy process two spinning threads are 30-50 times slower.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo install test fuzz lint types docs fmt bench audit screenshots notebooks versions

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/installed-app  ## fetch MovieLens-100K, train runs/demo if it is not there, open the dashboard on 127.0.0.1:8501
	$(BIN)/whyrec demo

install: .venv/installed-app  ## only install; then .venv/bin/whyrec --help

test: .venv/installed-dev  ## run the tests, offline
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# SEED says which examples are tried: the same ones each time unless another is given, so that what passed once passes again.
SEED ?= 0
EXAMPLES ?= 400

fuzz: .venv/installed-dev  ## read broken tables and runs for a minute; SEED=1 tries other ones
	HF_HUB_OFFLINE=1 WHYREC_FUZZ=$(EXAMPLES) $(BIN)/python -m pytest -n 2 tests/test_fuzz.py --hypothesis-seed=$(SEED)

lint: .venv/installed-dev  ## check style, format and what bandit knows of insecure code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit -c pyproject.toml -r recsys_core dashboard --severity-level medium --quiet

types: .venv/installed-dev  ## check types
	$(BIN)/mypy

docs: .venv/installed-dev  ## build the documentation into site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fmt: .venv/installed-dev  ## put style and format right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed-dev  ## run the benchmarks on MovieLens-100K; results are written to benchmarks/results
	$(BIN)/whyrec fetch ml-100k --out data/ml-100k
	@set -e; for name in metric_agreement warm cold timing explain sentences; do echo "$$name"; $(BIN)/python benchmarks/$$name.py; done

audit: .venv/installed-dev  ## look for published advisories against the pinned packages, if pip-audit is there
	$(BIN)/python benchmarks/audit.py

versions: .venv/installed-dev  ## which Pythons and versions work? Needs python3.11 to python3.13 and gigabytes; writes docs/versions.md
	$(BIN)/python benchmarks/versions.py

screenshots: .venv/installed-dev  ## take the pictures of docs/images from the real dashboard on runs/demo, beside a run without text
	$(BIN)/whyrec demo --no-dashboard
	$(BIN)/whyrec explain --run runs/demo --scoreboard > /dev/null
	[ -d runs/without-text ] || $(BIN)/whyrec train --data data/ml-100k --out runs/without-text --set components=popularity,ease,factors,next_item
	$(BIN)/whyrec evaluate --run runs/without-text > /dev/null
	$(BIN)/python docs/screenshots.py --run runs/demo

notebooks: .venv/installed-dev  ## run the notebooks on MovieLens-100K and write them to build/notebooks, pages that open offline
	$(BIN)/jupyter nbconvert --config notebooks/offline/config.py notebooks/*.ipynb

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Whyrec needs Python 3.11 or newer and '$(PYTHON)' is not; name one that is: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

# A stamp is renewed when a requirement changes, so that a second run starts at once.
.venv/installed-app: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[bert,als]"
	@touch $@

.venv/installed-dev: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[bert,als,dev]"
	@touch .venv/installed-app $@
