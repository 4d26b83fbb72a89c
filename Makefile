# The two commands of the README. Each makes what it needs in .venv, from Python and make alone.
PYTHON ?= python3
BIN := .venv/bin
DEMO_RUN ?= runs/demo

.PHONY: demo test lint clean

# Compiled models are timed where a C++ compiler is there to compile them.
MODE := $(if $(shell command -v c++),compiled,eager)

demo: .venv/library
	$(BIN)/virtualpool tune virtualpool:all_cnn_c --weights cifar10 --data sample:cifar10 \
	  --run-dir $(DEMO_RUN) --sizes 3,3,3 --recover both --epochs 2,3,5 --optimizer adamw \
	  --learning-rate 0.0003 --schedule cosine --mode $(MODE) --timing-batch 32

# A process a core, up to four: a test computes on one thread.
test: .venv/development
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

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
