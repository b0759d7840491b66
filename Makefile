# The daily commands, all of them. `make` lists them.

SHELL := /bin/bash

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

.PHONY: demo
demo: ## three real Asterisk nodes, the edge, 300 calls, a kill, a drain, a reload; KEEP=1 leaves it running
	@CORDBOARD= asterisk-lab/demo

.PHONY: lab-agents
lab-agents: ## agents on three real nodes, step by step: one ring, waiting, wrap-up, a node and the edge killed; KEEP=1
	@CORDBOARD= asterisk-lab/agents

.PHONY: lab-ha
lab-ha: ## two edges with one address (keepalived, Redis) in network namespaces: 100 calls a second, the edge that has it killed; as root; KEEP=1
	@CORDBOARD= asterisk-lab/ha

.PHONY: test
test: ## every layer of tests; installs what is missing
	@tests/install
	@tests/run

.PHONY: check
check: ## format, lints, shell scripts, licences
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck asterisk-lab/lab asterisk-lab/demo asterisk-lab/agents asterisk-lab/ha asterisk-lab/stage sipp/install tests/install tests/run benches/run benches/calls benches/register .ci/run deploy/check deploy/deb/build deploy/deb/try deploy/deb/try-inside deploy/deb/postinst deploy/deb/prerm deploy/deb/postrm deploy/keepalived/try; else echo "shellcheck is not here: shell scripts not checked"; fi
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; else echo "cargo-deny is not here: licences not checked"; fi

.PHONY: bench
bench: ## what messages and choices cost, in instructions, and calls and a REGISTER beside Kamailio
	@benches/run
	@benches/calls
	@benches/register

.PHONY: lab
lab: ## three real Asterisk nodes on loopback, for dispatcher.yaml (asterisk-lab/lab down ends them)
	@asterisk-lab/lab install
	cargo build --release
	@asterisk-lab/lab up --config dispatcher.yaml

.PHONY: package
package: ## the Debian package, in target/debian
	cargo build --release
	deploy/deb/build

.PHONY: fuzz
fuzz: ## coverage-guided fuzzing: TARGET=parsing|forwarding|framing|configuring|operations FUZZ_SECONDS=60
	cargo +nightly fuzz run $(or $(TARGET),forwarding) -- -max_total_time=$(or $(FUZZ_SECONDS),60)

.PHONY: sim
sim: ## simulate SEEDS=1000 farms with faults
	CORDBOARD_SIM_SEEDS=$(or $(SEEDS),1000) cargo test --release --test simulation -- --nocapture
