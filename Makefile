# `make help` lists every command. What is slow to build or fetch is cached in ROOMSCRIBE_CACHE, outside the checkout.
ROOMSCRIBE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/roomscribe
CARGO_TARGET_DIR ?= $(ROOMSCRIBE_CACHE)/target
export ROOMSCRIBE_CACHE CARGO_TARGET_DIR
STAGE := tests/tools/stage.sh
NEED := tests/tools/need.sh
# The same in every stage, or the gateway is built twice; the laptop's program is built without.
CLUSTER := --features roomscribe-gateway/cluster,roomscribe-transcript/nats,roomscribe-worker/nats
# Where need.sh puts it; the tests start their own.
NATS_SERVER_BIN ?= $(ROOMSCRIBE_CACHE)/nats-server-2.15.1/nats-server
export NATS_SERVER_BIN
T ?= 60
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test images images-reproduce cluster cluster-down node-test e2e-images e2e-if-possible scale scale-images upgrade-test e2e-local cluster-build cluster-begin livekit-begin helm-begin lint unit livekit chart api-server operator-up operator-down e2e browser deny bench fuzz soak soak-nats generate fixtures sizes screenshots

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a meeting end to end, no account (ARGS="--once --format json")
	@$(NEED) cargo cc python3 pip >&2
	@cargo build --release --locked -p roomscribe >&2
	@$(CARGO_TARGET_DIR)/release/roomscribe demo $(ARGS)

test: cluster-begin livekit-begin helm-begin lint unit livekit chart api-server e2e-local browser e2e-if-possible ## everything that CI proves
	@echo "all stages passed"

cluster-build: ## the Kubernetes that tests run on, as one program (once, about 12 minutes of CPU)
	@$(NEED) go
	@$(STAGE) "cluster program" tests/cluster/build.sh

# Beside the Rust builds: Go's compiler runs at low priority, and the stage that needs the program waits for it.
cluster-begin:
	@$(NEED) go
	@mkdir -p $(ROOMSCRIBE_CACHE)
	@tests/cluster/build.sh >$(ROOMSCRIBE_CACHE)/cluster-build.log 2>&1 </dev/null &

E2E = HELM_BIN=$$(ls -t $(ROOMSCRIBE_CACHE)/helm-*/helm | head -1) IMAGES_DIR=$(ROOMSCRIBE_CACHE)/images-test

# Images of debug programs: they do the same, and are there in a minute.
e2e: ## our images and chart on a real Kubernetes, from a room to words, while things are killed (SEED=n KILLS=n; Linux, root; or KUBECONFIG and E2E_REGISTRY)
	@tests/cluster/may-e2e.sh
	@$(NEED) cargo cc go helm ffmpeg
	@[ -n "$(E2E_REGISTRY)" ] || $(MAKE) --no-print-directory e2e-images
	@SEED=$(SEED) KILLS=$(KILLS) $(E2E) $(STAGE) "a real cluster, end to end" cargo test --locked -p roomscribe-cluster --test e2e -- --ignored --test-threads=1 --nocapture

upgrade-test: ## from an earlier version to this tree and back while a session runs (FROM=<git ref>; default: the newest tag)
	@tests/cluster/may-e2e.sh
	@$(NEED) cargo cc go helm ffmpeg
	@from=$$($(STAGE) "an earlier version" tests/cluster/earlier.sh "$(FROM)") && $(MAKE) --no-print-directory e2e-images && E2E_FROM_CHART=$$from/chart E2E_FROM_TAG=from E2E_FROM_IMAGES=$$from $(E2E) $(STAGE) "upgrade on a real cluster" cargo test --locked -p roomscribe-cluster --test e2e -- --ignored --test-threads=1 --nocapture upgrade::

# Where it cannot be, `make test` says why and goes on.
e2e-if-possible:
	@if why=$$(tests/cluster/may-e2e.sh 2>&1); then $(MAKE) --no-print-directory e2e; else echo "left out: a real cluster, end to end. $$why"; fi

e2e-images: cluster-build ## the images that e2e runs, as docker-archives, to push into a registry for E2E_REGISTRY
	@$(NEED) cargo cc one-node buildah ca-certificates python3 pip nats-server
	@PROFILE=dev PREFIX=localhost/roomscribe OUT=$(ROOMSCRIBE_CACHE)/images-test $(STAGE) "images of the tests" sh -c 'images/pack.sh operator worker gateway speech && tests/cluster/test-images.sh $(ROOMSCRIBE_CACHE)/images-test'
	@PROFILE=dev $(STAGE) "images are as promised" tests/images/run.sh $(ROOMSCRIBE_CACHE)/images-test

