# SPDX-License-Identifier: Apache-2.0
# Two commands need nothing before them: `make run` and `make test`. Both set up a virtual environment here, with what they
# need and no more. Versions and hashes are those of locks/; `make lock` renews them.

PYTHON ?= python3
VENV ?= .venv
SHELL_VENV ?= .venv-shell
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# So many tests run side by side (conftest.py says which do not): one more than two cores, since many wait for what they have
# started. 0: one after the other, in one process, as --pdb needs it.
TEST_JOBS ?= 3
# Nothing is compiled while it is installed. Where no wheels are to be had, empty this: make run PIP_WHEELS=
PIP_WHEELS ?= --only-binary=:all:
# What `make lock` does to what is locked: the newest that pyproject.toml allows. Empty: what is locked stays if it can.
LOCK_ARGS ?= --upgrade

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
FROM_LOCK := install --no-deps --require-hashes $(PIP_WHEELS)

# A lab or a test starts dozens of processes. Where the environment forbids Python to keep what it has compiled, each of
# them would compile the same modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup compiler run test lint lock p4 bare bench clean

help:
	@echo 'make run    three NVEs, two tenants, traffic and attack drill on the embedded switch'
	@echo 'make test   all tests; on BMv2 too where simple_switch_grpc is on PATH'
	@echo 'make lint   the gates of .pre-commit-config.yaml: format, style, types, licences, packages, locks'
	@echo 'make setup  the environments of all of these'
	@echo 'make lock   renew the versions and hashes in locks/'
	@echo 'make p4     compile p4src/ with the p4c on PATH (1.2.5.16 or newer)'
	@echo 'make bare   try make run and make test in bare Debian systems (as root; see .ci/bare-debian)'
	@echo 'make bench  benchmarks'
	@echo 'make clean  remove what the other targets made'

setup: $(VENV)/.test $(VENV)/.lint $(SHELL_VENV)/.ready compiler

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'nvo3sec needs Python 3.11 or newer; set PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo 'python3 cannot make virtual environments here. On Debian: apt-get install python3-venv' >&2; exit 1; }
	@touch $@

# The project itself, and what it needs to run; the backend that makes it installable is locked, too.
$(VENV)/.run: $(VENV)/.made locks/run.txt pyproject.toml
	@echo '== Python environment in $(VENV) (once; a minute or two)'
	@$(PIP) $(FROM_LOCK) -r locks/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run locks/test.txt
	@echo '== what the tests need, in $(VENV) (once)'
	@$(PIP) $(FROM_LOCK) -r locks/test.txt
	@touch $@

$(VENV)/.lint: $(VENV)/.test locks/lint.txt
	@echo '== what the gates need, in $(VENV) (once)'
	@$(PIP) $(FROM_LOCK) -r locks/lint.txt
	@touch $@

# p4runtime-shell 0.0.6 wants protobuf < 3.21 and so cannot live beside the rest.
$(SHELL_VENV)/.ready: $(VENV)/.made locks/shell.txt
	@echo '== p4runtime-shell in an environment of its own, $(SHELL_VENV) (once)'
	@$(PYTHON) -m venv $(SHELL_VENV)
	@$(SHELL_VENV)/bin/python -m pip --quiet --disable-pip-version-check $(FROM_LOCK) -r locks/shell.txt
	@touch $@

# The embedded switch compiles its program. Asked each time: a compiler may have come, or gone.
compiler: $(VENV)/.run
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || \
	  $(BIN)/python -c 'import ziglang' 2>/dev/null || { \
	  echo '== no C compiler on PATH: installing the ziglang wheel as one (once)'; \
	  $(PIP) $(FROM_LOCK) -r locks/zig.txt; }

run: compiler
	@$(BIN)/nvo3sec lab run --target embedded

test: $(VENV)/.test $(SHELL_VENV)/.ready compiler
	@$(BIN)/nvo3sec p4 check
	@echo '== all tests: 15 to 20 minutes on two cores, longer where simple_switch_grpc is on PATH'
	@$(BIN)/python -m pytest -n $(TEST_JOBS) $(PYTEST_ARGS)

lint: $(VENV)/.lint
	@git rev-parse --git-dir >/dev/null || { \
	  echo 'make lint looks at the files that git has: it needs git, and a clone of the repository' >&2; exit 1; }
	@$(BIN)/pre-commit run --all-files

lock: $(VENV)/.made
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip --quiet --disable-pip-version-check install --upgrade uv
	@PATH="$(abspath .venv-lock/bin):$$PATH" locks/renew $(LOCK_ARGS)

p4: compiler
	@$(BIN)/nvo3sec p4 compile

bare:
	@.ci/bare-debian bookworm
	@.ci/bare-debian bookworm --no-compiler
	@.ci/bare-debian trixie --no-compiler -- run

# What they share with the tests.
bench: export PYTHONPATH := $(CURDIR)/ptf-tests:$(CURDIR)/controller/tests/support
bench: $(VENV)/.test compiler
	@$(BIN)/python bench/pipeline.py
	@$(BIN)/python ptf-tests/bench/entries.py
	@$(BIN)/python bmv2-lab/bench/overlay.py
	@$(BIN)/python controller/bench/control_plane.py register --times 3
	@$(BIN)/python controller/bench/control_plane.py push --mappings 200
	@$(BIN)/python controller/bench/control_plane.py many --agents 100 --mappings 2000
	@$(BIN)/python controller/bench/control_plane.py floods --seconds 2
	@$(BIN)/python controller/bench/control_plane.py newcomers --times 20 --only "silent, 300"
	@$(BIN)/python controller/bench/convergence.py --moves 30 --rotations 10 --revocations 2 --bring-ups 1
	@$(BIN)/python controller/bench/revocation.py --nves 20 --times 3
	@$(BIN)/python controller/bench/keys.py --nves 10 100

clean:
	rm -rf $(VENV) $(SHELL_VENV) .venv-lock build *.egg-info
