# One line per task: `make help`. Every target installs what it needs the first time and is quick the second time.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible

LAB := molecule/lab/lab

.PHONY: help venv venv-all check test demo bench torture lab-up lab-down lab-image lab-packages docs dist clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## Make .venv (Python 3.11, ansible-core 2.19 and all tools, pinned)
	@tools/venv core-2.19

venv-all: venv ## Also make .venv-2.16 (ansible-core 2.16) and .venv-3.6 (target-side tests)
	@tools/venv core-2.16
	@tools/venv python-3.6 || [ $$? = 3 ]

check: venv ## Linters and unit tests: minutes
	@.venv/bin/python tools/test --group check

test: venv ## Everything: linters, units, sanity, importer, scenarios on real containers (needs root)
	@.venv/bin/python tools/test

demo: venv lab-packages ## Watch a planned datacenter failover lose nothing (starts the lab)
	@tools/demo

bench: venv lab-packages ## Measure the write gap, the checks, the PKI verdicts, a restart of the store, and the inventory on 2,000 hosts
	@bench/run

torture: venv lab-packages ## Kill the controller at every step, lose a site in every way (long)
	@$(LAB) up
	@CIRCONUS_TORTURE=1 .venv/bin/pytest -v tests/procedures/test_40_killed_controller.py \
		tests/procedures/test_50_unplanned.py tests/procedures/ca tests/procedures/ca_reissue \
		tests/procedures/data_storage

lab-up: venv lab-packages ## Start the two-site lab; prints what runs where; again: nothing to do
	@$(LAB) up

lab-down: venv lab-packages ## Remove the lab's containers and networks
	@$(LAB) down

lab-image: venv lab-packages ## Build the lab's image, unless it is there
	@$(LAB) image

lab-packages:
	@tools/system-packages

docs: venv ## Bring the generated parts of docs/ up to date; reference as HTML into .cache/docs
	@.venv/bin/python tools/gen_docs.py
	@tools/docs

dist: venv ## Build the collection's archive into .cache/dist
	@mkdir -p .cache/dist
	@ansible-galaxy collection build --force --output-path .cache/dist

clean: ## Remove environments and caches (take the lab down first: make lab-down)
	rm -rf .venv .venv-2.16 .venv-3.6 .cache .ansible
