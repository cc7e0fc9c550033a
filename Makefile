# Every target does its own set-up; see CONTRIBUTING.md.
# The fastest build of the Python that is here; another one: make PYTHON=…
PYTHON ?= $(shell python3 tools/fastest_python.py)
VENV := .venv
BIN := $(VENV)/bin
DATA ?= ./aisle-data
# Clouds whose libraries are wanted: EXTRAS='[aws,gcp]' make run
EXTRAS ?=
BASE := $(VENV)/.base$(subst ],,$(subst [,-,$(EXTRAS)))

.PHONY: run demo test check bench soak setup clean

run: $(BASE)
	$(BIN)/aisnode --data $(DATA)

demo: $(VENV)/.demo
	$(BIN)/python demo/demo.py

# Three processes also where there are two processors: many tests wait for something.
test: $(VENV)/.dev
	$(BIN)/python tests/system_programs.py
	$(BIN)/python -m pytest -n 3 --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests bench demo tools
	$(BIN)/ruff check src tests bench demo tools
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 3 --dist loadfile tests/unit tests/contract

soak: $(VENV)/.dev
	$(BIN)/python tests/system_programs.py
	$(BIN)/python -m pytest tests/soak --timeout=3600 -s

bench: $(VENV)/.dev
	$(BIN)/python tests/system_programs.py --bench
	$(BIN)/python -m bench

setup: $(VENV)/.dev

$(VENV)/.python:
	@echo "Setting up $(VENV); this takes a minute or two, once."
	@python="$(PYTHON)" && test -n "$$python" && "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(BASE): pyproject.toml $(VENV)/.python
	$(BIN)/python -m pip install --quiet --editable '.$(EXTRAS)'
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.base

$(VENV)/.demo: pyproject.toml $(VENV)/.python
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) .demo bench/out build dist src/*.egg-info
	find src tests bench demo -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .mypy_cache .ruff_cache .hypothesis .import_linter_cache
