# Everything a person does with this repository. `make help` lists it.

SHELL := /bin/bash
CARGO ?= cargo
# dev or release
PROFILE ?= dev
OUT := target/$(if $(filter release,$(PROFILE)),release,debug)

.DEFAULT_GOAL := help
.PHONY: help run demo test simulate bench lint fmt check doc programs env up

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

run: programs ## set up what is missing, start both programs, send a work item on its way; Ctrl-C stops
	@exec $(OUT)/orch-run

demo: programs ## the whole story by itself, approval and incident included, with a report
	@exec $(OUT)/orch-demo

test: ## everything that can be checked on this machine, with one closing line
	@exec tests/check-all

# histories of `make simulate`; SEED=n tells one instead
SEEDS ?= 1000000

simulate: ## many seeded histories in a model world; SEEDS=n how many, SEED=n tells one step by step
	$(CARGO) build --locked --release -p orch-simulation
	@exec target/release/orch-simulate $(if $(SEED),seed $(SEED),seeds $(SEEDS))

bench: ## numbers, as ratios within one run; other queues beside ours: tests/benches/rivals-queue/run
	$(CARGO) build --locked --release -p orch-core -p orch-watchdog
	$(CARGO) bench --locked -p orch-tests --benches

env: ## the settings of docker compose, with random tokens; never overwrites
	@exec deploy/make-env

# the plugin where there is one
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

up: env ## build both images and start them with docker compose
	IMAGE_REVISION=$$(git describe --always --dirty --abbrev=40 2>/dev/null || echo unknown) $(COMPOSE) up -d --build

lint: ## clippy over everything, warnings are errors
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## format everything
	$(CARGO) fmt --all

check: ## type-check everything
	$(CARGO) check --locked --workspace --all-targets

doc: ## the API documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

programs:
	@$(CARGO) build --locked --quiet --profile $(PROFILE) --workspace --bins
