# Each target is one command that a person would type; what it does is in the script or program that it calls.
TOPOLOGY ?= lab
PYTHON = .venv/bin/python
KYBERN = .venv/bin/kybern

.PHONY: help setup setup-develop lab lab-down verify test test-unit test-protocol test-cluster test-small test-operations test-vm test-kills test-away simulate lint bench docs lock generate clean

help:
	@echo "make lab         machines, deploy and verification: a cluster on this machine   (TOPOLOGY=lab)"
	@echo "make lab-down    remove exactly what make lab made"
	@echo "make verify      look at every machine with testinfra"
	@echo "make test        everything: lint, unit, roles, protocol, cluster, infra"
	@echo "make test-small  clusters of two or three machines: both families of IP, a pod network of somebody else, a cloud"
	@echo "make test-operations  keys, authorities and releases of a lab exchanged while it runs, etcd lost and recovered; an hour"
	@echo "make test-vm     a virtual machine that becomes a cluster; minutes without KVM"
	@echo "make test-kills  ten minutes of killed kubelets and containerds on a lab; see what is left"
	@echo "make test-away   an hour without an API server: pods run on, and are told of when it is back"
	@echo "make test-unit   the fast tests"
	@echo "make simulate    a control plane of 1,000 nodes and 10,000 pods in one process; many minutes"
	@echo "make lint        ruff, mypy, import-linter, codespell, generated files"
	@echo "make bench       measure, and print a table"
	@echo "make docs        build the documentation"
	@echo "make lock        compile the lock files anew;  make generate: write generated files anew"

setup:
	@scripts/setup

setup-develop:
	@scripts/setup develop

lab: setup
	@$(KYBERN) lab $(TOPOLOGY)

lab-down: setup
	@$(KYBERN) machines down $(TOPOLOGY)

verify: setup-develop
	@$(KYBERN) verify $(TOPOLOGY)

test: lint test-unit test-protocol test-cluster

test-unit: setup-develop
	scripts/test-together -q -m "not large" tests/unit tests/roles tests/simulation

simulate: setup-develop
	$(PYTHON) -m pytest -q -s -m large tests/simulation

test-protocol: setup-develop
	scripts/fetch-etcd >/dev/null
	scripts/fetch-containerd >/dev/null
	scripts/fetch-registry >/dev/null
	scripts/fetch-clients >/dev/null
	$(KYBERN) machines image
	scripts/test-together -q --timeout=600 -m "not away" tests/protocol

test-cluster: setup-develop
	$(PYTHON) -m pytest -q --timeout=900 -p no:randomly -m "not vm and not kills and not small and not operations" tests/cluster

test-small: setup-develop
	$(PYTHON) -m pytest -q --timeout=900 -p no:randomly -m small tests/cluster

test-operations: setup-develop
	$(PYTHON) -m pytest -q --timeout=1200 -p no:randomly -m operations tests/cluster

test-vm: setup-develop
	$(PYTHON) -m pytest -q --timeout=3000 -p no:randomly -m "vm and not operations" tests/cluster

test-kills: setup-develop
	$(PYTHON) -m pytest -q -s --timeout=1800 -p no:randomly -m kills tests/cluster

test-away: setup-develop
	scripts/fetch-etcd >/dev/null
	scripts/fetch-containerd >/dev/null
	$(PYTHON) -m pytest -q -s -p no:randomly -m away tests/protocol

lint: setup-develop
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy src roles deploys generate tests
	.venv/bin/lint-imports --no-cache
	.venv/bin/codespell src roles deploys docs tests README.md CONTRIBUTING.md
	shellcheck scripts/* .ci/run

bench: setup-develop
	$(PYTHON) -m benchmarks

docs: setup-develop
	$(PYTHON) -m generate.docs

lock: setup
	scripts/lock

generate: setup-develop
	$(PYTHON) -m generate.types
	$(PYTHON) -m generate.protos
	$(PYTHON) -m generate.defaults
	$(PYTHON) -m generate.data
	$(PYTHON) -m generate.docs

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
