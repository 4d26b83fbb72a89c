# The two commands of the README. Each makes what it needs in .venv, from Python and make alone.
PYTHON ?= python3
BIN := .venv/bin
DEMO_RUN ?= runs/demo

.PHONY: demo test lint clean

demo: .venv/library
	$(BIN)/virtualpool tune virtualpool:all_cnn_c --weights cifar10 --data sample:cifar10 \
	  --run-dir $(DEMO_RUN) --rounds 3 --epochs 3 --recover distillation

test: .venv/development
	$(BIN)/python -m pytest

lint: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/library: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/development: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/library

clean:
	rm -rf .venv runs build dist
