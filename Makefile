# `make demo` and `make test` work from a fresh clone: the first makes .venv, the next ones only use it.

PYTHON ?= $(shell for python in python3 python3.12 python3.13 python3.11; do \
	$$python -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && \
	command -v $$python && break; done)
PIP := .venv/bin/python -m pip install
TORCH := torch==2.13.0
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: demo test docs lint clean

demo: .venv/.complete
	@.venv/bin/python examples/01_orbit.py

test: .venv/.complete
	@.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Into docs/_build/html; a warning is an error.
docs: .venv/.complete
	@.venv/bin/python -c 'import furo, myst_parser' 2>/dev/null || $(PIP) --quiet --editable '.[docs]'
	@.venv/bin/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build/html
	@echo "see docs/_build/html/index.html"

lint: .venv/.complete
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

clean:
	rm -rf .venv build dist docs/_build docs/_generated *.egg-info .pytest_cache .ruff_cache

# PyPI's torch for Linux is the CUDA build, gigabytes of it: without a GPU the CPU build is tried first. A torch that is
# in .venv already is kept.
.venv/.complete: pyproject.toml
	@test -x .venv/bin/python || test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 with venv found;" \
		"install one (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x .venv/bin/python || "$(PYTHON)" -m venv .venv
	@.venv/bin/python -c 'import torch' 2>/dev/null || \
		{ test "$$(uname)" = Linux && ! nvidia-smi >/dev/null 2>&1 && echo "Installing $(TORCH) for the CPU ..." && \
		$(PIP) --quiet --retries 0 --timeout 15 --no-deps --index-url $(CPU_WHEELS) $(TORCH); } || \
		{ echo "Installing $(TORCH) from pip's usual index ..." && $(PIP) $(TORCH); }
	@echo "Installing worldgen and its development tools ..."
	@$(PIP) --quiet --editable '.[dev]'
	@touch $@
