# Two commands do everything on a fresh machine: `make demo` (the main job) and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Trace files for the demo's links, e.g. TRACES=../shared/data/lumos5g/5g; without it they are synthetic.
TRACES ?=
# What is installed beside the planner and the service; with docs `make docs` has nothing to install.
EXTRAS ?= runtime,dev
# The fraction of requests that must be on time for the demo to succeed.
ON_TIME ?= 0.99
# How long the demo measures each model, as a factor: less is quicker and less exact.
MEASURING ?= 1
# The tests run in this many processes, a file at a time; 0 is all in one. Many of them start processes
# of their own and wait for them: two processes leave a quarter of two cores idle.
TEST_PROCESSES ?= 3
PYTEST_ARGS ?=

.PHONY: help install demo serve docs test exhaustive lint types laws migrations check clean
.DEFAULT_GOAL := help

help: ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

install: $(VENV)/.installed ## Make .venv with pinned dependencies and the `regraft` command in it

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Regraft needs Python 3.11 or later; give one with PYTHON=…"; exit 2; }
	@echo "installing into $(VENV) (a few minutes the first time) …"
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --no-compile --editable '.[$(EXTRAS)]'
	@# pip would compile to bytecode on one core, tests too; what is not for this Python cannot be.
	@$(BIN)/python -W ignore -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib & \
		$(BIN)/python -m solver.compiled && { wait || true; }
	@touch $@ $(if $(findstring docs,$(EXTRAS)),$(VENV)/.docs)

demo: install ## The main job, end to end, on this machine (TRACES=DIR for real links)
	$(BIN)/regraft demo --on-time $(ON_TIME) --measuring $(MEASURING) $(if $(TRACES),--traces $(TRACES))

serve: install ## The same system, kept running; prints the address of its API documentation
	$(BIN)/regraft demo --serve --on-time $(ON_TIME) --measuring $(MEASURING) $(if $(TRACES),--traces $(TRACES))

test: install ## All tests
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

docs: $(VENV)/.docs ## The documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

$(VENV)/.docs: $(VENV)/.installed
	$(PIP_INSTALL) --editable '.[docs]'
	@touch $@

exhaustive: install ## Tests of hours and gigabytes: every torchvision classifier at every cut, more fuzzing
	$(BIN)/pytest -m exhaustive $(PYTEST_ARGS)

lint: install ## Style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy, strict
	$(BIN)/mypy

laws: install ## Who may import whom
	$(BIN)/lint-imports

migrations: install ## The schema of the models is the schema the migrations make
	$(BIN)/pytest -q tests/api/test_schema.py tests/api/test_old_databases.py

check: lint types laws test ## Everything a change must pass

clean: ## Remove what was made here, profiles and databases of the demo included
	rm -rf $(VENV) var build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
