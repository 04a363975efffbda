# mqway. `make run` starts it, `make test` proves it; `make help` lists the rest.

CARGO    ?= cargo
LISTEN   ?= ws://127.0.0.1:8083/mqtt tcp://127.0.0.1:1884
UPSTREAM ?= tcp://127.0.0.1:1883
ARGS     ?=
SECONDS  ?= 60

# The port of the first plain TCP listener, if there is one.
tcp_port = $(lastword $(subst :, ,$(firstword $(filter tcp://%,$(LISTEN)))))

.PHONY: help run build test long setup format lint unit doc norms fuzz bench deny

help: ## Print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: build ## Start the proxy: LISTEN="URL..." UPSTREAM="URL..." ARGS="more flags"
	@echo
	@echo "The proxy takes MQTT at $(LISTEN) and brings it to $(UPSTREAM)."
	@echo "What to do next, in another terminal:"
	@[ "$(UPSTREAM)" != tcp://127.0.0.1:1883 ] || echo "  mosquitto  # a broker at $(UPSTREAM), if you have none"
	@[ -z "$(tcp_port)" ] || echo "  mosquitto_sub -p $(tcp_port) -t 'hello/#' -v  # listen, through the proxy"
	@[ -z "$(tcp_port)" ] || echo "  mosquitto_pub -p $(tcp_port) -t hello/world -m hi  # and speak"
	@echo "  $(CARGO) run --release -- ping $(firstword $(LISTEN))  # or the whole round trip, step by step"
	@echo "Another broker: make run UPSTREAM=wss://broker.example.com/mqtt"
	@echo "All flags: $(CARGO) run --release -- proxy --help"
	@echo
	@$(CARGO) run --release --quiet --package mqway -- proxy \
		$(addprefix --listen ,$(LISTEN)) $(addprefix --upstream ,$(UPSTREAM)) $(ARGS)

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

long: setup ## Whole long tests: ten thousand connections, slow readers, large payloads
	$(CARGO) test --package mqway --locked -- --ignored

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet

norms: ## Print every statement of the specifications, where it is obeyed and where proven
	@$(CARGO) test --quiet --package mqway --locked --test tidy -- --nocapture norms::table

fuzz: ## Run every fuzz target for SECONDS (60) each
	fuzz/run $(SECONDS)

bench: ## Run the benchmarks behind BENCHMARKS.md
	bench/run

deny: ## Check licences, bans and sources of all dependencies
	$(CARGO) deny --all-features check licenses bans sources
