import pytest
from dry_runs import DryRuns
from warm_python import WarmPython


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory):
    """A Python without start-up time, where it is not what is tested."""
    with WarmPython(tmp_path_factory.mktemp("warm")) as warm:
        yield warm


@pytest.fixture(scope="session")
def dry_runs():
    """Snakemake without start-up time."""
    with DryRuns() as runs:
        yield runs
