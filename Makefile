# The two commands of the README: `make run` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUICKSTART := results/runs/quickstart
# The versions that the tests were last run with; `make constraints` writes those of .venv.
TESTED := .ci/constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --constraint $(TESTED) --editable

# A folder of real data sets; tests that need one are skipped where there is none.
ifneq ($(wildcard ../shared/datasets),)
export BFEDREC_DATA ?= $(abspath ../shared/datasets)
endif

.PHONY: run serve merchants test test-slow docs docs-test artefacts results tables behaviours rq3 torture mutants contract ipfs shots chromium guard bench baseline bench-all paired engines watched constraints oldest newest lint format setup setup-run clean

# Without bytecode the tests' processes compile the same modules hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

run: setup-run
	rm -rf $(QUICKSTART)
	$(BIN)/bfedrec run experiments/quickstart.yaml --out $(QUICKSTART)
	$(BIN)/bfedrec audit $(QUICKSTART)

# The runs of results/runs as pages in a browser, until Ctrl-C.
serve: setup-run
	mkdir -p results/runs
	$(BIN)/bfedrec serve results/runs

# The merchants' whole system on this machine: chain, store, functions and portal, until Ctrl-C.
merchants: setup-run
	$(BIN)/python .ci/installed.py merchants || $(INSTALL) '.[merchants]'
	$(BIN)/bfedrec merchants demo $(DEMO)

# What tests use is made beside the linters, on the other core. Their files are many, small and soon
# gone: they lie in memory where it has 4 GiB to spare, as a disk is waited for at each commit. Some
# are programs.
IN_MEMORY := $(shell grep -qs ' /dev/shm tmpfs [^ ]*noexec' /proc/mounts || \
  df -Pk /dev/shm 2> /dev/null | awk 'NR == 2 && $$4 > 4194304 {print $$6}')
TEST := $(if $(IN_MEMORY),PYTEST_DEBUG_TEMPROOT=$(IN_MEMORY)) $(BIN)/pytest
KEPT := $(if $(IN_MEMORY),-o tmp_path_retention_policy=failed)
test: setup
	$(MAKE) --jobs 3 lint chromium $(MADE)
	$(TEST) -n $(WORKERS) --dist worksteal $(KEPT)

# Programs, kernels and bytecode, without which each worker of pytest makes its own. Where the tests
# cannot be collected, pytest itself will say so.
MADE := .cache/made
$(MADE): $(shell find bfedrec consensus tests -name "*.py") | setup
	$(BIN)/python -m tests.helpers.ready
	$(BIN)/pytest --collect-only -qq -p no:cacheprovider > /dev/null || true
	mkdir -p .cache && touch $@

# What the tables and figures lack of recorded runs, from real data and resumable; then all of them.
# On a cluster (docs/clusters.md): make artefacts ENGINE=ray://HEAD:10001 JOBS=
JOBS ?= 2
# Tests wait for a third of their time, for servers and other processes.
WORKERS = $(shell expr $(JOBS) + 1)
ENGINE ?= processes
AT_ONCE = $(if $(JOBS),--jobs $(JOBS)) --engine $(ENGINE)
artefacts: setup-run
	$(BIN)/bfedrec make $(AT_ONCE)

# The same, and what else docs/results.md tells of MovieLens-1M.
SWEEP = $(BIN)/bfedrec sweep --seeds 0-2 $(AT_ONCE) --record results/reference
results: setup-run
	$(SWEEP) experiments/ml-1m-malicious.yaml
	$(SWEEP) experiments/ml-1m-captured.yaml
	$(BIN)/bfedrec make $(AT_ONCE)

# The tables alone, of what is recorded: each says which runs it lacks (status 2).
tables: setup-run
	$(BIN)/bfedrec table all > /dev/null

# Every registered behaviour of malicious servers in turn, beside the honest run (0).
behaviours: setup-run
	$(BIN)/bfedrec sweep experiments/ml-1m-behaviours.yaml --seeds 0 $(AT_ONCE) \
	  --record results/reference --compact \
	  "servers.malicious=0,$$($(BIN)/bfedrec behaviours --share 1/3)"

# What RQ3's figures lack of recorded runs, and the figures.
rq3: setup-run
	$(BIN)/bfedrec make rq3 $(AT_ONCE)

