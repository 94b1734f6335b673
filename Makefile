# Everything an operator or a developer does with this checkout. Each target does all its own set-up; done once, it is
# instant. Steps are one line each; a step that fails shows its output whole.
#
#   make demo      a scripted day of an always-on agent against the real daemon
#   make test      what must hold before a change is kept

MAKEFLAGS += --silent --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo run test test-all slow attacks lint clients clients-install bench debian lock measure clean

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.ready-runtime
DEV := $(VENV)/.ready-dev
ARGS ?=

help: ## this list
	grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

demo: $(RUNTIME) ## play a scripted day of an agent through the real sockets (60 s at most)
	$(BIN)/python demo/play.py

run: $(RUNTIME) ## serve in user mode until interrupted; says how to connect an agent
	$(BIN)/agentd serve $(ARGS)

test: $(DEV) debian clients-install ## all tests but the slow ones; ARGS="-k word" picks some
	$(BIN)/python -m pytest $(ARGS)

slow: $(DEV) debian ## the long tests: kill -9 two hundred times, endurance, real boots, OpenClaw
	scripts/install-clients openclaw
	$(BIN)/python -m pytest -m slow $(ARGS)

test-all: $(DEV) debian clients-install ## every test there is
	scripts/install-clients openclaw
	$(BIN)/python -m pytest -m "slow or not slow" $(ARGS)

attacks: $(DEV) ## known attacks, run for real in the cage, and without it to see that they work
	scripts/debian-packages bubblewrap curl dbus git jq ripgrep
	$(BIN)/python -m pytest tests/attacks tests/sandbox -m "slow or not slow" $(ARGS)

clients: $(DEV) clients-install ## real, unmodified agents and SDKs against a real daemon
	$(BIN)/python -m pytest tests/clients $(ARGS)

lint: $(DEV) ## style, types and the walls between the rooms
	scripts/step "style" $(BIN)/ruff check .
	scripts/step "types" $(BIN)/mypy
	scripts/step "walls" $(BIN)/lint-imports --no-logo --no-cache

clients-install: ## the pinned agents that the tests drive (Claude Code 364 MB, Codex 404, nanobot 391, SDKs 130, into .cache/clients)
	scripts/install-clients

bench: $(RUNTIME) ## what agentd costs beside its floors and peers; ARGS="--quick" or "--only call"
	bench/install-peers
	PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

debian: ## Debian packages that some tests need: installed when root, else named
	scripts/debian-packages bubblewrap dbus gnome-keyring

lock: ## resolve the dependencies anew into requirements/*.txt, with hashes
	scripts/lock

measure: $(DEV) ## how long files and functions are (a report, not a gate)
	$(BIN)/python scripts/measure.py

clean: ## remove everything that make made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements/runtime.txt pyproject.toml
	scripts/setup runtime

$(DEV): requirements/runtime.txt requirements/dev.txt pyproject.toml
	scripts/setup dev
