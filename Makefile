# make benchmark   fresh clone → environment → `python -m benchmark run --all`
# make test        fresh clone → environment → the test suite (8 to 12 minutes on 2 cores)
# make env         the environment alone, .venv
# make lint        ruff
# make leaderboard the committed leaderboard.md and README's figure, from the records in results/reference alone
# make reference   that, and the numbers in the pages of results/, from the same records
# make perf        ratios of speed and memory, with their targets, on an idle machine (about 20 minutes)
# make soak        kills, full disks, thousands of runs and odd input at length, and tests that train
#                  with other kernels of the processor (under 15 minutes)
# make kernels     these alone: no verdict may hang on rounding
# make docs        README, CONTRIBUTING, docs/ and a page for each method, dataset, protocol and encoder
#                  as a site in build/docs
# make slurm       jobs on a real SLURM of one node, where it is installed (tests/slurm_node.sh)
#
# PYTHON names the interpreter (3.11 or newer); ARGS goes to the command: make benchmark ARGS="--data-root DIR"
# JOBS is how many processes run the tests of test and soak

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

# One thread a process: the benchmark runs in parallel processes, and idle threads that spin would
# slow them down many times on busy cores.
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE

.PHONY: env benchmark test lint leaderboard reference perf soak kernels slurm docs clean

env: $(READY)

benchmark: $(READY)
	$(RUN) -m benchmark run --all $(ARGS)

test: $(READY)
	$(RUN) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder --benchmark-disable $(ARGS)

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

leaderboard: $(READY)
	$(RUN) -m benchmark report --results results/reference --out build/reference
	cp build/reference/leaderboard.md .
	cp build/reference/figures/gains-real-standard.svg docs

reference: leaderboard
	$(RUN) -m benchmark answer --into results/README.md --results results/reference
	$(RUN) -m benchmark answer --into results/answers.md --results results/reference

perf: $(READY)
	$(RUN) -m pytest -q -m perf --benchmark-quiet $(ARGS)

soak: $(READY) kernels
	$(RUN) -m pytest -q -m "soak or hypothesis" --hypothesis-profile=soak -n $(JOBS) --dist worksteal --benchmark-disable $(ARGS)

# As on a processor with AVX2 and no more, and on one with neither. torch cannot compile for the second.
TRAINING := $(addprefix tests/test_,$(addsuffix .py,no_leak fit replicas kd distillation mdico \
	dropout_fusion shared_specific contrastive privileged controls encoders statistics))
VERDICTS := tests/test_conformance.py -k "far_from or learn or follow or noticed"
KERNELS := $(RUN) -m pytest -q -n $(JOBS) --dist loadfile --benchmark-disable

kernels: $(READY)
	export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2; \
	  $(KERNELS) $(TRAINING) && $(KERNELS) $(VERDICTS)
	export ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE; \
	  $(KERNELS) $(TRAINING) && $(KERNELS) $(VERDICTS)

slurm: $(READY)
	$(RUN) -m pytest -q -m slurm $(ARGS)

# mkdocs has an environment of its own: the benchmark needs none of it. Pages of what the registries
# hold come from the code.
SITE := build/site
PAGES := build/pages

docs: $(READY)
	test -x $(SITE)/bin/mkdocs || { $(PYTHON) -m venv --clear $(SITE) && \
	  $(SITE)/bin/python -m pip install --quiet --disable-pip-version-check mkdocs-material; }
	rm -rf $(PAGES)
	mkdir -p $(PAGES)/benchmark
	cp -r docs README.md CONTRIBUTING.md leaderboard.md CITATION.cff $(PAGES)
	cp benchmark/record.schema.json $(PAGES)/benchmark
	$(RUN) -m benchmark.commands.pages $(PAGES)/reference
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --quiet --clean

# Made anew when what is to be installed has changed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,dask,slurm,export]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis .benchmarks
