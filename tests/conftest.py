"""Settings for all tests: one thread a process, and where the real data are."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets, or the test is skipped."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EO_COLEARN_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real data: set EO_COLEARN_DATA to their folder")
    return folder
