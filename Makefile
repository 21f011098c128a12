# The commands of the project. `make` alone lists them.
PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
PRODUCT = main.py storage_plugin admin
# Warnings are errors in the function's own process, too. Tests start many processes, so compiled
# modules are kept. Most tests wait for a process or the sandbox, so several tests run in parallel.
PYTEST = PYTHONWARNINGS=error PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --quiet --numprocesses 4

.PHONY: help deploy actions doctor demo run test properties coverage bench measure lint types audit mutation soak lock clean

help: ## List the commands.
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/ -/'

deploy: $(VENV)/admin ## Deploy the function and what it needs at Google; OPTIONS=--dry-run says what is missing.
	@PYTHON=$(BIN)/python admin/deploy.sh $(OPTIONS)

actions: $(VENV)/admin ## Put the custom actions into iconik; OPTIONS='--label Dailies' passes options.
	@$(BIN)/python -m admin actions $(OPTIONS)

doctor: $(VENV)/admin ## Find faults, and their remedies; ASSET=ID shows what a removal of an asset would do.
	@$(BIN)/python -m admin doctor $(if $(ASSET),--asset '$(ASSET)') $(OPTIONS)

demo: $(VENV)/function ## Watch assets go to LucidLink and leave it again; QUEUE=1 uses Cloud Tasks.
	@QUEUE=$(QUEUE) $(BIN)/python -m sandbox demo

run: $(VENV)/function ## Start the function and an iconik in memory, to try commands; QUEUE=1 as above.
	@QUEUE=$(QUEUE) $(BIN)/python -m sandbox run

test: $(VENV)/dev ## Run all tests; takes a minute on two cores.
	@echo "Running all tests, which takes a minute on two cores:"
	@$(PYTEST)

properties: $(VENV)/dev ## Try the removal in 10,000 worlds that change, and in all stories; takes several minutes.
	PROPERTY_EXAMPLES=10000 STORIES_EVERY=1 $(BIN)/python -m pytest tests/test_properties.py \
	    tests/test_stories.py -k "whatever_changes or stories" --log-cli-level=INFO

coverage: $(VENV)/dev ## Run all tests; they must cover each line and branch of the deployed code.
	$(PYTEST) --cov

bench: ## Measure, on Python 3.13 if it is installed; takes twenty minutes.
	@for python in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3.13; do \
	    if "$$python" --version >/dev/null 2>&1; then \
	        exec $(MAKE) --no-print-directory measure PYTHON="$$python" VENV=.venv-3.13; \
	    fi; \
	done; \
	$(MAKE) --no-print-directory measure

measure: $(VENV)/dev
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.soak

lint: $(VENV)/dev ## Check style, format, imports between modules, and the complexity of functions.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/shellcheck admin/deploy.sh
	$(BIN)/lint-imports --no-cache
	$(BIN)/radon cc $(PRODUCT) --min C --show-complexity
	@test -z "$$($(BIN)/radon cc $(PRODUCT) --min C)"

types: $(VENV)/dev ## Check types.
	$(BIN)/mypy

audit: $(VENV)/dev ## Look for known vulnerabilities in the requirements.
	@$(BIN)/python .ci/audit.py

mutation: $(VENV)/dev ## Make small changes to the rule and the removal; the tests must notice each one.
	@rm -rf mutants
	$(BIN)/mutmut run
	@! $(BIN)/mutmut results | grep --invert-match timeout

soak: $(VENV)/dev ## Remove 10,000 assets beside other clicks, in six minutes; OPTIONS=--many removes 50,000.
	@$(BIN)/python -m bench.soak $(OPTIONS)

LOCK = $(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-strip-extras --python-version 3.10 \
    --custom-compile-command "make lock"

lock: $(VENV)/dev ## Update the pins in all requirements files.
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) --group admin --constraint requirements.txt --output-file admin/requirements.txt
	$(LOCK) pyproject.toml --group dev --constraint requirements.txt --output-file requirements-dev.txt

clean: ## Remove the files that these commands have created here.
	rm -rf .venv* .coverage* .demo.log .hypothesis mutants .mypy_cache .pytest_cache .ruff_cache

# Each command has its requirements installed into one environment, once.
$(VENV)/function: requirements.txt
$(VENV)/admin: admin/requirements.txt
$(VENV)/dev: requirements-dev.txt
$(VENV)/function $(VENV)/admin $(VENV)/dev: FORCE
	@$(PYTHON) admin/environment.py $(PYTHON) $@ $(filter %.txt,$^)

FORCE:
