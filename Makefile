# Everything a developer or a user of this repository runs. `make` lists it.

GO       ?= go
BIN      := .bin
TOOLS    := .tools
SERVICES := election vtep-registry dataplane route-sync admin
# Without stamps of Go's own: git refuses to tell of a checkout of another user, and the
# build would fail; LDFLAGS stamps the version.
export GOFLAGS := $(strip $(shell $(GO) env GOFLAGS) -buildvcs=false)
VERSION  := $(shell git describe --tags --always --dirty=+changed 2>/dev/null || echo unknown)
LDFLAGS  := -X github.com/hybridgateway/gateway/libs/cli.stamp=$(VERSION)
MODULES  := $(patsubst ./%,%,$(shell sed -n 's/^[[:space:]]*\(\.\/[^ ]*\)$$/\1/p' go.work))
TESTED   := $(addsuffix /...,$(addprefix ./,$(MODULES)))
SUDO     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# The race detector needs a C compiler; without one the tests run without it.
RACE     := $(if $(shell command -v gcc || command -v clang),-race)

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-e2e fuzz bench-routes bench-dataplane bench-liveness bench-election sim-election lab lab-down build services controlplane generate generate-bpf lint precommit clean FORCE

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: build ## bring the lab up, show the gateway at work, check what is shown, remove everything
	@$(SUDO) $(BIN)/lab demo

# Failures are shown as they happen, skips at the end with their reasons; root skips none.
REPORT := --format pkgname-and-test-fails --hide-summary=failed --post-run-command '.ci/judge-tests $(if $(SUDO),,none-skipped)'
# make test RERUN=1 gives up to three failed tests a second chance, on machines that stall for seconds; a race of data gets none.
RERUN  ?=
REPORT += $(if $(RERUN),--rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race)

test: build $(TOOLS)/gotestsum ## run all tests; those that need root are skipped, with the reason, without it
	@$(MAKE) --no-print-directory test-unit
	@$(MAKE) --no-print-directory test-e2e

# controlplane is tested without the race detector, which would compile all of Kubernetes once more; route-sync's
# plan also without it, under which it has time for a twentieth of its 10,000 random schedules.
# -p 1 for the end-to-end tests: they measure silence, so nothing runs beside them.
test-unit: $(TOOLS)/gotestsum
	$(TOOLS)/gotestsum $(REPORT) --packages '$(filter-out ./tools/controlplane/... ./tools/lab/...,$(TESTED)) $(shell $(GO) list ./tools/lab/... | grep -v /e2e)' -- $(RACE) -timeout 15m
	$(TOOLS)/gotestsum $(REPORT) --packages './tools/controlplane/... ./services/route-sync/internal/plan' -- -timeout 15m

test-e2e: $(TOOLS)/gotestsum
	$(TOOLS)/gotestsum $(REPORT) --packages ./tools/lab/e2e/... -- -count=1 -p 1 -timeout 20m

FUZZTIME ?= 60s

fuzz: ## run each fuzzer of the parsers of what comes from outside, for FUZZTIME (60s)
	@.ci/fuzz $(FUZZTIME)

bench-routes: ## measure takeovers of routes, of both kinds and many sizes, against the EC2 stand-in (15 min)
	@BENCH_ROUTES=1 $(GO) test -count=1 -timeout 60m -v -run '^TestBenchRoutes$$' ./services/route-sync/internal/app

bench-liveness: ## measure how soon and how often wrongly a gateway's death is noticed, beside memberlist (1.5 h)
	@$(GO) build -o $(BIN)/ ./services/election/internal/peers/measure ./tools/livenessbench
	@$(SUDO) $(BIN)/livenessbench -measure $(BIN)/measure $(LIVENESS)

