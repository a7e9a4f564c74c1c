# make run    the demo, from a bare machine to results/report.html
# make test   the tests
# make help   everything else

VENV := .venv
PYTHON ?= python3
ALLOWED := $(shell sed -n 's/^requires-python = "\(.*\)"/\1/p' pyproject.toml)
NAME_ONE := Install Python $(ALLOWED) ('module load python' on many clusters) and name it: make PYTHON=python3.12
UV_VERSION := 0.13.9
CORES ?= 2
# Snakemake does not know the variable (https://no-color.org).
NO_COLOUR := $(if $(NO_COLOR),--nocolor)
PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
SHELL := /bin/bash
# Set in many containers; without bytecode every step compiles PyTorch's and Transformers' sources again (8 s each).
export PYTHONDONTWRITEBYTECODE :=
# The files here are in UTF-8, whatever the user's language says.
export PYTHONUTF8 := 1
# Where the home folder cannot be written to, as in some containers: Snakemake does not start without a cache.
ifneq ($(shell [ -w "$$HOME" ] && echo writable),writable)
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
endif
INSTALLED := $(VENV)/installed
UNFINISHED := $(VENV)/unfinished
EXECUTORS := $(VENV)/executors/installed
WHICH := -c 'import sys; print(sys.base_prefix, sys.version_info[:2])'
PIP_INSTALL_UV = $(1)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
# uv does not read pip's settings; hand it the folders of wheels that pip would use.
UV_INSTALL = uv pip install --quiet $(if $(PIP_FIND_LINKS),$(foreach place,$(PIP_FIND_LINKS),--find-links $(place)))

.PHONY: run unlock test test-slow test-slurm test-kills test-mutants bench gpu-check course resources lint lock docs clean help

run: $(INSTALLED)
	@snakemake --cores $(CORES) --quiet host reason $(NO_COLOUR) || { \
	  [ -z "$$(ls .snakemake/locks 2>/dev/null)" ] \
	  || echo "A killed run left its lock behind. If no other Snakemake runs here, type: make unlock && make run"; \
	  exit 1; }
	@python workflow/lib/result_message.py results

# After a run was killed with 'kill -9' or the machine lost power.
unlock: $(INSTALLED)
	snakemake --unlock --quiet host

test: $(INSTALLED) $(EXECUTORS)
	pytest -n $(CORES) --dist loadscope -m "not slow and not slurm"

# The table of reruns in one process, for what it has prepared once; all else in the other.
test-slow: $(INSTALLED) $(EXECUTORS)
	pytest -n $(CORES) --dist loadscope -m "slow and not slurm"

test-slurm: $(INSTALLED)
	pytest -m slurm tests/slurm

# Kills a running workflow N times at random moments.
N ?= 60
test-kills: $(INSTALLED)
	python tests/kills.py $(N)

# Small faults in the code that decides numbers: make test-mutants MUTANTS="masking metrics" SAMPLE=0
SAMPLE ?= 10
test-mutants: $(INSTALLED)
	python tests/mutants.py $(MUTANTS) --sample $(SAMPLE)

# Every stage beside the plain way: make bench QUICK=1 DATA=folder-of-real-data STAGES="embed predict"
bench: $(INSTALLED)
	@python benchmarks/run.py $(if $(QUICK),--quick) $(if $(DATA),--data $(DATA)) $(if $(STAGES),--stages $(STAGES))

# Do the GPUs of this machine learn and predict as the CPU does, and how fast? A few minutes; a table to paste.
gpu-check: $(INSTALLED)
	@python benchmarks/gpu_check.py $(if $(CPU),--cpu)

course: $(INSTALLED)
	snakemake --cores $(CORES) --configfile config/course.yaml $(NO_COLOUR)
	@python workflow/lib/result_message.py results/course

