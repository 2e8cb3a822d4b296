# SPDX-License-Identifier: Apache-2.0
# Two commands need nothing before them: `make run` and `make test`. Both set up a virtual environment here.

PYTHON ?= python3
VENV := .venv
SHELL_VENV := .venv-shell
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# So many tests run side by side (conftest.py says which do not); 0: one after the other, in one process, as --pdb needs it.
TEST_JOBS ?= 2

# A lab or a test starts dozens of processes. Where the environment forbids Python to keep what it has compiled, each of
# them would compile the same modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup run test lint p4 bench clean

help:
	@echo 'make run    three NVEs, two tenants, traffic and attack drill on the embedded switch'
	@echo 'make test   all tests; on BMv2 too where simple_switch_grpc is on PATH'
	@echo 'make lint   style and types'
	@echo 'make p4     compile p4src/ with the p4c on PATH (1.2.5.16 or newer)'
	@echo 'make bench  benchmarks'
	@echo 'make clean  remove what the other targets made'

setup: $(VENV)/.ready $(SHELL_VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@echo '== Python environment in $(VENV) (once; a minute or two)'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'nvo3sec needs Python 3.11 or newer; set PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo 'python3 cannot make virtual environments here. On Debian: apt-get install python3-venv' >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
	  echo '== no C compiler on PATH: installing the ziglang wheel as one'; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[zig]'; }
	@touch $@

# p4runtime-shell 0.0.6 wants protobuf < 3.21 and so cannot live beside the rest.
$(SHELL_VENV)/.ready: Makefile
	@echo '== p4runtime-shell in an environment of its own, $(SHELL_VENV) (once)'
	@$(PYTHON) -m venv $(SHELL_VENV)
	@$(SHELL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'p4runtime-shell==0.0.6'
	@touch $@

run: $(VENV)/.ready
	@$(BIN)/nvo3sec lab run --target embedded

test: setup
	@$(BIN)/nvo3sec p4 check
	@$(BIN)/python -m pytest -n $(TEST_JOBS) $(PYTEST_ARGS)

lint: $(VENV)/.ready
	@$(BIN)/ruff check .
	@$(BIN)/mypy

p4: $(VENV)/.ready
	@$(BIN)/nvo3sec p4 compile

bench: $(VENV)/.ready
	@$(BIN)/python bench/pipeline.py
	@$(BIN)/python ptf-tests/bench/entries.py
	@$(BIN)/python bmv2-lab/bench/overlay.py
	@$(BIN)/python controller/bench/control_plane.py register --times 3
	@$(BIN)/python controller/bench/control_plane.py push --mappings 200
	@$(BIN)/python controller/bench/control_plane.py many --agents 100 --mappings 2000
	@$(BIN)/python controller/bench/control_plane.py floods --seconds 2
	@$(BIN)/python controller/bench/convergence.py --moves 30 --rotations 10 --revocations 2 --bring-ups 1
	@$(BIN)/python controller/bench/revocation.py --nves 20 --times 3
	@$(BIN)/python controller/bench/keys.py --nves 10 100

clean:
	rm -rf $(VENV) $(SHELL_VENV) build *.egg-info
