# Everything there is to do here, each by one word; `make` alone lists them.
#
# SLIPSTREAM_CACHE (~/.cache/slipstream) holds the target folder, RocksDB and the servers of the tests over clones;
# CARGO_TARGET_DIR moves the target folder alone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO := scripts/cargo.sh
TARGET := $(or $(CARGO_TARGET_DIR),$(or $(SLIPSTREAM_CACHE),$(HOME)/.cache/slipstream)/target)
# Within a suite real servers take turns: two cores carry two pairs of clusters at a time.
IN_TURN := -- --test-threads=1
# Every file of tests/tests is a suite on real servers; the storm has a target of its own.
STORM := storm
SUITES := $(filter-out $(STORM),$(patsubst tests/tests/%.rs,%,$(wildcard tests/tests/*.rs)))
# Two suites run at a time, one of these and one of the others: tests wait more than they work. Those on embedded clusters are
# all here, with as many on real servers as make both rows equally long.
BESIDE := access clients control failover incumbent observability page repair requests translog trouble walkthrough
# Tests of the crates, but for those of the test kit that start servers.
KIT := $(patsubst crates/testkit/tests/%.rs,%,$(wildcard crates/testkit/tests/kit_*.rs))
CRATES := $(sort $(filter-out $(KIT),$(basename $(notdir $(wildcard crates/*/tests/*.rs)))))
# The storm reads these; see tests/tests/storm.rs.
SEEDS ?= 5
SECONDS_EACH ?= 90
FUZZ_SECONDS ?= 300
OUTAGE_SECONDS ?= 240
ARGS ?=

.PHONY: help
help: ## This list
	@echo "make TARGET, one of"
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: demo
demo: ready ## Watch an index being replicated over mutual TLS, without Java (ARGS="--serve" keeps it up)
	@$(CARGO) run -q -p slipstream -- demo $(ARGS)

.PHONY: build
build: ready ## The binary, optimised
	$(CARGO) build --release -p slipstream

# Always `--workspace`, with targets picked by name: picking packages would pick other features of their
# dependencies and compile those again.
.PHONY: test
test: ready-servers ## Everything that CI runs: unit and property tests, every suite on real servers, a short storm
	$(CARGO) build --workspace --all-targets
	$(MAKE) unit e2e
	$(MAKE) storm SEEDS=1 SECONDS_EACH=45

.PHONY: unit
unit: ready ## Unit and property tests; no servers
	$(CARGO) test --workspace --lib --bins $(addprefix --test ,$(CRATES))
	$(CARGO) test --workspace --doc -q

.PHONY: e2e
e2e: ready-servers ## Conformance and end-to-end suites on real servers (SUITES="walkthrough" picks some)
	$(CARGO) build --workspace --all-targets
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(MAKE) lane LANE="$(filter $(BESIDE),$(SUITES))" >"$$log" 2>&1 & beside=$$!; \
	failed=0; $(MAKE) lane LANE="$(filter-out $(BESIDE),$(SUITES))" || failed=1; \
	wait $$beside || failed=1; cat "$$log"; exit $$failed

.PHONY: lane
lane:
	@[ -z "$(LANE)" ] || $(CARGO) test --workspace --no-fail-fast $(addprefix --test ,$(LANE)) $(IN_TURN)

.PHONY: kit
kit: ready-servers ## The test kit's own tests on real servers
	$(CARGO) test --workspace --no-fail-fast $(addprefix --test ,$(KIT)) $(IN_TURN)

.PHONY: storm
storm: ready-servers ## Storms over SEEDS seeds (5), SECONDS_EACH seconds of writing each (90); STORM_SEED=S repeats one
	$(CARGO) build --workspace --all-targets
	STORM_SEEDS=$(SEEDS) STORM_SECONDS=$(SECONDS_EACH) $(CARGO) test --workspace --test $(STORM) $(IN_TURN) --nocapture

.PHONY: outage
outage: ready-servers ## The transfer of files with its link cut for OUTAGE_SECONDS (240), longer than anything waits for an answer
	OUTAGE_SECONDS=$(OUTAGE_SECONDS) $(CARGO) test --workspace --test snapshot $(IN_TURN) over_a_link_with_trouble

.PHONY: fuzz
fuzz: ready ## Mutated translog files against the parser for FUZZ_SECONDS (300); FUZZ_SEED=S FUZZ_START=N repeat a case
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p slipstream-translog --test fuzz -- --nocapture

.PHONY: bench
bench: ready-servers ## Measure against real servers and print the table of ratios (ARGS="--quick" shows that it works)
	$(CARGO) build --release -p slipstream -p slipstream-bench
	$(TARGET)/release/slipstream-bench $(ARGS)

.PHONY: lint
lint: ready ## Formatting, clippy, bans, licences, and which crate may depend on which
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: only the checks of our own follow"; fi
	$(CARGO) test -q --workspace --test dependencies

.PHONY: fmt
fmt: ## Format everything
	$(CARGO) fmt --all

.PHONY: ready ready-servers
ready:
	@scripts/prepare.sh build
ready-servers:
	@scripts/prepare.sh build servers clients browser