# Writes what the rules of a finished run needed into the Slurm profile: make resources RESULTS=results/human
RESULTS ?= results
PROFILE ?= slurm/config.yaml
resources: $(INSTALLED)
	@python workflow/lib/measured_resources.py $(RESULTS) $(PROFILE)

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check workflow
	snakemake --lint

COMPILE = uv pip compile pyproject.toml $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS)) \
  --no-annotate --no-header --python-version 3.11 --quiet

# After an edit of the pins in pyproject.toml.
lock: $(INSTALLED)
	{ sed '/^[^#]/,$$d' requirements.lock; $(COMPILE) --group dev | sed 's/+cpu$$//'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock
	{ sed '/^[^#]/,$$d' requirements-executors.lock; \
	  $(COMPILE) --group executors --constraints requirements.lock | sed 's/+cpu$$//' \
	    | grep -vxFf requirements.lock; } > requirements-executors.lock.new
	mv requirements-executors.lock.new requirements-executors.lock

# After an edit of settings, of messages or of what rules ask for.
docs: $(INSTALLED)
	python workflow/lib/config_docs.py
	python tests/support/requested_resources.py
	python tests/support/mistakes.py

clean:
	rm -rf results .snakemake

help:
	@sed -n 's/^# //p;/^$$/q' Makefile
	@echo "also: unlock test-slow test-slurm test-kills test-mutants bench gpu-check course resources lint lock docs clean"

# In the place of a Python that pyproject.toml does not allow comes another one of this machine, or one that uv fetches.
# That one lies in .venv, so that whoever and whatever node reads .venv finds it.
# immutables has no wheel for Python 3.14, and does without its part in C (CC=true): no compiler is needed. This build is
# kept out of uv's cache, which other projects read.
# What was interrupted begins anew, for uv takes half a package for a whole one; so does what another Python had made.
$(INSTALLED): requirements.lock
	@echo "Installing into $(VENV) (once; a few minutes at most)"
	@[ ! -e $(UNFINISHED) ] || rm -rf $(VENV)/*
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is missing, too old, or without its part that makes virtual environments" \
	    "(Debian, Ubuntu: sudo apt install python3-venv). $(NAME_ONE)"; exit 1; }
	@[ "$$($(VENV)/bin/python $(WHICH) 2>&1)" = "$$($(PYTHON) $(WHICH))" ] || rm -rf $(VENV)/*
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@if $(PYTHON) -c 'import re, sys; \
	  lowest, above = [tuple(map(int, version.split("."))) for version in re.findall("[0-9.]+", "$(ALLOWED)")]; \
	  sys.exit(not lowest <= sys.version_info < above)'; \
	then $(PYTHON) -m venv $(VENV); \
	else \
	  echo "$(PYTHON) is $$($(PYTHON) --version), and not $(ALLOWED): looking for another one, or fetching it"; \
	  $(PYTHON) -m venv $(VENV)/uv && $(call PIP_INSTALL_UV,$(VENV)/uv) || exit 1; \
	  said=$$(UV_PYTHON_INSTALL_DIR="$(CURDIR)/$(VENV)/python" \
	    $(VENV)/uv/bin/uv venv --allow-existing --seed --python '$(ALLOWED)' $(VENV) 2>&1) || { \
	    echo "error: no Python that fits is here, and none could be fetched ($${said##*cause: }). $(NAME_ONE)"; exit 1; }; \
	  rm -r $(VENV)/uv; \
	fi
	@$(call PIP_INSTALL_UV,$(VENV))
	@CC=true $(UV_INSTALL) --no-cache --python $(VENV)/bin/python $$(grep '^immutables=' requirements.lock)
	@$(UV_INSTALL) --python $(VENV)/bin/python -r requirements.lock
	@rm $(UNFINISHED) && touch $@

$(EXECUTORS): requirements-executors.lock $(INSTALLED)
	@$(UV_INSTALL) --python $(VENV)/bin/python --no-deps --target $(@D) -r requirements-executors.lock
	@touch $@
