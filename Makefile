# Two commands: `make demo` and `make test`. Both set up all that they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-siril-window lint clean

# One stamp for each set of requirements; either comes anew when pyproject.toml changes.
$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nox needs Python 3.11 or later; name one with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv is missing; install it (Debian: apt-get install python3-venv)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"
	$(PIP) install --quiet --editable ".[cpu]"
	touch $@

$(VENV)/.test: $(VENV)/.runtime
	$(PIP) install --quiet --editable ".[cpu,train,bench]" --group dev --group test-napari
	touch $@

demo: $(VENV)/.runtime
	$(BIN)/nox-runtime demo -o demo --overwrite

test: $(VENV)/.test
	sh tests/system-packages.sh
	$(BIN)/python -m pytest --ignore=tests/napari
	sh tests/napari/run.sh $(BIN)/python

# Not part of `make test`: a gigabyte and a half more, for a whole Siril with its display.
test-siril-window: $(VENV)/.test
	sh tests/system-packages.sh
	$(BIN)/python -m pytest tests/siril/check_window.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build dist
