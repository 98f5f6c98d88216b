# Few verbs; 'make help' lists them. Everything needed is installed on the way.

# The exact toolchain is fetched as a Go module where it is not installed; an
# environment that says GOTOOLCHAIN=local would refuse it.
export GOTOOLCHAIN := go1.27.4
export GOFLAGS := -buildvcs=false

LAB := .lab/bin/lab
STEP := @printf '==> %s (%s)\n'

.PHONY: help
help: ## List the verbs
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-22s %s\n", $$1, $$2}'

.PHONY: up
up: $(LAB) ## Start a real Kubernetes on this machine with Fairlead and the demo in it
	@$(LAB) up

.PHONY: down
down: $(LAB) ## Remove it and everything it made
	@$(LAB) down

.PHONY: test
test: ## Run every test: unit, kernel, and end to end on the lab
	@./hack/test.sh

.PHONY: e2e
e2e: up ## Run the end-to-end tests on the lab
	$(STEP) 'end-to-end tests on the lab' "$$(date +%T)"
	@cd lab && go test -count=1 -timeout 60m -tags e2e -v ./e2e/...

.PHONY: bench
bench: ## Run the benchmarks and write docs/benchmarks/
	@./hack/bench.sh

.PHONY: bench-services
bench-services: ## Measure Services beside kube-proxy and write docs/benchmarks/services.md (as root, ten minutes)
	@./hack/bench-services.sh

.PHONY: bench-dns
bench-dns: ## Measure DNS beside CoreDNS, Knot and unbound and write docs/benchmarks/dns.md (as root, ten minutes)
	@./hack/bench-dns.sh

.PHONY: bench-l7
bench-l7: ## Measure the L7 engine beside nginx, HAProxy, Traefik and Caddy and write docs/benchmarks/l7.md (as root, half an hour)
	@./hack/bench-l7.sh

.PHONY: bench-loadbalancer
bench-loadbalancer: up ## Measure failover of LoadBalancers on the lab and write docs/benchmarks/loadbalancer.md (as root, half an hour)
	@./hack/bench-loadbalancer.sh

.PHONY: generate
generate: ## Rebuild generated files: BPF objects (needs clang)
	@command -v clang >/dev/null && test -e /usr/include/bpf/bpf_helpers.h || \
	  { echo "==> installing clang, llvm and libbpf-dev"; apt-get update -q && apt-get install -q -y clang llvm libbpf-dev; }
	go generate ./...

.PHONY: lint
lint: ## Look for mistakes: gofmt, go vet, golangci-lint
	@./hack/lint.sh

.PHONY: check
check: generate lint ## Lint, and fail if generated files or go.mod are not up to date
	go mod tidy -diff
	cd lab && go mod tidy -diff
	cd lab/dns && go mod tidy -diff
	cd lab/l7 && go mod tidy -diff
	@git diff --exit-code --stat -- internal || { echo "generated files differ: commit what 'make generate' made"; exit 1; }

.PHONY: image
image: $(LAB) ## Build the product's image as .lab/images/fairlead.tar
	@$(LAB) image

.PHONY: build
build: ## Build the binary ./fairlead
	CGO_ENABLED=0 go build -tags no_fs_access -o fairlead .

.PHONY: FORCE
FORCE:

$(LAB): FORCE
	$(STEP) 'building the lab command; the first time this fetches the Go toolchain and modules' "$$(date +%T)"
	@command -v go >/dev/null || { echo "Go is missing: install it from your distribution (apt-get install golang) or go.dev"; exit 1; }
	@mkdir -p .lab/bin
	@cd lab && CGO_ENABLED=0 go build -ldflags '-s -w' -o ../$(LAB) ./cmd/lab

# One control plane and two workers in each of three zones: with fewer, specs about zones skip themselves.
.PHONY: conformance-kubernetes
conformance-kubernetes: $(LAB) ## Run Kubernetes' own [sig-network] suite on both planes (two hours)
	@$(LAB) up --nodes 7
	$(STEP) 'conformance on the eBPF plane, then on the nftables plane' "$$(date +%T)"
	@failed=; for plane in ebpf nftables; do $(LAB) conformance --plane $$plane || failed="$$failed $$plane"; done; \
	  test -z "$$failed" || { echo "==> not conformant:$$failed; docs/conformance/README.md says how to run one spec"; exit 1; }
