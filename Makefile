# `make run` and `make test` need nothing but Rust; what else a test needs, `make test` installs.

SHELL := /bin/bash
CARGO ?= cargo
ADDRESS ?= 127.0.0.1:5000
DATA ?= ./data

.PHONY: run test tools lint openapi soak bench fuzz

## Build and start the server with everything embedded, and say how to push and pull.
run:
	$(CARGO) build --release
	@printf '%s\n' '' \
	  'Push and pull, in another terminal, once the server listens:' \
	  '' \
	  '  oras login $(ADDRESS) --plain-http -u admin --password-stdin < $(DATA)/admin.token' \
	  '  oras push $(ADDRESS)/system/com.example.hello:1.0 --plain-http \' \
	  '      --artifact-type application/vnd.quire.plugin.v1 plugin.zip:application/zip' \
	  '  oras pull $(ADDRESS)/system/com.example.hello:1.0 --plain-http' \
	  '  curl -O http://$(ADDRESS)/blobs/sha256/<digest of the zip>' \
	  '' \
	  'Or pack and upload a folder with a plugin.json or a plugin.py:' \
	  '' \
	  '  export PATH="$$PWD/target/release:$$PATH" QUIRE_TOKEN_FILE=$(DATA)/admin.token QUIRE_URL=http://$(ADDRESS)' \
	  '  quire pack DIR && quire push NAME-VERSION.zip && quire plugins list' \
	  '' \
	  'skopeo and podman work the same way; --tls-verify=false takes the place of --plain-http.' ''
	exec $(CARGO) run --release --quiet -- serve --listen $(ADDRESS) --data $(DATA)

## Install what the tests need, then run every one of them, and those over HTTP once more on PostgreSQL and S3.
test: tools lint
	$(CARGO) test --all-features
	QUIRE_TEST_STORE=far $(CARGO) test --all-features --test suite -- --skip laws --skip tidy --skip postgres --skip s3:: --skip tiered::

tools:
	./tests/install-tools.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --all-features
	@if [ -x target/tools/bin/cargo-deny ]; then target/tools/bin/cargo-deny check bans licenses sources; \
	  elif [ "$$CI" = true ]; then echo 'cargo-deny is missing: make tools' >&2; exit 1; \
	  else echo 'SKIPPED licences and bans: make tools installs cargo-deny'; fi

## Make spec/openapi.json, with which the server answers, of spec/openapi.yaml.
openapi: tools
	target/tools/venv/bin/python tests/make-openapi.py

## The long versions of the tests.
soak: tools
	QUIRE_SOAK=1 $(CARGO) test --all-features -- --nocapture

## Quire against nginx and docker-registry in the same run, as ratios.
bench:
	./tests/install-tools.sh bench
	$(CARGO) bench --bench peers

## A minute for each fuzz target.
fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	for target in manifest route range plugin archive multipart; do \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=60 -max_len=65536 || exit 1; \
	done
