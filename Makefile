# What a person types. Needs make and Python 3.11, 3.12 or 3.13 (3.14 is not tried yet), nothing else.

PORT ?= 8000
MGX_VAR ?= var
VENV ?= .venv
export MGX_VAR
# Some containers set it; starting takes three times as long without compiled files.
unexport PYTHONDONTWRITEBYTECODE

python := $(VENV)/bin/python
locks_run := requirements.txt
locks_test := requirements.txt requirements-test.txt
locks_lint := $(locks_test) requirements-tools.txt

.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-tools run test lint bench chaos lock

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

setup:  ## the environment with the locked packages
	@./.ci/install $(VENV) $(locks_run)

setup-test:
	@./.ci/install $(VENV) $(locks_test)

setup-tools:
	@./.ci/install $(VENV) $(locks_lint)

run: setup  ## everything, with the demo workspace, on http://127.0.0.1:$(PORT)/
	@exec $(python) manage.py up --migrate --demo --port $(PORT)

test: setup-test  ## the tests, on every database and browser that is here
	@VENV=$(VENV) ./.ci/test

lint: setup-tools  ## format, lint, types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy mgx workflows approvals agents
	$(VENV)/bin/djlint --check --lint --quiet templates

bench: setup  ## the benchmarks, one JSON line each; on PostgreSQL too where TEST_POSTGRES_URL names one
	@for name in commits chain latency gate concurrency fanout run crash timers plan makespan inbox sockets deciding memory agents; do \
		$(python) manage.py bench $$name --json --database sqlite || exit; \
		test -z "$(TEST_POSTGRES_URL)" || \
			DATABASE_URL="$(TEST_POSTGRES_URL)" $(python) manage.py bench $$name --json --database postgres || exit; \
	done

chaos: setup-test  ## the long reliability runs, and one line for each promise; on PostgreSQL too where TEST_POSTGRES_URL names one
	@VENV=$(VENV) ./.ci/chaos

lock: setup-tools  ## the newest packages that requirements*.in allow
	@for name in requirements requirements-test requirements-tools requirements-otel; do \
		$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
			--only-binary :all: --generate-hashes --no-emit-index-url --no-emit-find-links \
			--custom-compile-command 'make lock' $$name.in --output-file $$name.txt || exit; \
	done
