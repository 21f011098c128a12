# The commands of the project. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PRODUCT = main.py storage_plugin admin
# Warnings are errors in the function's own process, too. Most tests wait for it or for the sandbox,
# so that some are run side by side.
PYTEST = PYTHONWARNINGS=error $(BIN)/python -m pytest --numprocesses 3

.PHONY: help demo run test coverage bench measure lint types audit mutation lock clean

help: ## List the commands.
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ -/'

demo: $(BIN)/installed ## Watch assets go to LucidLink and come off it again; QUEUE=1: through Cloud Tasks.
	@QUEUE=$(QUEUE) $(BIN)/python -m sandbox demo

run: $(BIN)/installed ## Start the function and an iconik in memory, to be tried with curl.
	@$(BIN)/python -m sandbox run

test: $(BIN)/installed ## Run all tests.
	$(PYTEST)

coverage: $(BIN)/installed ## Run all tests; each line and branch of what is deployed must be run.
	$(PYTEST) --cov

bench: ## Measure, on Python 3.13 where it is installed; takes some minutes.
	@for python in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3.13; do \
	    if "$$python" --version >/dev/null 2>&1; then \
	        exec $(MAKE) --no-print-directory measure PYTHON="$$python" VENV=.venv-3.13; \
	    fi; \
	done; \
	$(MAKE) --no-print-directory measure

measure: $(BIN)/installed
	@$(BIN)/python -m bench

lint: $(BIN)/installed ## Check style, form, the arrows between modules, and that no function is complex.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache
	$(BIN)/radon cc $(PRODUCT) --min C --show-complexity
	@test -z "$$($(BIN)/radon cc $(PRODUCT) --min C)"

types: $(BIN)/installed ## Check types.
	$(BIN)/mypy

audit: $(BIN)/installed ## Look for known vulnerabilities in what is deployed.
	@$(BIN)/python .ci/audit.py

mutation: $(BIN)/installed ## Change the rules of removal at random, and list what no test notices.
	$(BIN)/mutmut run
	@$(BIN)/mutmut results

LOCK = $(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --python-version 3.10 \
    --custom-compile-command "make lock" pyproject.toml

lock: $(BIN)/installed ## Renew the pins of all requirements files.
	$(LOCK) --output-file requirements.txt
	$(LOCK) --group admin --constraint requirements.txt --output-file admin/requirements.txt
	$(LOCK) --group dev --constraint requirements.txt --output-file requirements-dev.txt

clean: ## Remove what these commands have made.
	rm -rf .venv* .coverage* .hypothesis mutants .mypy_cache .pytest_cache .ruff_cache

$(BIN)/installed: requirements-dev.txt
	@echo "Installing into $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@