bench-dataplane: ## measure TCP and small packets beside plain routing and a tunnel made by hand, changes of the guard, and how soon nodes are programmed (5 min)
	@$(SUDO) $(GO) test -count=1 -timeout 30m -run '^$$' -bench '^BenchmarkPrivileged(Speed|GuardChange)$$' -benchtime 1x ./services/dataplane/internal/kernel
	@$(SUDO) $(GO) test -count=1 -timeout 30m -run '^$$' -bench '^BenchmarkPrivilegedJoin$$' -benchtime 1x ./services/dataplane/internal/app

bench-election: build ## measure what the death of the active gateway's node and planned hand-overs cost, in the lab, with both backends (5 min)
	@$(SUDO) $(BIN)/lab bench-election $(ELECTION)

sim-election: ## simulate a million schedules of failures of gateways that elect, and print the seed of the fresh ones (10 min or more)
	@$(GO) test -count=1 -timeout 0 -v -run '^TestSimulation$$' ./services/election/internal/term -sim-count=1000000 -sim-time=24h

lab: build ## bring the lab up and leave it up
	@$(SUDO) $(BIN)/lab up

lab-down: $(BIN)/lab ## remove the lab
	@$(SUDO) $(BIN)/lab down

build: services controlplane ## build the five services, hgctl and the lab into .bin
services: $(addprefix $(BIN)/,$(SERVICES) hgctl lab)
controlplane: $(BIN)/controlplane

$(addprefix $(BIN)/,$(SERVICES)): $(BIN)/%: FORCE
	@$(GO) build -ldflags '$(LDFLAGS)' -o $@ ./services/$*

$(addprefix $(BIN)/,hgctl lab): $(BIN)/%: FORCE
	@$(GO) build -ldflags '$(LDFLAGS)' -o $@ ./tools/$*

$(BIN)/controlplane: FORCE
	@[ -x $@ ] || echo "building kube-apiserver and etcd from their modules: about four minutes on two cores when done for the first time"
	@$(GO) build -o $@ ./tools/controlplane

# The tools' modules stand outside of go.work, so that what they need does not raise
# the versions that the services are built with.
$(TOOLS)/buf: tools/pins/buf/go.mod
$(TOOLS)/golangci-lint: tools/pins/golangci-lint/go.mod
$(TOOLS)/gotestsum: tools/pins/gotestsum/go.mod
$(TOOLS)/protoc-gen-go: tools/pins/protoc/go.mod
$(TOOLS)/buf $(TOOLS)/golangci-lint $(TOOLS)/gotestsum $(TOOLS)/protoc-gen-go:
	@echo "building $(@F), pinned in $<"
	@GOWORK=off $(GO) -C $(<D) build -o $(CURDIR)/$(TOOLS)/ tool
	@touch $@

generate: $(TOOLS)/buf $(TOOLS)/protoc-gen-go ## generate Go from the protobuf contracts
	@find proto/gen -name '*.pb.go' -delete
	@$(TOOLS)/buf generate

generate-bpf: ## generate the fast path's program from its source; needs clang, and the headers of libbpf
	@$(GO) -C services/dataplane/internal/fastpath generate

# Contracts may not break against the last release's; before the first, against the commit before.
LAST_RELEASE := $(shell git describe --tags --abbrev=0 2>/dev/null)

lint: $(TOOLS)/buf $(TOOLS)/golangci-lint ## check contracts, code, modules and that generated code is fresh
	@$(TOOLS)/buf lint
	@$(TOOLS)/buf breaking --against '.git#$(if $(LAST_RELEASE),tag=$(LAST_RELEASE),ref=$(shell git rev-parse --verify --quiet HEAD~1 || echo HEAD))'
	@.ci/generated-is-fresh
	@.ci/modules-are-complete $(MODULES)
	@for m in $(MODULES); do echo "golangci-lint $$m"; (cd $$m && $(CURDIR)/$(TOOLS)/golangci-lint run ./...) || exit 1; done

precommit: ## what CI runs
	@.ci/run

clean: ## remove what was built
	@if [ -e /run/hgw-lab ]; then echo "a lab is up, or was left by a crash, and runs from $(BIN): remove it first with make lab-down" >&2; exit 1; fi
	rm -rf $(BIN) $(TOOLS)