# A hundred thousand scenarios within either premise, in parts, and ten thousand with hard crashes and
# every behaviour since; every rule switched off in turn; the models and twins; and Algorithm 2 as it
# is written, whose known failures are to be found (status 1).
SINCE = beg,future_times,hide_quorum,late_locks,omit_tickets,preempt,split_closures,stale_locks,two_timeouts
ROUNDS = fresh_values,lone_locks,stale_proofs,false_proofs
DRAWS = choose_draws,split_tickets
VIEWS = fresh_values,lone_certificates,old_certificates,borrowed_certificates,false_proofs
torture: setup-run
	for part in 0 1 2 3 4 5 6 7 8 9; do \
	  $(BIN)/bfedrec torture --seeds $${part}0000-$${part}9999 $(AT_ONCE) --record results/torture \
	    || exit; done
	$(BIN)/bfedrec torture --seeds 100000-101399 $(AT_ONCE) --record results/torture
	for part in 0 1 2 3 4 5 6 7 8 9; do \
	  $(BIN)/bfedrec torture --premise half --seeds $${part}0000-$${part}9999 $(AT_ONCE) \
	    --record results/torture || exit; done
	$(BIN)/bfedrec torture --premise half --seeds 100000-108999 $(AT_ONCE) --record results/torture
	for strategy in last_moment shuffle halves against_leader for_malicious; do \
	  $(BIN)/bfedrec torture --premise half --delays $$strategy --seeds 0-299 $(AT_ONCE) \
	    --record results/torture || exit; done
	$(BIN)/bfedrec torture --hard-crashes --behaviours $(SINCE) --seeds 0-9999 $(AT_ONCE) \
	  --record results/torture
	$(BIN)/bfedrec torture --break all $(AT_ONCE) --record results/torture
	$(BIN)/bfedrec torture --model all --record results/torture
	$(BIN)/bfedrec torture --model all --break all --record results/torture
	$(BIN)/bfedrec torture --twins 3 --record results/torture
	$(BIN)/bfedrec torture --protocol tendermint --seeds 00000-09999 $(AT_ONCE) \
	  --record results/torture
	$(BIN)/bfedrec torture --protocol tendermint --hard-crashes --seeds 10000-12999 $(AT_ONCE) \
	  --record results/torture
	$(BIN)/bfedrec torture --protocol tendermint --behaviours $(ROUNDS) --seeds 20000-22999 \
	  $(AT_ONCE) --record results/torture
	$(BIN)/bfedrec torture --protocol tendermint --break all $(AT_ONCE) --record results/torture
	for part in 0 2 4 6 8; do \
	  $(BIN)/bfedrec torture --protocol hotstuff --seeds 0$${part}000-0$$((part + 1))999 $(AT_ONCE) \
	    --record results/torture || exit; done
	$(BIN)/bfedrec torture --protocol hotstuff --hard-crashes --seeds 10000-10999 $(AT_ONCE) \
	  --record results/torture
	$(BIN)/bfedrec torture --protocol hotstuff --behaviours $(VIEWS) --seeds 20000-20999 \
	  $(AT_ONCE) --record results/torture
	$(BIN)/bfedrec torture --protocol hotstuff --break all $(AT_ONCE) --record results/torture
	$(BIN)/bfedrec torture --incentives --seeds 0-6999 $(AT_ONCE) --record results/torture
	$(BIN)/bfedrec torture --protocol tendermint --incentives --seeds 0-2999 $(AT_ONCE) \
	  --record results/torture
	$(BIN)/bfedrec torture --adaptive --seeds 0-2999 $(AT_ONCE) --record results/torture
	$(BIN)/bfedrec torture --premise half --adaptive --seeds 0-999 $(AT_ONCE) --record results/torture
	for protocol in bft tendermint hotstuff; do \
	  $(BIN)/bfedrec torture --protocol $$protocol --behaviours $(DRAWS) --seeds 30000-31999 \
	    $(AT_ONCE) --record results/torture || exit; done
	for protocol in tendermint hotstuff; do \
	  $(BIN)/bfedrec torture --protocol $$protocol --adaptive --seeds 0-1999 $(AT_ONCE) \
	    --record results/torture || exit; done
	$(BIN)/bfedrec torture --protocol paper --seeds 0-1999 $(AT_ONCE) --record results/torture; \
	  test $$? -eq 1

# A sample of small changes of the ledger and of `bft`, each of which torture or a test is to find
# (tests/mutation). Resumable; survivors are explained in tests/mutation/survivors.toml.
mutants: setup
	$(BIN)/python -c 'import cosmic_ray' || $(INSTALL) '.[mutation]'
	$(BIN)/python -m tests.mutation.campaign

# The registry's ABI and bytecode, compiled anew from its source by npm's solc.
contract: setup
	$(BIN)/python -m tests.helpers.compiler

