# Everything a developer types. One environment, .venv, serves all targets; pip's own variables
# (PIP_INDEX_URL, PIP_FIND_LINKS, ...) are honoured.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check docs perf test-data clean

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks venv: install it (Debian and Ubuntu: apt install python3-venv)" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed  ## Score pictures and clips rendered here: nothing is downloaded but packages.
	$(BIN)/python -m rewardkit.media.ladders demo
	$(BIN)/rewardkit score demo/pictures -r sharpness+colorfulness+contrast+exposure+jpeg-compressibility -o demo/pictures.parquet --overwrite
	$(BIN)/rewardkit score demo/clips -r temporal-stability+motion-smoothness+dynamic-degree

test: $(VENV)/installed  ## The tests: CPU, offline, a few minutes.
	$(BIN)/python -m pytest

check: $(VENV)/installed  ## Lint, format, types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/installed  ## Write docs/cli.md and the README's table from the code.
	$(BIN)/python docs/write.py

perf: $(VENV)/installed  ## Speed as ratios, side by side in one run.
	$(BIN)/python tests/perf/scoring.py

test-data: $(VENV)/installed  ## Tests on real files: make test-data REWARDKIT_TEST_DATA=folder
	$(BIN)/python -m pytest -m data

clean:  ## Remove the environment and what demo and tests wrote.
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
