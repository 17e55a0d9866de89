# The local one-node Kubernetes; see e2e/cluster/README.md. Included by the root Makefile.

CLUSTERCTL := $(dir $(lastword $(MAKEFILE_LIST)))clusterctl

.PHONY: cluster-up cluster-load cluster-status cluster-down cluster-tools cluster-packages cluster-test

cluster-packages:
	@$(dir $(CLUSTERCTL))install-packages.sh

cluster-up: cluster-packages ## Start a real one-node Kubernetes on this machine and wait until it is ready
	@$(CLUSTERCTL) up

cluster-load: ## Load image archives into it: make cluster-load IMAGES="a.tar b.tar" (default: all that are built)
	@$(CLUSTERCTL) load $(or $(IMAGES),$(shell $(dir $(CLUSTERCTL))../images/build.sh --list))

cluster-status: ## Say what of the local cluster runs, and at which addresses
	@$(CLUSTERCTL) status

cluster-down: ## Stop the local cluster and remove every trace of it
	@$(CLUSTERCTL) down

cluster-tools: ## Build kubectl, helm and the cluster's programs when absent, print their folder
	@$(CLUSTERCTL) tools

cluster-test: ## Test the local cluster's own program, without starting a cluster
	@cd $(dir $(CLUSTERCTL))ctl && { files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt: $$files" >&2; exit 1; }; } && go vet ./... && go test ./...
