# The everyday commands. What tests and demo need beyond Rust, Python 3 and Node is fetched into .dev/.

PYTHON ?= python3
CARGO ?= cargo

.PHONY: bench build chaos demo dist docs fuzz test lint mutants pictures versions clean-dev help

build: ## build the release binary, target/release/silt
	$(CARGO) build --release --locked

dist: build ## target/dist: a tarball and a Debian package, with manual pages, completions and checksums
	$(PYTHON) dev/dist.py target/release/silt target/dist

demo: build ## one minute of silt at work on a real replica set, killed on the way, counted in the end
	$(PYTHON) dev/demo.py

# What depends on the server: its streams and options, checkpoints, the oplog, its errors, `silt check`.
SERVER_TESTS = lifecycle:: events:: options:: checkpoint_conformance history:: outages:: server_errors:: streams:: snapshot:: \
	handover:: fidelity:: uri_options:: watch:: checkpoint_cost::a_save check::mongodb check::patterns
on_versions = for version in $(1); do echo "MongoDB $$version"; \
	$(PYTHON) dev/servers.py run --version $$version -- $(CARGO) test --locked --test suite -- $(2) || exit 1; done

test: ## all tests, against a real replica set and a real Azurite, and on older MongoDBs what depends on them
	$(PYTHON) dev/tools.py
	$(PYTHON) -m unittest discover -s dev -p '*_test.py'
	$(PYTHON) dev/servers.py run -- $(CARGO) test --locked
	$(call on_versions,4.4.2 5.0.4,$(SERVER_TESTS))

VERSIONS ?= 4.4.2 5.0.4 6.0.5 6.0.27

versions: ## the whole suite on every MongoDB that can be had (40 minutes); VERSIONS=4.4.2 for one
	$(PYTHON) dev/tools.py
	$(call on_versions,$(VERSIONS))

BENCH ?=

bench: ## silt beside the server's own cursor, and the encoder beside serde_json (20 minutes); BENCH=memory for a part
	$(PYTHON) dev/tools.py
	$(PYTHON) dev/servers.py run --oplog-mb 4096 --cache-mb 1024 -- $(CARGO) bench --locked --bench goals -- $(BENCH)
	$(CARGO) bench --locked --bench encoder

CHAOS_MINUTES ?= 60

chaos: ## every fault many times more, for CHAOS_MINUTES (60); a round that fails prints its seed
	$(PYTHON) dev/tools.py
	SILT_CHAOS_MINUTES=$(CHAOS_MINUTES) $(PYTHON) dev/servers.py run -- \
		$(CARGO) test --locked --test suite -- faults:: snapshot:: --test-threads=8 --nocapture

FUZZ_CASES ?= 1000000

fuzz: ## the property tests, on FUZZ_CASES random inputs each: encoder, damaged files, settings, tokens
	PROPTEST_CASES=$(FUZZ_CASES) $(CARGO) test --locked --profile fuzz --lib -- prop_tests

docs: ## write docs/settings.md and .env.template from the table of settings
	SILT_WRITE_DOCS=1 $(CARGO) test --locked --lib settings::tests::documents

lint: ## format and lints; warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

mutants: ## break the pure core in every small way; its tests must see it (an hour)
	$(PYTHON) dev/mutants.py

pictures: ## take the pictures of the page for docs/images, from five minutes of a real load
	SILT_PICTURES=$(CURDIR)/docs/images $(PYTHON) dev/servers.py run -- $(CARGO) test --locked --test suite pictures

clean-dev: ## remove what was fetched and what the demo left
	rm -rf .dev

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; do \
		printf '%-10s %s\n' "$$name" "$$what"; done
