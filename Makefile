# What can be done with a checkout. Needs Python 3.11 or later, make and a C compiler; everything
# else goes into .venv. A second call does only what has changed.
#
#   make demo       replay a capture into conserve mode and out again; the report is out/report.html
#   make test       the tests, side by side          TESTS=tests/test_plan.py  JOBS=2
#   make bench      the benchmarks                   BENCHMARKS=benchmarks/...
#   make lint       what layout.py makes, ruff, mypy, cython-lint
#   make simulate   drawn settings, traffic and deeds, engine beside twin    SECONDS=600 SEED=...
#                   KIND=bulk TWIN_PYTHON=pypy3: ten to twenty times as many packets beside the twin
#   make chain      ten million packets through a chain of 8 links and 64 classes: memory flat
#   make shaping-kernel   200 settings of tbf and htb against the kernel here (root, tc)
#   make fuzz       readers, parser, engine, guided by coverage (needs clang)  SECONDS=600
#   make sanitize   Address- and UndefinedBehaviorSanitizer over every capture and every prefix
#   make mutants    each listed change of the code must turn a test red    MUTANTS="name ..."
#   make kernel     linux-conntrack against the kernel here (root, nft)    PARTS="floods ..."
#   make guard      whether fwcore bench --guard is right beside busy neighbours     ROUNDS=20
#   make soak       a live run between namespaces for SECONDS (root): memory flat, nothing lost
#   make crowd      30 000 connections through a table of 10 000, likewise
#   make live-rate  the same beside a bare forwarder and a loop in Python; then the delay it adds,
#                   real TCP through a link, through a meter, and ping beside it with fq_codel
#   make oldest     the tests with the oldest packages that pyproject.toml allows
#   make job        the documented CI job, done in a fresh clone and environment
#   make docs       the documentation's site
#   make clean      back to a fresh checkout

PYTHON ?= python3
JOBS ?= 2
TESTS ?=
BENCHMARKS ?= benchmarks
MUTANTS ?=
SECONDS ?= 600
SEED ?=
KIND ?=
TWIN_PYTHON ?=
INPUT ?=
TARGET ?=
BRIEF ?=
CHANGED ?=
WITHIN ?=
PARTS ?=
ROUNDS ?= 20

VENV := .venv
BIN := $(VENV)/bin
FASTPATH := $(wildcard fwcore/*.pyx fwcore/dataplane/*)
BUILD := $(VENV)/made pyproject.toml setup.py $(FASTPATH)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test bench lint simulate fuzz sanitize mutants kernel soak crowd live-rate docs clean

demo: $(VENV)/demo
	mkdir -p out
	$(BIN)/fwcore replay pcaps/conserve.pcap --settings pcaps/conserve.toml --html out/report.html
	@echo "The report: $(CURDIR)/out/report.html"

test: $(VENV)/test
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --benchmark-disable $(TESTS)

bench: $(VENV)/test
	$(BIN)/python -m pytest -q -p no:xdist --benchmark-enable $(BENCHMARKS)

lint: $(VENV)/test
	$(BIN)/python tools/layout.py --check
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint fwcore

simulate: $(VENV)/test
	$(BIN)/python tools/simulate.py --seconds $(SECONDS) --jobs $(JOBS) \
	    $(if $(SEED),--seed $(SEED)) $(if $(KIND),--kind $(KIND)) \
	    $(if $(TWIN_PYTHON),--twin-python "$(TWIN_PYTHON)")

# Atheris is there for some systems only; tools/fuzz.py says so where it is not.
fuzz: $(VENV)/test
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(INSTALL) --editable '.[fuzz]' || true
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS) --jobs $(JOBS) \
	    $(if $(INPUT),--input $(INPUT)) $(TARGET)

sanitize: $(VENV)/test
	$(BIN)/python tools/sanitize.py --jobs $(JOBS) $(if $(BRIEF),--brief) \
	    $(if $(SEED),--seed $(SEED))

mutants: $(VENV)/test
	$(BIN)/python tools/mutants.py --jobs $(JOBS) $(if $(CHANGED),--changed $(CHANGED)) \
	    $(if $(WITHIN),--within $(WITHIN)) $(MUTANTS)

kernel: $(VENV)/test
	$(BIN)/python tools/kernel.py $(PARTS)

soak: $(VENV)/test
	$(BIN)/python tools/live.py soak --seconds $(SECONDS)

crowd: $(VENV)/test
	$(BIN)/python tools/live.py crowd

live-rate: $(VENV)/test
	$(BIN)/python tools/live.py rate
	$(BIN)/python tools/live.py delay
	$(BIN)/python tools/live.py delay --low-latency
	$(BIN)/python tools/live.py shape --low-latency
	$(BIN)/python tools/live.py police
	$(BIN)/python tools/live.py wait

.PHONY: guard
guard: $(VENV)/test
	$(BIN)/python tools/guard.py --rounds $(ROUNDS)

.PHONY: chain
chain: $(VENV)/test
	FWCORE_SHAPED_PACKETS=10000000 $(BIN)/python -m pytest -q -p no:xdist \
	    tests/test_shaping_chain.py

.PHONY: shaping-kernel
shaping-kernel: $(VENV)/test
	FWCORE_KERNEL_SETTINGS=200 $(BIN)/python -m pytest -q -p no:xdist tests/test_shaping_kernel.py

.PHONY: oldest
oldest: $(VENV)/test
	$(BIN)/python tools/oldest.py --jobs $(JOBS) $(TESTS)

.PHONY: job
job: $(VENV)/test
	$(BIN)/python tools/job.py

docs: $(VENV)/docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist out site *.egg-info .pytest_cache .mypy_cache .ruff_cache \
	    .hypothesis .benchmarks fwcore/*.c fwcore/*.lis fwcore/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: the environment, and the package in it (editable) with what each purpose needs.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "fwcore needs Python 3.11 or later; $(PYTHON) is" \
	        "$$($(PYTHON) --version 2>&1 || echo missing). Say which: make PYTHON=python3.12" >&2; \
	    exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo: $(BUILD)
	$(INSTALL) --editable '.[report]'
	touch $@

$(VENV)/test: $(BUILD)
	$(INSTALL) --editable '.[lint,test]'
	touch $(VENV)/demo $@

$(VENV)/docs: $(BUILD)
	$(INSTALL) --editable '.[docs]'
	touch $@
