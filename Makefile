# Every target sets up what it needs: a virtual environment in .venv from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# Two processes, each on cores of its own; a file's tests stay together, for what they share is made once.
TWO := -n 2 --dist loadfile

.PHONY: help demo test quick check test-slow clean

help:
	@echo "make demo       label the bundled sample with the bundled checkpoint"
	@echo "make test       all tests (under 15 minutes on 2 cores)"
	@echo "make quick      the tests that run no pipeline (under 90 seconds)"
	@echo "make check      ruff and mypy"
	@echo "make test-slow  the tests that take minutes each"

demo: .venv/.demo
	@$(BIN)/python -m pipelines.classify --runner=DirectRunner

test: .venv/.test
	$(BIN)/python -m pytest -q $(TWO)

quick: .venv/.test
	$(BIN)/python -m pytest -q $(TWO) -m "not slow and not gpu and not engine and not shared"

test-slow: .venv/.test
	$(BIN)/python -m pytest -q -m slow

check: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo-output

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) -V 2>&1 | cut -d' ' -f2): name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) comes without its venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	@echo "creating the environment in .venv (some minutes, once) ..."
	@$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@
