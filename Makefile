# What a developer runs. Every target works alone on a fresh checkout: it makes .venv and installs what it needs, once.
#
#   make ask          the main job: asks the built-in model about an example sound
#   make test         installs what the tests need and runs the fast ones (ARGS="-k mel" narrows them)
#   make slow         the tests that take minutes
#   make check        format, lint, types: what CI asks of a change
#   make format       puts the format and the fixable lints right
#   make constraints  resolves the dependencies anew and writes constraints.txt
#   make clean        removes .venv and every cache
#
# Settings: PYTHON (the interpreter that makes .venv), TORCH_INDEX (the package index that torch alone comes from;
# https://download.pytorch.org/whl/cpu has the build without CUDA), SOUND and QUESTION (for `make ask`).

SOUND ?= examples/sentence.wav
QUESTION ?= What does the speaker say?
PYTHON ?=
TORCH_INDEX ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python)
CPU_INDEX := https://download.pytorch.org/whl/cpu

# Words for the reader go to stderr, so that the answer is all there is on stdout.
.PHONY: ask test slow check format constraints clean

ask: $(VENV)/.core
	@echo 'auricle ask $(SOUND) "$(QUESTION)"' >&2
	@$(BIN)/auricle ask '$(SOUND)' '$(QUESTION)'

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(ARGS)

slow: $(VENV)/.dev
	@$(BIN)/python -m pytest -m slow $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(PYTHONS) ""; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Auricle needs Python 3.11 or newer, and none of these is: $(PYTHONS). Install it, or name it: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version) ..." >&2; \
	"$$python" -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "$$python can't make a virtual environment; on Debian and Ubuntu, install python3-venv" >&2; \
	  exit 1; \
	}

# torch first and alone: it is by far the largest download, and the only one that may come from an index of its own.
$(VENV)/.core: pyproject.toml constraints.txt $(wildcard native/*) | $(BIN)/python
	@if [ -z '$(TORCH_INDEX)' ] && [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
	  echo "No NVIDIA GPU here: if torch arrives with CUDA (several GB), the CPU build is smaller: TORCH_INDEX=$(CPU_INDEX)" >&2; \
	fi
	@echo "Installing torch, the largest part ..." >&2
	@$(PIP) install --no-deps -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch >&2
	@echo "Installing Auricle and the other libraries (about a minute) ..." >&2
	@$(PIP) install -qq -c constraints.txt -e . >&2
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "Installing what tests and checks need (about a minute) ..." >&2
	@$(PIP) install -qq -c constraints.txt -e '.[dev]' >&2
	@touch $@

# From a clean environment, without local version tags (+cpu), so that one file serves every build of torch.
# torch and transformers move by hand, because kernels and parity are measured against them.
PINS := torch==2.13.0 transformers==5.23.0
constraints: | $(BIN)/python
	@rm -rf build/constraints && $(BIN)/python -m venv build/constraints
	@build/constraints/bin/python -m pip install -qq $(PINS) '.[dev]'
	@{ echo "# What was tested: every library of the core and the dev extra. Made by \`make constraints\`."; \
	   build/constraints/bin/python -m pip freeze --all --exclude auricle --exclude pip | sed 's/+[a-z0-9.]*$$//'; \
	 } > constraints.txt
	@rm -rf build/constraints
	@echo "constraints.txt holds $$(grep -c == constraints.txt) pins" >&2
