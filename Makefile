# The two commands of the README. Each makes what it needs in .venv, from Python and make alone.
PYTHON ?= python3
BIN := .venv/bin
DEMO_RUN ?= runs/demo

.PHONY: demo test oldest nightly lint docs dist clean

# Compiled models are timed where a C++ compiler is there to compile them.
MODE := $(if $(shell command -v c++),compiled,eager)

demo: .venv/library
	$(BIN)/virtualpool tune virtualpool:all_cnn_c --weights cifar10 --data sample:cifar10 \
	  --run-dir $(DEMO_RUN) --rounds-file recipes/all_cnn_c/rounds.json --recover reconstruction \
	  --reconstruction-images 2000 --mode $(MODE) --timing-batch 32

# Python compiles a module when it is imported; pip would compile all of them, in half a minute.
PIP := pip install --quiet --no-compile

# A process a core, up to four: a test computes on one thread.
PYTEST := -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: .venv/development
	$(BIN)/python $(PYTEST)

# The tests nearest to PyTorch, for its oldest version that is supported, and for last night's. Fake
# tensors on a GPU (test_cuda.py) need a driver there; arithmetic (kernels, rules, norms) calls what
# has long been stable; whole networks and random ones take long.
NEAR_PYTORCH := tests/test_torch_private.py tests/operator/test_exporting.py \
  tests/operator/test_pool.py tests/test_apply.py tests/test_storage.py tests/fuse \
  --ignore tests/fuse/kernels --ignore tests/fuse/rules \
  --ignore tests/fuse/test_cuda.py --ignore tests/fuse/test_zoo.py \
  --ignore tests/fuse/test_detectors.py --ignore tests/fuse/test_random.py \
  --ignore tests/fuse/test_dense.py --ignore tests/fuse/test_norms.py \
  --ignore tests/fuse/test_operators.py \
  --ignore tests/fuse/onnx/test_phases.py --ignore tests/fuse/onnx/test_open_sizes.py

oldest: .venv-oldest/library
	.venv-oldest/bin/python $(PYTEST) $(NEAR_PYTORCH)

nightly: .venv-nightly/library
	.venv-nightly/bin/python $(PYTEST) $(NEAR_PYTORCH)

lint: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

# The site, as files that a browser opens without a network. PyTorch is not needed for it.
docs: .venv-docs/site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

# Wheel and sdist, checked; and the wheel in an environment of its own, with no checkout around.
dist: .venv/bin/python
	rm -rf dist
	$(BIN)/python -m $(PIP) build twine
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m venv --clear .venv-dist
	.venv-dist/bin/python -m $(PIP) dist/*.whl
	cd dist && ../.venv-dist/bin/virtualpool apply virtualpool:all_cnn_c all --weights cifar10 --output check.safetensors
	rm dist/check.safetensors

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/library: .venv/bin/python pyproject.toml
	$(BIN)/python -m $(PIP) --editable .
	touch $@

.venv/development: .venv/bin/python pyproject.toml
	$(BIN)/python -m $(PIP) --editable '.[dev]'
	touch $@ .venv/library

.venv-oldest/library: pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m $(PIP) --editable . 'torch==2.9.*' 'torchvision==0.24.*' \
	  hypothesis pytest pytest-xdist
	touch $@

PACKAGES := import sys, tomllib; \
  print(*tomllib.load(sys.stdin.buffer)["project"]["optional-dependencies"]["docs"], sep="\n")

.venv-docs/site: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -c '$(PACKAGES)' < pyproject.toml > .venv-docs/packages.txt
	.venv-docs/bin/python -m $(PIP) --requirement .venv-docs/packages.txt
	touch $@

TORCH_INDEX ?= https://download.pytorch.org/whl/nightly/cpu

.venv-nightly/library: pyproject.toml
	$(PYTHON) -m venv .venv-nightly
	.venv-nightly/bin/python -m $(PIP) --pre --index-url $(TORCH_INDEX) torch torchvision
	.venv-nightly/bin/python -m $(PIP) --editable . hypothesis pytest pytest-xdist
	touch $@

clean:
	rm -rf .venv .venv-oldest .venv-nightly .venv-dist .venv-docs runs build dist
