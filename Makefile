# Two commands: `make demo` shows it, `make test` checks all of it. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millstream
# One build for all clones: RocksDB alone takes a quarter of an hour.
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/tools/bin:$(PATH)

# Without the C and C++ libraries, in a directory of its own, so that the two kinds of build never displace each other.
CORE := CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/core cargo
CORE_FLAGS := --locked --no-default-features
# Tests turn on features of libraries. What builds the whole workspace with its examples shares one build with the tests.
SHARED := --workspace --bins --examples
CORE_BUILT := $(CARGO_TARGET_DIR)/core/release

# The full build is always a release build: RocksDB is compiled once. The stamp says for which versions it was made.
STAMP := $(CARGO_TARGET_DIR)/release/.millstream-full
FULL_ID = $$({ rustc -V; grep -A1 -E '^name = "(librocksdb|rdkafka)-sys"' Cargo.lock; } | sha256sum | cut -c1-16)

.PHONY: demo test tools fmt lint-core test-core simulate instructions micro deny chart full lint-full test-full bench growth latency restart demo-core demo-built demo-full systems core oracle oracle-random help

demo: ## the live demo: two replicas, one killed, every window checked (RocksDB where `make full` ran before)
	@if [ "$$(cat $(STAMP) 2>/dev/null)" = "$(FULL_ID)" ]; then $(MAKE) --no-print-directory demo-full; else $(MAKE) --no-print-directory demo-core; fi

demo-core: ## the demo without the C++ libraries: state in memory, restored from the changelog
	$(CORE) run --release $(CORE_FLAGS) -p topologies -- demo

systems: core ## every system of topologies/ on its sample, compared with what is expected, and a table of the results
	@$(CORE_BUILT)/examples/systems

demo-built: core ## the same of the build that tests share
	$(CORE_BUILT)/millstream demo

demo-full: full ## the demo on RocksDB
	$(CARGO_TARGET_DIR)/release/millstream demo

test: ## everything that CI checks; installs what it needs first
	@start=$$SECONDS; for step in tools fmt lint-core deny chart test-core simulate instructions demo-built full lint-full test-full demo-full; do \
	  step_start=$$SECONDS; echo "==> $$step"; $(MAKE) --no-print-directory $$step; echo "==> $$step: $$((SECONDS - step_start)) s"; \
	done; echo "==> all of it: $$((SECONDS - start)) s"

tools: ## installs libclang, OpenSSL, zlib, a JDK, Maven, valgrind, PostgreSQL, Redis, Mosquitto, helm, cargo-deny and promtool where missing
	@tests/tools.sh

fmt: ## the source is formatted
	cargo fmt --all --check

lint-core: ## clippy without the C libraries
	$(CORE) clippy $(CORE_FLAGS) --workspace --all-targets -- -D warnings

test-core: ## unit, architecture and documentation tests without the C libraries, with debug assertions
	$(CORE) test $(CORE_FLAGS) --workspace

simulate: ## the simulator: thousands of seeds of crashes, and every planted bug caught
	$(CORE) test --release $(CORE_FLAGS) --workspace --test simulation -- --nocapture

core: ## builds the worker without the C libraries
	$(CORE) build --release $(CORE_FLAGS) $(SHARED)

INSTRUCTIONS := $(CORE_BUILT)/examples/instructions

instructions: core ## instructions per record of the core paths, counted by valgrind: near what is expected, and a burden is noticed
	$(INSTRUCTIONS)
	! $(INSTRUCTIONS) --planted

growth: tools full ## cost by partitions, keys and threads on a real broker (a quarter of an hour); writes benches/GROWTH.md
	$(CARGO_TARGET_DIR)/release/examples/growth

latency: tools full ## from input to committed result, beside Kafka Streams (five minutes); writes benches/LATENCY.md
	$(CARGO_TARGET_DIR)/release/examples/latency

restart: tools full ## from a SIGKILL to the next committed output, beside Kafka Streams (three minutes); writes benches/RESTART.md
	$(CARGO_TARGET_DIR)/release/examples/restart

micro: ## times of the same core paths (criterion)
	$(CORE) bench $(CORE_FLAGS) -p topologies --bench micro

full: ## builds the worker with Kafka, RocksDB and HTTP
	cargo build --release --locked $(SHARED)
	@echo $(FULL_ID) >$(STAMP)

lint-full: ## clippy and the documentation's links with all features
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --release --locked --no-deps --workspace --lib

bench: tools full ## the worker and Kafka Streams side by side on a real broker (an hour); writes benches/RESULTS.md
	$(CARGO_TARGET_DIR)/release/examples/side_by_side

test-full: ## unit tests with all features, and what needs real brokers; the pure core's tests run in test-core and simulate
	cargo test --release --locked --workspace --lib --bins --examples --test command_line --test kafka --test worker
	cargo test --release --locked --workspace --doc

oracle: ## Kafka Streams itself writes tests/oracle/expected anew (Java, Maven); no change means that it stands
	@tests/oracle/kafka-streams/run --out tests/oracle/expected tests/oracle/scenarios
	@tests/oracle/kafka-streams/run --cache 10485760 --out tests/oracle/expected-cached tests/oracle/scenarios
	@cd tests/oracle/expected && for file in */*; do ! cmp -s "$$file" "../expected-cached/$$file" || rm "../expected-cached/$$file"; done
	@find tests/oracle/expected-cached -type d -empty -delete
	@git diff --stat -- tests/oracle/expected tests/oracle/expected-cached

SEED ?= 1
COUNT ?= 500
oracle-random: ## COUNT scenarios made at random from SEED, answered by Kafka Streams and compared
	@dir=$$(mktemp -d); echo "scenarios in $$dir"; \
	$(CORE) run --quiet $(CORE_FLAGS) -p millstream --example generator -- $$dir $(SEED) $(COUNT); \
	tests/oracle/kafka-streams/run --out $$dir/expected $$dir/scenarios; \
	tests/oracle/kafka-streams/run --cache 10485760 --out $$dir/expected-cached $$dir/scenarios; \
	MILLSTREAM_SCENARIOS=$$dir $(CORE) test $(CORE_FLAGS) -p millstream --test oracle -- --nocapture

deny: ## licences, sources and advisories of the dependencies
	cargo deny --locked check bans licenses sources
	@if cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	else echo 'the advisory database cannot be reached from here: advisories are not checked'; fi

chart: ## the helm chart renders and fits its schema
	@tests/chart.sh

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18
