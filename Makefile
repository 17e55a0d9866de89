# `make help` lists the targets. The two that matter first: `make demo` and `make test`.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

STAGE := .ci/stage
# Tools that take long to build live outside the checkout and serve every clone.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ai-gateway-operator
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
SCRIPTS = $(shell git ls-files -co --exclude-standard -- '*.sh' .ci e2e/cluster/clusterctl)

-include e2e/cluster/cluster.mk

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build every binary in release mode
	cargo build --workspace --release --locked

.PHONY: generate
generate: ## Write the generated files: CRDs, event schema and samples, references, chart copies, content for SIEMs
	@$(MAKE) -s --no-print-directory generate-into OUT=.

# One recipe for writing and for checking, so that the two can not differ.
.PHONY: generate-into
generate-into:
	@cargo run -q --locked -p crds --example generate -- $(OUT)/crds/yaml >/dev/null
	@cargo run -q --locked -p events --example generate -- $(OUT)/events >/dev/null
	@cargo run -q --locked -p exporter --example fields -- $(OUT)/docs/reference
	@charts/sync-crds.sh $(OUT)/charts/ai-gateway-operator-crds/templates
	@cargo run -q --locked -p exporter --example content -- $(OUT)/content

.PHONY: packages
packages: cluster-packages ## Install the missing Debian packages that the cluster and the tests need (root)
	@missing=(); \
	for program in jq shellcheck file openssl; do command -v "$$program" >/dev/null || missing+=("$$program"); done; \
	python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv); \
	command -v java >/dev/null || missing+=(openjdk-17-jre-headless); \
	command -v mvn >/dev/null || missing+=(maven); \
	if [ "$${#missing[@]}" -gt 0 ]; then \
	  echo "installing $${missing[*]}"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi

.PHONY: cargo-deny
cargo-deny: $(CARGO_DENY)
$(CARGO_DENY):
	cargo install -q --locked cargo-deny --version $(CARGO_DENY_VERSION) --root $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)

# The tests take the debug binaries, which the unit tests have built already.
PROFILE ?= release

.PHONY: images
images: ## Build the images of the local cluster (PROFILE=release or debug)
	@quiet=-q; if [ -t 2 ]; then quiet=; fi; \
	cargo build $$quiet $(if $(filter release,$(PROFILE)),--release) --locked -p operator -p armor -p exporter
	@PROFILE=$(PROFILE) e2e/images/build.sh >/dev/null

.PHONY: demo
demo: $(if $(filter current,$(CLUSTER)),,packages) ## A cluster, the operator, a pool, a tool call, its events at two receivers; CLUSTER=current uses your own cluster
	@e2e/demo/demo.sh up

.PHONY: demo-down
demo-down: ## Remove everything that the demo made
	@e2e/demo/demo.sh down

.PHONY: check
check: ## Format, lints, dependency rules, generated files, charts, shell scripts
	@$(STAGE) "cargo fmt" cargo fmt --all --check
	@$(STAGE) "shellcheck" shellcheck $(SCRIPTS)
	@$(STAGE) "cargo clippy" cargo clippy -q --workspace --all-targets --locked -- -D warnings
	@$(STAGE) "cargo clippy, SIEM receivers" cargo clippy -q -p exporter --test receivers --locked -- -D warnings
	@$(STAGE) "generated files" $(MAKE) -s --no-print-directory check-generated
	@if [ -x $(CARGO_DENY) ]; then \
	  $(STAGE) "cargo deny" $(CARGO_DENY) --log-level error --locked check bans licenses sources; \
	else \
	  printf '\n=== cargo deny: NOT RUN, because it is not installed: make cargo-deny\n'; \
	fi
	@$(STAGE) "charts" charts/test.sh
	@$(STAGE) "content for SIEMs" content/test.sh
	@$(STAGE) "documents" docs/test.sh
	@$(STAGE) "local cluster's program" $(MAKE) -s --no-print-directory cluster-test

.PHONY: check-generated
check-generated:
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	$(MAKE) -s --no-print-directory generate-into OUT="$$out"; \
	stale=0; \
	while read -r file; do \
	  diff -u "$${file#"$$out"/}" "$$file" || stale=1; \
	done < <(find "$$out" -type f); \
	if [ "$$stale" -ne 0 ]; then echo "generated files are stale: run 'make generate' and commit the difference" >&2; exit 1; fi

.PHONY: test
test: packages check test-unit test-receivers test-interop test-conformance test-e2e ## Everything: check, unit tests, SIEM receivers, protocol peers, conformance, e2e on a real cluster

.PHONY: test-unit
test-unit: packages ## Tests that need no cluster: unit, golden, and Armor with official clients, servers and a real Redis
	@$(STAGE) "protocol peers" armor/tests/peers/setup.sh
	@$(STAGE) "unit tests" cargo test -q --workspace --exclude e2e --locked

.PHONY: test-receivers
test-receivers: packages ## The exporter's destinations against real receivers: rsyslog, OpenSearch, a Collector ...
	@$(STAGE) "SIEM receivers' programs" exporter/tests/receivers/setup.sh
	@$(STAGE) "SIEM receivers" cargo test -q --locked -p exporter --test receivers

.PHONY: test-interop
test-interop: packages ## Official clients of every line through one Armor with API keys
	@$(STAGE) "official clients" armor/tests/interop/run.sh

.PHONY: test-conformance
test-conformance: packages ## The official MCP conformance suite through Armor
	@$(STAGE) "conformance" armor/tests/conformance/run.sh

# The tests have a cluster of their own beside the one of the demo. KEEP=1 leaves it running.
TEST_CLUSTER := CLUSTER_NAME=test CLUSTER_INDEX=1

.PHONY: test-e2e
test-e2e: packages ## End-to-end tests on a real cluster of their own (KEEP=1 leaves it running)
	@$(STAGE) "cluster programs" $(MAKE) -s --no-print-directory cluster-tools
	@$(STAGE) "images" $(MAKE) -s --no-print-directory images PROFILE=debug
	@$(TEST_CLUSTER) e2e/run.sh

.PHONY: test-down
test-down: ## Remove what an interrupted test left behind
	@$(TEST_CLUSTER) e2e/run.sh --down

.PHONY: bench
bench: bench-operator bench-exporter ## Every benchmark

.PHONY: bench-operator
bench-operator: packages ## The operator against a raw creator, on control planes of its own; ARGS="--pools 100 --idle 1m"
	cargo build -q --release --locked -p bench -p operator
	bench/run-operator.sh $(ARGS)

.PHONY: bench-exporter
bench-exporter: packages ## The exporter against a sink on this machine, and an OpenTelemetry Collector; ARGS="--only one,ten"
	cargo build -q --release --locked -p bench -p exporter
	bench/run-exporter.sh $(ARGS)
