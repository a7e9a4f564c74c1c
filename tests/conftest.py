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
# What a shell, a job of a cluster or a hook of git sets for the user's own work.
for name in list(os.environ):
    if name.startswith(("GIT_", "SLURM", "SNAKEMAKE_", "SRUN_")):
        del os.environ[name]
# Some sign their commits, and check the words of each.
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