# Release programs: what a session costs is measured of what people run.
scale: scale-images ## what a session costs on a real node, and how many fit, into docs/scale.{json,md} (N=30 WINDOW=90; Linux, root)
	@$(NEED) cargo cc go helm ffmpeg
	@N=$(N) WINDOW=$(WINDOW) HELM_BIN=$$(ls -t $(ROOMSCRIBE_CACHE)/helm-*/helm | head -1) IMAGES_DIR=$(ROOMSCRIBE_CACHE)/images-scale $(STAGE) "scale" cargo test --locked -p roomscribe-cluster --test scale -- --ignored --nocapture

scale-images: cluster-build
	@$(NEED) cargo cc one-node buildah ca-certificates python3 pip nats-server
	@PROFILE=release PREFIX=localhost/roomscribe OUT=$(ROOMSCRIBE_CACHE)/images-scale $(STAGE) "images of release programs" sh -c 'images/pack.sh operator worker gateway speech && tests/cluster/test-images.sh $(ROOMSCRIBE_CACHE)/images-scale'

images: ## one small image per role, without a Docker engine; prints their sizes
	@$(NEED) cargo cc buildah ca-certificates python3 pip unshare cargo-auditable
	@OUT=$(ROOMSCRIBE_CACHE)/images $(STAGE) "images" images/pack.sh
	@$(STAGE) "images are as promised" tests/images/run.sh $(ROOMSCRIBE_CACHE)/images

images-reproduce: images ## the same images once more, built elsewhere from nothing, and their bytes compared (long)
	@$(STAGE) "images, built again elsewhere" images/reproduce.sh $(ROOMSCRIBE_CACHE)/images

lint: deny ## format, clippy, licences
	@$(STAGE) "format and clippy" sh -c 'cargo fmt --all --check && cargo clippy --locked --workspace --all-targets $(CLUSTER) -- -D warnings'

unit: ## unit, property, simulation, seeded fuzz, real publishers
	@$(NEED) cargo cc ffmpeg gst-launch-1.0 gst-plugins python3 pip node npm nats-server
	@$(STAGE) "tools" python3 -m unittest discover -s tests/tools
	@$(STAGE) "what tells a bad image" tests/images/run.sh
	@$(STAGE) "build tests" cargo test --locked --workspace $(CLUSTER) --no-run
	@$(STAGE) "unit, simulation and seeded fuzz" cargo test --locked --workspace $(CLUSTER) --exclude roomscribe-cluster --exclude roomscribe-e2e --exclude roomscribe-load

# As cluster-begin: the stage that needs the server waits for it.
livekit-begin:
	@$(NEED) go
	@mkdir -p $(ROOMSCRIBE_CACHE)
	@$(NEED) livekit-server >$(ROOMSCRIBE_CACHE)/livekit-build.log 2>&1 </dev/null &

livekit: ## our LiveKit client on a real livekit-server, with participants of LiveKit's own SDK
	@$(NEED) cargo cc go python3 pip redis-server setpriv livekit-server
	@$(STAGE) "real LiveKit" cargo test --locked -p roomscribe-livekit --test real_server -- --ignored

# As cluster-begin.
helm-begin:
	@$(NEED) go
	@mkdir -p $(ROOMSCRIBE_CACHE)
	@$(NEED) helm >$(ROOMSCRIBE_CACHE)/helm-build.log 2>&1 </dev/null &

chart: cluster-build ## the Helm chart: lint, renderings, schema, and every object on a real API server
	@$(NEED) cargo cc go python3 pip openssl unshare helm chart-crds
	@cargo test --locked -p roomscribe-cluster --no-run
	@API_SERVER_BIN=$(CARGO_TARGET_DIR)/debug/api_server $(STAGE) "Helm chart" tests/chart/run.sh

# Go's collector has memory to spare here and no CPU.
api-server: cluster-build ## the operator and the gateway on a real API server and etcd
	@$(NEED) cargo cc openssl unshare python3 pip nats-server
	@cargo build --locked -p roomscribe-operator -p roomscribe-gateway --features roomscribe-gateway/cluster
	@GOGC=300 $(STAGE) "real API server" cargo test --locked -p roomscribe-cluster