# An IPFS node (js-ipfs, from npm) on loopback until Ctrl-C; prints the multiaddr of its API.
ipfs: setup
	@$(BIN)/python -m tests.helpers.ipfs_node

# Whether this tree gives, byte by byte, what it gave before its files moved (tests/guard.py).
guard: setup-run
	$(BIN)/python -m tests.guard --jobs $(JOBS)

test-slow: setup
	$(BIN)/pytest -m slow

# Whether anything got slower than in the committed baseline (status 1), in a few minutes: to be run
# before a release. Times are ratios to a fixed kernel that is timed beside them (docs/measuring.md).
bench: setup
	$(BIN)/python -m tests.bench.ratios

# That baseline anew, of this tree on this machine: tests/bench/baseline.json.
baseline: setup
	$(BIN)/python -m tests.bench.ratios --write

# The documentation site, in build/docs/html (docs/CONTRIBUTING.md).
docs: setup
	$(BIN)/python -m docs.generator

# The same with no warning, every notebook and every block of every page run: minutes.
docs-test: setup
	$(BIN)/python -m docs.generator --strict --notebooks force
	$(BIN)/pytest -m 'slow or not slow' tests/docs

# All benchmarks, those of pages, merchants and contracts included, with their bars: half an hour.
bench-all: setup
	$(BIN)/pytest -o addopts=--strict-markers tests/bench

# The time of a command beside that of another tree, in pairs (tests/bench/paired.py):
# make paired AGAINST=../before COMMAND="run experiments/quickstart.yaml"
PAIRS ?= 9
COMMAND ?= run experiments/quickstart.yaml
paired: setup-run
	$(BIN)/python -m tests.bench.paired --against $(AGAINST) --pairs $(PAIRS) $(COMMAND)

# The time of a sweep on a cluster of two nodes beside that in two processes (tests/bench/engines.py).
engines: setup
	$(BIN)/python -m tests.bench.engines --pairs $(PAIRS)

# The time of a run that is watched in the explorer beside the same run alone (tests/bench/watched.py).
watched: setup
	$(BIN)/python -m tests.bench.watched --pairs $(PAIRS)

# Screenshots for docs/portal.md and docs/explorer.md.
shots: setup chromium
	$(BIN)/python -m tests.shots
	$(BIN)/python -m tests.explorer_shots

# A browser for the tests of pages, which are skipped without one: Debian's, where we may install it.
chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || test "$$(id -u)" != 0 \
	  || { apt-get -qq update && apt-get -qq -y install chromium; } \
	  || echo "no Chromium: the tests of pages in a browser are skipped" >&2

# The versions in .venv of all that the tests install, to be committed once the tests pass with them.
constraints: setup
	$(BIN)/python .ci/constraints.py > $(TESTED).part && mv $(TESTED).part $(TESTED)

# The tests of what reads, learns, federates and keeps the ledger with the oldest versions that
# pyproject.toml allows, or the newest, in an environment of their own (.ci/bounds.py).
ENDS = tests/test_packaging.py $(addprefix tests/bfedrec/,config data aggregation compression evaluation \
  learning federation baselines runs api cli) $(addprefix tests/consensus/,encoding records ledger storage)
oldest newest: $(BIN)/python
	$(BIN)/python -m venv $(VENV)-$@
	$(VENV)-$@/bin/python -m pip install --quiet packaging
	$(VENV)-$@/bin/python .ci/bounds.py $@ > $(VENV)-$@/constraints.txt
	$(VENV)-$@/bin/python -m pip install --quiet --constraint $(VENV)-$@/constraints.txt --editable '.[test]'
	$(VENV)-$@/bin/pytest $(ENDS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.ready-test
setup-run: $(VENV)/.ready-run

# Repeated only when pyproject.toml or the tested versions change; with what `bfedrec serve` and `report` need. What is
# installed already is left as it is.
$(VENV)/.ready-run: pyproject.toml $(TESTED) $(BIN)/python
	$(BIN)/python .ci/installed.py web || $(INSTALL) '.[web]'
	touch $@

$(VENV)/.ready-test: pyproject.toml $(TESTED) $(BIN)/python
	$(BIN)/python .ci/installed.py test || $(INSTALL) '.[test]'
	touch $@ $(VENV)/.ready-run

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it as in: make PYTHON=python3.12 run" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-newest build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks $(MADE)
	find bfedrec consensus tests -name __pycache__ -type d -prune -exec rm -rf {} +
