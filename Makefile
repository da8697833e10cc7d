# `make` alone prints the targets. Needs GNU make and Python 3.11 or newer with its venv module.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 3
FLOW_WORKERS ?= 4
AGAIN ?= 1
ARGS ?=

CACHE := .cache
PY := $(VENV)/bin/python
RUN_READY := $(VENV)/.stamp-run
DEV_READY := $(VENV)/.stamp-dev
TOOLS_READY := $(CACHE)/tools/.stamp
LOCAL_MODEL_READY := $(VENV)/.stamp-local-model
MOCKS_READY := $(CACHE)/mocks/.stamp
ASYNCAPI_READY := $(CACHE)/mocks/.stamp-asyncapi
TOOLS := check-jsonschema cyclonedx-py hadolint helm kubectl kubernetes-validate uv zizmor
SDKS := $(patsubst tests/sdks/%.in,%,$(wildcard tests/sdks/*.in))
SDK_TESTS := $(SDKS:%=test-sdk-%)

# Slower tests of several services at once; they run after the others, so the small answer comes first.
# The longest files begin. A file's tests stay in one worker, where they share what was started for them.
FLOWS := $(wildcard tests/faults tests/flows tests/hostile tests/e2e)
PYTEST := $(PY) -m pytest -q
KINDS := -m "not ops and not sdks"
EVERYDAY := $(KINDS) -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Where a machine stands still for a second, a test of many processes may fail. What failed is run once
# more, by itself, and named: a defect of the test, if not of what it tests. AGAIN=0 forgives none.
once_more = $(if $(filter-out 0,$(AGAIN)),|| { printf '\nOnce more what failed:\n'; $(PYTEST) -v $(1) --last-failed --last-failed-no-failures none; })

ENVIRONMENT := PYTHON='$(PYTHON)' sh deploy/tools/environment.sh

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run run-local test test-fast check generate test-ops test-sdks $(SDK_TESTS) bench prove constraints build sbom clean

help: ## Print this list.
	@printf 'Droveway. Each target sets up what it needs by itself.\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables: PYTHON=python3.12 for the interpreter, ARGS="..." for more arguments,\n'
	@printf 'WORKERS=6 for tests side by side (0: in one process, as a debugger needs it),\n'
	@printf 'FLOW_WORKERS=8 for those of several services, which wait more than they compute,\n'
	@printf 'AGAIN=0 to forgive no test its first failure.\n'

run: $(RUN_READY) ## Start everything on this machine and send a first request (ARGS: of droveway up).
	@$(VENV)/bin/droveway up --demo $(ARGS)

run-local: $(LOCAL_MODEL_READY) ## As run, with a small real model on this machine (350 MB of packages).
	@$(VENV)/bin/droveway up --demo --local-model $(ARGS)

test: $(DEV_READY) ## Run the tests, small ones first (ARGS: of pytest).
	$(PYTEST) $(EVERYDAY) tests $(FLOWS:%=--ignore=%) $(ARGS) $(call once_more,$(KINDS) tests $(FLOWS:%=--ignore=%) $(ARGS))
	$(if $(FLOWS),$(PYTEST) $(EVERYDAY) -n $(FLOW_WORKERS) $(FLOWS) $(ARGS) $(call once_more,$(KINDS) $(FLOWS) $(ARGS)))

test-fast: $(DEV_READY) ## Run the small tests only.
	$(PYTEST) $(EVERYDAY) tests $(FLOWS:%=--ignore=%) $(ARGS)

check: $(DEV_READY) ## Lint, format, types, layers, generated files up to date; changes nothing.
	$(PY) -m ruff check --quiet .
	$(PY) -m ruff format --quiet --check .
	$(PY) -m mypy --no-error-summary
	$(VENV)/bin/lint-imports --no-logo
	$(PY) contracts/generate.py --check
	$(PY) -m docs.generate_settings --check
	$(PY) -m docs.generate_openapi --check
	$(PY) -m grafana.generate --check

generate: $(DEV_READY) ## Write the generated files anew (schemas, tables, API documents).
	$(PY) contracts/generate.py
	$(PY) -m docs.generate_settings
	$(PY) -m docs.generate_openapi
	$(PY) -m grafana.generate

test-ops: $(DEV_READY) $(TOOLS_READY) $(LOCAL_MODEL_READY) $(MOCKS_READY) $(ASYNCAPI_READY) ## Test chart, images, alerts, upstreams of others; installs Debian packages.
	@sh deploy/tools/debian.sh buildah mmdebstrap postgresql prometheus prometheus-alertmanager
	export PATH="$(abspath $(CACHE)/tools/commands):$$PATH"; \
	$(PYTEST) -m ops tests $(ARGS) $(call once_more,-m ops tests $(ARGS))

test-sdks: $(SDK_TESTS) ## Test with each major of the official SDKs, against each dialect and a real model.

$(SDK_TESTS): test-sdk-%: $(CACHE)/sdk-%/.stamp $(DEV_READY) $(LOCAL_MODEL_READY)
	DROVEWAY_PYTHON='$(abspath $(PY))' $(CACHE)/sdk-$*/bin/python -m pytest -q -p no:cacheprovider -m sdks tests/sdks $(ARGS)

bench: $(DEV_READY) ## Measure on this machine (ARGS: of tests.bench).
	$(PY) -m tests.bench $(ARGS)

prove: $(DEV_READY) $(SDKS:%=$(CACHE)/sdk-%/.stamp) ## Measure every counted promise, row by row (ARGS: of tests.prove).
	$(PY) -m tests.prove $(ARGS)

constraints: $(TOOLS_READY) ## Resolve constraints*.txt anew (ARGS=--upgrade: the newest of all).
	@sh deploy/tools/constraints.sh $(CACHE)/tools/bin/uv $(ARGS)

build: $(DEV_READY) ## Build the source archive and the wheel into dist/.
	$(PY) -m hatchling build

sbom: $(RUN_READY) $(TOOLS_READY) ## List what a release contains, in build/droveway.cdx.json (CycloneDX).
	@mkdir -p build
	$(CACHE)/tools/bin/cyclonedx-py requirements constraints.txt --pyproject pyproject.toml --output-reproducible --of JSON -o build/droveway.cdx.json

clean: ## Remove environments, caches and built files; data stays.
	rm -rf $(VENV) $(CACHE) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find contracts otel services tests deploy -name __pycache__ -prune -exec rm -rf {} +

# Environments. A stamp is written last, so an interrupted set-up is done again. The tools' commands
# get a folder of their own: on the path, the rest of that environment would hide the right python.

$(RUN_READY): constraints-build.txt constraints.txt pyproject.toml
	@$(ENVIRONMENT) $(VENV) constraints-build.txt constraints.txt -e
	@touch $@

$(DEV_READY): $(RUN_READY) constraints-dev.txt
	@$(ENVIRONMENT) $(VENV) constraints-build.txt constraints-dev.txt -e
	@touch $(RUN_READY) $@

$(LOCAL_MODEL_READY): $(RUN_READY) constraints-local-model.txt
	@$(ENVIRONMENT) $(VENV) constraints-local-model.txt
	@touch $@

$(MOCKS_READY): constraints-mocks.txt tests/ops/aimock.pin deploy/tools/npm_package.sh
	@$(ENVIRONMENT) $(CACHE)/mocks constraints-mocks.txt
	@sh deploy/tools/npm_package.sh $(CACHE)/mocks tests/ops/aimock.pin
	@touch $@

$(ASYNCAPI_READY): $(MOCKS_READY) tests/ops/asyncapi.pin
	@sh deploy/tools/npm_package.sh $(CACHE)/mocks tests/ops/asyncapi.pin
	@touch $@

$(TOOLS_READY): constraints-tools.txt deploy/tools/unpack_layer.py
	@$(ENVIRONMENT) $(CACHE)/tools constraints-tools.txt
	@$(CACHE)/tools/bin/python deploy/tools/unpack_layer.py
	@mkdir -p $(CACHE)/tools/commands
	@ln -sf $(TOOLS:%=../bin/%) $(CACHE)/tools/commands
	@touch $@

$(SDKS:%=$(CACHE)/sdk-%/.stamp): $(CACHE)/sdk-%/.stamp: constraints-sdk-%.txt
	@$(ENVIRONMENT) $(CACHE)/sdk-$* constraints-sdk-$*.txt
	@touch $@
