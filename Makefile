# The daily commands. `make` alone lists them.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
PYTHON     ?= python3

.DEFAULT_GOAL := help
.PHONY: help run build test lint fmt image check-image chaos rolling bench peers peers-tensors peers-text test-clients test-kubelet test-cluster manifests docs train train-chat clean

help: ## Lists these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Fetches the ONNX Runtime, builds, and serves the demo model on http://127.0.0.1:8080
	@exec "$(TARGET_DIR)/release/impetus" serve --config config/local.toml

build: ## Makes all that `make run` needs, without serving
	@scripts/fetch-onnxruntime.sh
	@cargo build --release --locked

test: ## Fetches what the tests need, then checks format and lints and runs every test
	@scripts/test.sh

lint: ## Checks format and lints only
	cargo fmt --all --check
	cargo clippy --profile ci --workspace --all-targets --locked -- -D warnings

fmt: ## Formats the code
	cargo fmt --all

image: ## Builds the container image from Debian's packages, without a registry (docs/image.md; root)
	@scripts/build-image.sh

check-image: ## Runs that image as Kubernetes would at its strictest (root)
	@PYTHON="$(PYTHON)" scripts/check-image.sh

chaos: ## Strikes a server under load with every fault (docs/chaos.md says how to read it)
	@scripts/fetch-onnxruntime.sh
	CHAOS_SECONDS=$${CHAOS_SECONDS:-120} cargo test --profile ci --locked -p impetus --test chaos \
		-- --nocapture a_server_struck_by_every_fault

rolling: ## Replaces two servers behind HAProxy under 100,000 requests, none of which may fail (twice; 3 minutes)
	@scripts/fetch-onnxruntime.sh
	@scripts/install-haproxy.sh
	ROLLING_REQUESTS=$${ROLLING_REQUESTS:-100000} cargo test --profile ci --locked -p impetus --test server \
		-- --nocapture --test-threads 1 rolling::

bench: ## Runs the benchmarks (docs/benchmarks.md says how to read them)
	@scripts/fetch-onnxruntime.sh
	cargo build --release --locked -p impetus -p impetus-bench
	"$(TARGET_DIR)/release/impetus-bench"

peers: build ## Strikes Impetus and other servers with the same faults (docs/self-healing.md; 40 minutes)
	$(PYTHON) benches/peers/run.py --impetus "$(TARGET_DIR)/release/impetus"

peers-tensors: build ## Measures the serving of tensors beside other servers (docs/benchmarks.md; 40 minutes)
	@scripts/install-clients.sh
	cargo build --release --locked -p impetus-bench
	.test/clients/bin/python benches/peers/tensors.py --impetus "$(TARGET_DIR)/release/impetus"

peers-text: build ## Measures the generation of text beside onnxruntime-genai (docs/benchmarks.md; 30 minutes)
	cargo build --release --locked -p impetus-bench
	$(PYTHON) benches/peers/text.py

test-clients: ## Drives the server with tritonclient, kserve, openai and curl, and serves ONNX's own tests (8 minutes)
	@scripts/fetch-onnxruntime.sh
	cargo build --profile ci --locked
	@scripts/test-clients.sh

test-kubelet: image ## Runs the server on a real kubelet and strikes it (docs/kubelet.md; root, Debian 12, 7 minutes)
	@scripts/install-kubernetes-tools.sh
	@scripts/kubelet/prepare.sh
	$(PYTHON) tests/kubelet/run.py

test-cluster: image ## Runs the documents' kubectl commands against a real cluster of one node (docs/kubelet.md; 5 minutes)
	@scripts/install-kubernetes-tools.sh
	@scripts/kubelet/prepare.sh cluster
	$(PYTHON) tests/kubelet/documents.py

manifests: ## Makes the manifests that are made from other files
	scripts/render-prometheus-rule.sh
	scripts/render-manifests.sh

docs: ## Builds the crates' documentation into target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

train: .venv/.complete ## Trains the demo model again (needs Python 3.11 to 3.13; about six minutes)
	.venv/bin/python models/train_surface.py

.venv/.complete: models/requirements-training.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

train-chat: .venv-generation/.complete ## Trains the bundled chat model again, and its goldens (Python 3.11 to 3.13; about 40 minutes)
	.venv-generation/bin/python models/train_chat.py
	.venv-generation/bin/python tests/generation/make_goldens.py
	.venv-generation/bin/python tests/generation/check_graphs.py

.venv-generation/.complete: models/requirements-generation.txt
	$(PYTHON) -m venv .venv-generation
	.venv-generation/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

clean: ## Removes what was built; keeps the fetched runtime and all data
	cargo clean
	rm -rf .test .venv .venv-generation