operator-up: cluster-build ## API server, simulated LiveKit, played kubelet and the operator, to play with; prints KUBECONFIG
	@$(NEED) cargo cc openssl unshare
	@cargo build --locked -p roomscribe-operator -p roomscribe-cluster
	@tests/cluster/background.sh operator-up up $(CARGO_TARGET_DIR)/debug/operator_up

operator-down: ## remove every trace of operator-up
	@tests/cluster/background.sh operator-up down

cluster: cluster-build ## a whole Kubernetes of one node, from package registries (Linux, root); prints KUBECONFIG
	@$(NEED) cargo cc one-node buildah
	@cargo build --locked -p roomscribe-cluster --bin node_up
	@tests/cluster/background.sh cluster up $(CARGO_TARGET_DIR)/debug/node_up

cluster-down: ## remove every trace of cluster
	@tests/cluster/background.sh cluster down
	@. tests/cluster/src/node/sweep.sh && sweep roomscribe-node

node-test: cluster-build ## that one-node Kubernetes itself: it comes, serves, is hurt, and leaves nothing (Linux, root)
	@$(NEED) cargo cc one-node buildah
	@$(STAGE) "one-node Kubernetes" cargo test --locked -p roomscribe-cluster --test node -- --ignored --test-threads=1

e2e-local: ## the built binary without Kubernetes, real publishers, real viewers
	@$(NEED) cargo cc ffmpeg gst-launch-1.0 gst-plugins python3 pip
	@$(STAGE) "build the program" cargo build --release --locked -p roomscribe
	@ROOMSCRIBE_BIN=$(CARGO_TARGET_DIR)/release/roomscribe $(STAGE) "end to end on one machine" cargo test --locked -p roomscribe-e2e

browser: ## the page in headless Chromium
	@$(NEED) cargo cc ffmpeg python3 pip node npm chromium
	@cargo build --release --locked -p roomscribe
	@ROOMSCRIBE_BIN=$(CARGO_TARGET_DIR)/release/roomscribe $(STAGE) "page" tests/e2e/browser/run.sh

deny: ## licences, sources, banned and duplicate crates
	@$(NEED) cargo cc cargo-deny
	@PATH="$(ROOMSCRIBE_CACHE)/tools/bin:$$PATH" $(STAGE) "cargo deny" cargo deny --locked check bans licenses sources

bench: cluster-build ## ratios against peers, into docs/benchmarks.{json,md}
	@$(NEED) cargo cc ffmpeg node npm openssl unshare setpriv
	@tests/load/bench.sh

fuzz: ## every fuzz target for T seconds each (T=60)
	@$(NEED) cargo cc cargo-fuzz
	@PATH="$(ROOMSCRIBE_CACHE)/tools/bin:$$PATH" rtmp/fuzz/run.sh $(T)

soak: ## the decisions through random crashes and faults (SEED=1 POINTS=100000)
	@$(NEED) cargo cc
	@tests/tools/soak.sh $(or $(SEED),1) $(or $(POINTS),100000)

soak-nats: ## the log in NATS through random kills, freezes and cuts (SEED=1 POINTS=100 RUNS=1; NODES=3: a cluster)
	@$(NEED) cargo cc python3 pip nats-server
	@NATS_SEED=$(or $(SEED),1) NATS_POINTS=$(or $(POINTS),100) NATS_RUNS=$(or $(RUNS),1) NATS_NODES=$(or $(NODES),1) cargo test --locked -p roomscribe-transcript --features nats --test nats_chaos -- --nocapture

generate: ## write what is made from the code: the CRD's YAML, docs/conditions.md, the chart's CRD and README
	@$(NEED) python3 pip
	@UPDATE=1 cargo test --locked -q -p roomscribe-crds --test generated
	@tests/chart/run.sh --generate

fixtures: ## make the demo's meeting again from its dialogue
	@tests/fixtures/meeting/make.sh

screenshots: ## make the pictures of docs/ again
	@$(NEED) cargo cc ffmpeg python3 pip node npm chromium
	@cargo build --release --locked -p roomscribe
	@ROOMSCRIBE_BIN=$(CARGO_TARGET_DIR)/release/roomscribe tests/e2e/browser/screenshots.sh

sizes: ## code files over 300 lines
	@tests/tools/sizes.sh
