# mqway. `make run` starts it, `make test` proves it; `make help` lists the rest.

CARGO    ?= cargo
LISTEN   ?= tcp://127.0.0.1:1883 ws://127.0.0.1:8083/mqtt
ARGS     ?=
SECONDS  ?= 60

.PHONY: help run build test long setup format lint unit doc norms fuzz bench deny

help: ## Print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: build ## Start the broker: LISTEN="URL..." ARGS="more flags"
	@echo
	@echo "The broker takes MQTT at $(LISTEN)."
	@echo "What to do next, in another terminal:"
	@echo "  $(CARGO) run --release -- sub -t 'hello/#' -v  # listen"
	@echo "  $(CARGO) run --release -- pub -t hello/world -m hi  # and speak; mosquitto_pub and others do as well"
	@echo "  $(CARGO) run --release -- ping $(firstword $(LISTEN))  # or a whole round trip, step by step"
	@echo "All flags: $(CARGO) run --release -- broker --help"
	@echo
	@$(CARGO) run --release --quiet --package mqway -- broker $(addprefix --listen ,$(LISTEN)) $(ARGS)

build: ## Build the binary for release
	@$(CARGO) build --release --package mqway

test: setup format lint unit doc ## Everything that must hold before a change goes in

setup: # Installs the real brokers and clients that the tests talk to, where they are missing.
	@if [ -x tests/setup ]; then tests/setup; fi

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit: # Unit, integration and documentation tests; builds the examples too.
	$(CARGO) test --workspace --locked --no-fail-fast

long: setup ## Whole long tests: ten thousand connections, slow readers, large payloads, hundreds of kills, thousands of seeds
	$(CARGO) test --package mqway --package mqway-client --locked -- --ignored
	$(CARGO) test --package mqway-broker --test simulation --locked -- --ignored for_long

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

norms: ## Print every statement of the specifications, where it is obeyed and where proven
	@$(CARGO) test --quiet --package mqway --locked --test tidy -- --nocapture norms::table

fuzz: ## Run every fuzz target for SECONDS (60) each
	fuzz/run $(SECONDS)

bench: ## Run the benchmarks behind BENCHMARKS.md: MQLOAD=... COMPARE=...
	bench/run
	bench/broker
	bench/clients/run

deny: ## Check licences, bans and sources of all dependencies
	$(CARGO) deny --all-features check licenses bans sources
