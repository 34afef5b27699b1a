# Each target makes what it needs from nothing. `make testnet` runs the main job, `make test` the tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CARGO_TARGET_DIR ?= $(HOME)/.cache/datdot/target
export CARGO_TARGET_DIR

.PHONY: testnet test test-python test-rust test-wasm test-wheel check wasm coverage sim fuzz \
	fuzz-rust mutants model bench bench-chain wheel clients npm-peers test-node interop distinguish image lock \
	clean native-node test-native testnet-native

## Run the local testnet: ONCE=1 stops after one settled challenge of each hosting, FEED=path hosts it.
testnet: $(VENV)/installed
	@$(BIN)/datdot testnet $(if $(ONCE),--once) $(if $(FEED),--feed "$(FEED)") $(ARGS)

## Everything: linters, types, import contracts, Python and Rust tests, the wasm against its sources.
test: test-python test-rust test-wasm

## The part that needs no Rust toolchain.
test-python: check
	$(BIN)/pytest $(PYTEST_ARGS)

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-rust:
	cd local-node && cargo fmt --all --check
	cd local-node && cargo clippy --locked --workspace --all-targets -- -D warnings
	cd local-node && cargo test --locked --workspace
	cd local-node && cargo test --locked -p pallet-providers -p pallet-hosting -p pallet-performance \
		--features pallet-performance/runtime-benchmarks benchmarking

test-wasm: $(VENV)/installed
	$(BIN)/python local-node/build-wasm --check

## Build the runtime's wasm anew, with its record.
wasm: $(VENV)/installed
	$(BIN)/python local-node/build-wasm --install
	$(BIN)/python local-node/build-wasm

NATIVE_NODE := $(CARGO_TARGET_DIR)/native-node/release/datdot-node

## The native node, from some 790 crates: half an hour on two cores the first time.
native-node:
	@local-node/build-node --install
	@local-node/build-node

## The local testnet on three validators: as testnet, with blocks each second and real finality.
testnet-native: $(VENV)/installed native-node
	@$(BIN)/datdot testnet --native $(NATIVE_NODE) $(if $(ONCE),--once) $(if $(FEED),--feed "$(FEED)") $(ARGS)

## The node's crate, and whole networks on it whose validators are stopped or cut off; a quarter of an hour.
test-native: $(VENV)/installed native-node
	local-node/build-node --check
	$(BIN)/pytest tests/native -q $(PYTEST_ARGS)

## Attack the coinflip in a simulation for SECONDS on all cores; a broken run prints how to replay it.
sim: SECONDS ?= 60
sim: $(VENV)/installed
	$(BIN)/datdot simulate coinflip --seconds $(SECONDS) $(ARGS)

