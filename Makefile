# `make help` lists the targets. Python 3.11 or newer is needed. A target creates the virtual
# environment first if there is none or if the lock file has changed.

PYTHON ?= python3
VENV := .venv
IN := $(VENV)/bin
READY := $(VENV)/.ready

ORDER ?= ORD-$(shell date +%s)
SEED ?= 1
SECONDS ?= 600
ARGS ?=
ONLY ?=
# Processes that run tests: more than cores, since many tests wait for servers.
WORKERS ?= 4
PEERS := .venv-peers
# Pythons that pyenv and uv have installed; tox finds those in the PATH itself.
PYTHONS := $(wildcard $(HOME)/.pyenv/versions/*/bin/python3.1[1-9] $(HOME)/.local/share/uv/python/*/bin/python3.1[1-9])
# With pinned images, if `make images` has pinned them.
LOCK := $(wildcard docker-compose.lock.yml)
COMPOSE := docker compose $(if $(LOCK),--file docker-compose.yml --file $(LOCK))

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-versions chaos lint contracts docs bench setup up down logs order images audit sbom

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Show all services at work in one process, in seconds
	@$(IN)/shop demo

test: $(READY) ## Run all tests; those with containers need Docker. ARGS="-k email" WORKERS=2
	@$(IN)/pytest --numprocesses $(WORKERS) $(ARGS)

test-fast: $(READY) ## Run the unit tests, and the contract tests on the embedded broker; no Docker
	@$(IN)/pytest --numprocesses auto -m "not docker" tests/unit tests/contract $(ARGS)

# The newest Python is that of the image on which the services run. The checkout is read-only there,
# so a test that writes into it fails.
test-versions: $(READY) ## Run the tests without Docker on each installed Python, and on the image's
	@$(IN)/tox run $(if $(PYTHONS),--discover $(PYTHONS)) $(if $(ARGS),-- $(ARGS))
	@docker run --rm --init --volume "$(CURDIR)":/checkout:ro --workdir /checkout \
	  --env PYTHONPYCACHEPREFIX=/tmp/bytecode --env HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
	  python:3.14-slim sh -euc '\
	  python -m venv /opt/tests; PATH=/opt/tests/bin:$$PATH; \
	  pip install --quiet --no-cache-dir --require-hashes -r requirements-dev.txt; \
	  pytest -q -p no:cacheprovider --numprocesses auto -m "not docker" $(or $(ARGS),tests/unit tests/contract)'

chaos: $(READY) ## Inject faults for ten minutes, and check the invariants. SEED="1 2 3" SECONDS=60 ARGS=--renew
	@$(IN)/python -m tests.chaos $(addprefix --seed ,$(SEED)) --seconds $(SECONDS) $(ARGS)

lint: $(READY) ## Check formatting, lint, types and contracts
	@$(IN)/ruff format --check
	@$(IN)/ruff check
	@$(IN)/mypy
	@$(IN)/python -m shared.operations.catalog.check_contracts

contracts: $(READY) ## Check that contracts are compatible. ARGS=--accept publishes a safe change
	@$(IN)/python -m shared.operations.catalog.check_contracts $(ARGS)

docs: $(READY) ## Generate docs/events.md and the demo's picture
	@$(IN)/python docs/make.py

bench: $(READY) $(PEERS)/.ready ## Measure this system and its peers; needs Docker. ONLY=react ARGS="--scale 0.1"
	@$(IN)/python -m benchmarks $(ONLY) $(ARGS)

setup: $(READY) ## Create the virtual environment; the other targets do so if needed

up: ## Start the composed system and wait until it is healthy
	@$(COMPOSE) up --detach --wait
	@echo "mails: http://$$(docker compose port maildev 1080)   broker: http://$$(docker compose port rabbitmq 15672)"

down: ## Stop it; the data stays. ARGS=-v removes the data too
	@docker compose --profile tools down $(ARGS)

logs: ## Follow the services' logs until Ctrl-C
	@docker compose logs --follow --no-log-prefix --tail 100 $$(docker compose config --services | grep -vE '^(rabbitmq|postgres|maildev|keys|setup)$$')

order: ## Place an order in the composed system and pay it. ORDER=ORD-7 names it
	@docker compose exec -T orders shop orders place --id $(ORDER) --email customer@example.com \
	  --address '123 Main St, Springfield' --item product-1=2 --item product-2=1
	@docker compose exec -T orders shop orders pay $(ORDER) --amount 99.99 --method card

images: $(READY) ## Pin the images by the digests that a registry gave for them
	@$(IN)/python -m deploy.images

audit: $(READY) ## Look for known vulnerabilities of the locked packages
	@$(IN)/python -m deploy.audit $(ARGS)

sbom: $(READY) ## List the packages of the image and their licences: sbom.json and docs/supply-chain.md
	@$(IN)/python -m deploy.sbom

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.13")'
	@test -x $(IN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements-dev.txt into $(VENV)"
	@$(IN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(IN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# A peer that cannot be installed is not measured, which its row in the table says.
$(PEERS)/.ready: requirements-peers.txt | $(READY)
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@echo "installing requirements-peers.txt into $(PEERS)"
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-peers.txt \
	  && touch $@ || echo "the peers could not be installed: their rows will say so"
