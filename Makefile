# make dev    installs what is missing, builds, and runs PostgreSQL, the emulator and the proxy
# make test   installs what is missing, then runs the whole test suite
# make nightly    proofs that take an hour: tenant isolation over 200,000 statements, and its mutants
# make test-clients  programs and test suites of others, through the proxy and on plain PostgreSQL
# DEV_FLAGS   further arguments of `dsql-proxy dev`, such as DEV_FLAGS=--fresh

SHELL := /bin/bash
DEV_FLAGS ?=
# Other statements every night; both are printed.
ISOLATION_STATEMENTS ?= 200000
ISOLATION_SEED ?= $(shell date +%Y%m%d)

.PHONY: dev test nightly test-clients

dev:
	@scripts/install-needs build server
	cargo build --release --locked
	@exec "$${CARGO_TARGET_DIR:-target}/release/dsql-proxy" dev $(DEV_FLAGS)

test:
	@scripts/install-needs build server client
	@scripts/test

nightly:
	@scripts/install-needs build server
	ISOLATION_STATEMENTS=$(ISOLATION_STATEMENTS) ISOLATION_SEED=$(ISOLATION_SEED) \
		cargo test --locked --test tenancy -- --nocapture --test-threads=1 random:: logged::
	scripts/mutate-isolation

test-clients:
	@scripts/install-needs build server client programs
	cargo build --locked
	tests/clients/run.sh
	tests/clients/suites.sh
