"""What worker processes import: once, in the process that they are forks of."""

from __future__ import annotations

import os

# Idle OpenMP threads that spin would slow every worker down many times on busy cores.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import sklearn.metrics
import sklearn.model_selection  # noqa: F401

import benchmark.training.execute  # noqa: F401