## Feed whatever reads bytes of peers; FUZZ_INPUTS=n of them, FUZZ_SEED=n to begin from.
fuzz: $(VENV)/installed
	@PYTHONPATH=tests/fuzz:tests/hypercore $(BIN)/python -m wire_fuzz $(if $(FUZZ_INPUTS),--inputs $(FUZZ_INPUTS)) \
		$(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

## Figures of this machine; PARTS chooses among those that benchmarks/__main__.py lists.
bench: $(VENV)/installed $(if $(PARTS),$(if $(filter transport,$(PARTS)),npm-peers),npm-peers)
	$(BIN)/python -m benchmarks $(PARTS)

## Benchmark the chain's calls and hooks in the compiled runtime and write their weights anew; outside CI:
## tens of minutes where the node's crates are not built. ONLY=name measures that and writes nothing.
bench-chain: MACHINE ?= $(shell sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)
bench-chain: $(VENV)/installed
	$(BIN)/python local-node/build-wasm --install
	$(BIN)/python local-node/build-wasm --benchmarks build/benchmarks/runtime.wasm
	cd local-node/node && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/native-node \
		cargo build --release --locked --bin datdot-benchmark
	$(CARGO_TARGET_DIR)/native-node/release/datdot-benchmark --wasm build/benchmarks/runtime.wasm \
		--root local-node --table docs/weights.md --machine "$(MACHINE)" $(if $(ONLY),--only $(ONLY)) $(ARGS)
	rustfmt --edition 2021 --config-path local-node local-node/pallets/*/src/weights.rs

## Line coverage of pallets and primitives by the Rust tests (needs Debian's llvm-N; see the script).
coverage:
	@$(PYTHON) local-node/coverage $(ARGS)

## Fuzz the Rust code: sequences of calls beside a model, and each reader; CASES says how many.
## With SECONDS, or an INPUT, each TARGET for so long by libFuzzer, or with that file.
FUZZ := $(CURDIR)/build/fuzz
fuzz-rust: TARGET ?= $(shell awk -F'"' '/^    ."/ { print $$2 }' local-node/fuzz/src/lib.rs)
fuzz-rust:
ifeq ($(SECONDS)$(INPUT),)
	cd local-node/fuzz && cargo fmt --check
	cd local-node/fuzz && cargo clippy --locked --all-targets -- -D warnings
	cd local-node/fuzz && $(if $(CASES),PROPTEST_CASES=$(CASES)) cargo test --locked
else
	cargo fuzz --version || cargo install --locked cargo-fuzz@0.13.2
	cd local-node/fuzz && for target in $(TARGET); do \
		corpus=$(FUZZ)/$$target; mkdir -p $$corpus; \
		FUZZ_TARGET=$$target FUZZ_SEEDS=$$corpus \
		cargo fuzz run --sanitizer none --no-cfg-fuzzing --features libfuzzer guided \
			$(or $(abspath $(INPUT)),$$corpus) -- -artifact_prefix=$$corpus- -max_len=8192 -timeout=60 \
			$(if $(SECONDS),-max_total_time=$(SECONDS)) -print_final_stats=1 $(ARGS) || exit 1; \
	done
endif

## Mutation testing of one crate of local-node, or of a SHARD=k/n of its mutants, by its tests; outside
## CI: hours for pallet-performance. Ends with status 2 if a mutant survives (docs/mutants.md).
MUTANTS := $(CARGO_TARGET_DIR)/mutants
mutants: CRATE ?= datdot-primitives
mutants: OUTPUT = build/mutants/$(CRATE)$(if $(SHARD),-$(subst /,-of-,$(SHARD)))
mutants: $(MUTANTS)/tool/bin/cargo-mutants
	rm -rf $(MUTANTS)/source
	mkdir -p $(MUTANTS)/source/local-node $(MUTANTS)/source/tests $(OUTPUT)
	cp -r tests/vectors $(MUTANTS)/source/tests
	cd local-node && cp -r .cargo Cargo.toml Cargo.lock primitives pallets runtime $(MUTANTS)/source/local-node
	cd $(MUTANTS)/source/local-node && CARGO_TARGET_DIR=$(MUTANTS)/target PROPTEST_CASES=32 \
		$< mutants --in-place --package $(CRATE) --output $(CURDIR)/$(OUTPUT) \
		$(if $(SHARD),--shard $(SHARD) --sharding round-robin) $(ARGS)

$(MUTANTS)/tool/bin/cargo-mutants:
	cargo install cargo-mutants --version 27.1.0 --locked --root $(MUTANTS)/tool

## The coinflip's TLA+ model, checked by TLC (needs java and mvn); MODEL_SECONDS bounds n = 4.
model:
	@$(PYTHON) docs/model/check $(ARGS)

## Whether a hoster that learns can tell audits from readers; SESSIONS=n of each (400).
distinguish: $(VENV)/installed $(VENV)/distinguish npm-peers
	$(BIN)/python -m distinguish $(if $(SESSIONS),--sessions $(SESSIONS)) $(ARGS)

$(VENV)/distinguish: requirements-distinguish.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-distinguish.txt
	@touch $@

wheel: $(VENV)/installed
	rm -f dist/datdot-*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

## Install the wheel into an empty environment outside of the repository and run a testnet there.
test-wheel: wheel
	PYTHON=$(PYTHON) deploy/check-wheel dist/datdot-*.whl requirements.txt

## The image of docker-compose.yml. Wheels are fetched here, so that the build needs no network.
image: wheel
	rm -rf build/image
	mkdir -p build/image
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --only-binary :all: \
		--require-hashes -r requirements.txt --dest build/image/wheels
	cp dist/datdot-*.whl build/image/wheels
	cp requirements.txt deploy/setup build/image
	docker build --tag datdot:local --file deploy/Dockerfile \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) build/image

## Pin the dependencies anew (needs uv).
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --extra dev pyproject.toml --output-file requirements-dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --constraints requirements-dev.txt pyproject.toml \
		--output-file requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --extra distinguish --constraints requirements-dev.txt \
		pyproject.toml --output-file requirements-distinguish.txt

## Unmodified npm peers for interoperation tests and benchmarks (needs Node 20 or newer).
npm-peers: tests/interop/node/node_modules/.package-lock.json

tests/interop/node/node_modules/.package-lock.json: tests/interop/node/package-lock.json
	cd tests/interop/node && npm ci --silent
	@touch $@

## The npm package that adds receipts to a Node hoster (needs Node 20 or newer).
test-node: integrations/node/node_modules/.package-lock.json
	cd integrations/node && npm test

integrations/node/node_modules/.package-lock.json: integrations/node/package-lock.json
	cd integrations/node && npm ci --silent
	@touch $@

## Both ways with the npm peers, as real processes; the last line says how many cases there were.
interop: $(VENV)/installed npm-peers integrations/node/node_modules/.package-lock.json
	$(BIN)/pytest tests/interop -q $(PYTEST_ARGS)

## The chain by other people's clients: the polkadot.js API and Polkadot-API (Node 20 or newer), and
## subxt if there is a cargo: some 230 crates, minutes the first time.
NODE_CLIENTS := $(patsubst %,tests/clients/%/node_modules/.package-lock.json,polkadot_js polkadot_api)
SUBXT_CARGO := cd tests/clients/subxt && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/subxt cargo
clients: $(VENV)/installed $(NODE_CLIENTS)
	$(if $(shell command -v cargo),$(SUBXT_CARGO) fmt --check)
	$(if $(shell command -v cargo),$(SUBXT_CARGO) clippy --locked --quiet -- -D warnings)
	$(BIN)/pytest tests/clients -q -rs $(PYTEST_ARGS)

$(NODE_CLIENTS): %/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --silent
	@touch $@

$(VENV)/installed: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "DatDot needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
