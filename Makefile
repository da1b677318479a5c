# make dev    installs what is missing, builds, and runs PostgreSQL, the emulator and the proxy
# make test   installs what is missing, then runs the whole test suite
# make test-clients  programs and test suites of others, through the proxy and on plain PostgreSQL
# DEV_FLAGS   further arguments of `dsql-proxy dev`, such as DEV_FLAGS=--fresh

SHELL := /bin/bash
DEV_FLAGS ?=

.PHONY: dev test test-clients

dev:
	@scripts/install-needs build server
	cargo build --release --locked
	@exec "$${CARGO_TARGET_DIR:-target}/release/dsql-proxy" dev $(DEV_FLAGS)

test:
	@scripts/install-needs build server client
	@scripts/test

test-clients:
	@scripts/install-needs build server client
	cargo build --locked
	tests/clients/run.sh
	tests/clients/suites.sh
