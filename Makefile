# Each target is one command in its own environment; without make, see "With pip alone" in the README.
# Further words go along:  make run ARGS="10 -p EPOCHS 5"

PYTHON ?= python3
ARGS ?=
VENV := .venv
SFTLAB := $(VENV)/bin/sftlab
READY := $(VENV)/.installed

# uv is three times as fast as pip, and comes from PyPI where it is missing; pip has the last word, because uv does not
# know pip's own settings.
UV = $(or $(shell command -v uv),$(VENV)/bin/uv)
WHAT = --constraint constraints.txt --editable $(1)
INSTALL = $(UV) pip install --quiet --python $(VENV)/bin/python $(WHAT) 2>/dev/null || $(VENV)/bin/python -m pip install --quiet --quiet $(WHAT)

# names, because a comma would end the argument of a call
LESSONS = ".[text,keras]"
PEERS = ".[dev,bench]"

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help lab run test test-all notebooks book bench clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: $(READY)  ## open JupyterLab at the first lesson
	@$(SFTLAB) lab $(ARGS)

run: $(READY)  ## fine-tune on real data and leave a report, the record and the model under runs/
	@$(SFTLAB) run $(ARGS)

test: $(VENV)/.dev  ## lint, types, unit tests, doctests, the core lessons and a tour in the browser
	@$(VENV)/bin/python -m tools.checks $(ARGS)

test-all: $(VENV)/.dev  ## the rest: every lesson as it comes, with every control, in the browser; exercises; campaigns
	@$(VENV)/bin/python -m tools.checks --all $(ARGS)

notebooks: $(VENV)/.dev  ## build and execute notebooks/*.ipynb from notebooks/src/*.py
	@$(VENV)/bin/python tools/notebooks.py $(ARGS)

book: $(VENV)/.book  ## a site of the playground, the executed lessons, the evidence and core/
	@$(VENV)/bin/python -m tools.book $(ARGS)

bench: $(VENV)/.bench  ## time the same work here, in a textbook loop, in fastai and in Lightning (an hour)
	@$(VENV)/bin/python benchmarks/speed.py $(ARGS)
	@$(VENV)/bin/python benchmarks/parts.py
	@$(VENV)/bin/python benchmarks/many_images.py

clean:  ## remove the environment and the tools' caches; data/ and runs/ stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# The stamp is written last: an installation that was cut off starts again instead of half working.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sftlab needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())'). Name a newer one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments: install its venv module (on Debian and Ubuntu: apt install python3-venv)"; exit 1; }
	@echo "Installing into $(VENV): some minutes and about 6.5 GB, once."
	@$(PYTHON) -m venv $(VENV)
	@[ -x "$(UV)" ] || $(VENV)/bin/python -m pip install --quiet --quiet uv || true
	@$(call INSTALL,$(LESSONS))
	@touch $@

# What tests need, and those we compare with are not needed to learn.
$(VENV)/.dev: $(READY)
	@$(call INSTALL,".[dev]")
	@touch $@

$(VENV)/.bench: $(READY)
	@$(call INSTALL,$(PEERS))
	@touch $@

$(VENV)/.book: $(READY)
	@$(call INSTALL,$(LESSONS) myst-nb furo)
	@touch $@
