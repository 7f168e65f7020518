# make benchmark   fresh clone → environment → `python -m benchmark run --all`
# make test        fresh clone → environment → the test suite (under 10 minutes on 2 cores)
# make lint        ruff
# make leaderboard the committed leaderboard.md, from the records in results/reference alone
# make perf        ratios of speed and memory, with their targets, on an idle machine (about 16 minutes)
# make soak        kills, full disks, thousands of runs and odd input at length (under 15 minutes)
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

.PHONY: benchmark test lint leaderboard perf soak slurm clean

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

perf: $(READY)
	$(RUN) -m pytest -q -m perf --benchmark-quiet $(ARGS)

soak: $(READY)
	$(RUN) -m pytest -q -m "soak or hypothesis" --hypothesis-profile=soak -n $(JOBS) --dist worksteal --benchmark-disable $(ARGS)

slurm: $(READY)
	$(RUN) -m pytest -q -m slurm $(ARGS)

# Made anew when what is to be installed has changed.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11; name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,dask,slurm]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis .benchmarks
