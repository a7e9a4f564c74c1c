"""Makes the scripts' library and the workflow's library importable, and finds the real data."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).parents[1]
for folder in ("scripts", "workflow/lib", "tests/support"):
    sys.path.insert(0, str(REPOSITORY / folder))

# Also where a cluster sets it: on busy cores, threads that wait for each other take six times as long.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
# How the user's own Snakemake speaks and where it runs jobs.
os.environ.pop("SNAKEMAKE_PROFILE", None)
# How the user's own git signs and checks commits; and, where a hook runs the tests, which repository it is in.
for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
    os.environ.pop(name, None)
os.environ["GIT_CONFIG_GLOBAL"] = os.devnull

# A busy machine is no fault of a test.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real genomes and tasks beside the repository; the test is skipped where it is absent."""
    data = REPOSITORY.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"real data is not here: {data}")
    return data
