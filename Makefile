# The commands of the project. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo run test bench lint types lock clean

help: ## List the commands.
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ -/'

demo: $(BIN)/installed ## Watch assets go to LucidLink and come off it again; QUEUE=1: through Cloud Tasks.
	@QUEUE=$(QUEUE) $(BIN)/python -m sandbox demo

run: $(BIN)/installed ## Start the function and an iconik in memory, to be tried with curl.
	@$(BIN)/python -m sandbox run

test: $(BIN)/installed ## Run all tests.
	$(BIN)/python -m pytest

bench: $(BIN)/installed ## Measure; takes some minutes.
	@$(BIN)/python -m bench

lint: $(BIN)/installed ## Check style and form.
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(BIN)/installed ## Check types.
	$(BIN)/mypy

lock: $(BIN)/installed ## Renew the pins of both requirements files.
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.10 \
	    --custom-compile-command "make lock" pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.10 \
	    --custom-compile-command "make lock" pyproject.toml --group dev \
	    --constraint requirements.txt --output-file requirements-dev.txt

clean: ## Remove what these commands have made.
	rm -rf .venv* .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(BIN)/installed: requirements-dev.txt
	@echo "Installing into $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@
