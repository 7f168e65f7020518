"""Settings for all tests: one thread a process, and where the real data are."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Commands in tests see generated data, wherever the user has real ones; `real_data` finds those.
if "EO_COLEARN_DATA" in os.environ:
    os.environ["EO_TEST_DATA"] = os.environ.pop("EO_COLEARN_DATA")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Property tests: a few examples, the same every time, so that `make test` gives the same answer
# twice; `make soak` searches (--hypothesis-profile=soak) and prints how to get a failure again.
# No test sets a number of its own.
EVERYWHERE = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("suite", max_examples=25, derandomize=True, database=None, **EVERYWHERE)
settings.register_profile("soak", max_examples=500, print_blob=True, **EVERYWHERE)
settings.load_profile("suite")


# Of the random moments in `make soak`; one for all processes of a test session.
os.environ.setdefault("EO_SOAK_SEED", str(time.time_ns() % 1_000_000))


def pytest_terminal_summary(terminalreporter) -> None:
    """What the tests have counted, and nothing else."""
    from tests.faults import summary

    reports = [report for group in terminalreporter.stats.values() for report in group]
    ended = [report for report in reports if getattr(report, "when", None) == "teardown"]
    for line in summary(each for report in ended for each in report.user_properties):
        terminalreporter.write_line(line)


@pytest.fixture
def faults(request):
    """Counts what is tried against the project; `make soak` prints it."""
    from tests.faults import Faults

    return Faults(request.node.user_properties)


@pytest.fixture
def chance(request, faults) -> random.Random:
    """Random moments; EO_SOAK_SEED, shown with the table, repeats them."""
    seed = os.environ["EO_SOAK_SEED"]
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets, or the test is skipped."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EO_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real data: set EO_COLEARN_DATA to their folder")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which small runs are made, one for all tests of a file."""
    from tests.survival import Workplace

    return Workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture
def run(place, monkeypatch):
    """`run` in this process, without its report, on results folders below the workplace."""
    from benchmark import plugins
    from benchmark.commands import main as cli
    from methods.common.registry import REGISTRY
    from tests.survival import PLUGIN

    monkeypatch.setattr("benchmark.commands.run.report_all", lambda *_: None)
    monkeypatch.setenv("EO_TEST_LOG", str(place.log))

    def call(results: str, *more: str, methods: str = "steady", executor: str = "serial") -> int:
        place.log.unlink(missing_ok=True)
        arguments = place.arguments(results, "--executor", executor, *more, methods=methods)
        return cli.main(arguments)

    yield call
    plugins.unload([PLUGIN], REGISTRY)
