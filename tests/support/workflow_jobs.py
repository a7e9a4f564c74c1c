"""The jobs of the workflow, looked at without running them, and the Slurm profile as a site would edit it."""

import os
import re
from pathlib import Path

import yaml
from snakemake.api import SnakemakeApi
from snakemake.resources import Resources
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    DeploymentMethod,
    DeploymentSettings,
    ExecutionSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
    SchedulingSettings,
    StorageSettings,
    WorkflowSettings,
)
from snakemake_interface_executor_plugins.settings import ExecMode

REPOSITORY = Path(__file__).parents[2]


def workflow_jobs(
    configfile: Path,
    *,
    default_resources: list[str] | None = None,
    set_resources: dict[str, list[str]] | None = None,
    config: dict | None = None,
    deployment_methods: list[str] | None = None,
    exec_mode: ExecMode = ExecMode.DEFAULT,
) -> list:
    """All jobs that a first run of `configfile` has, with resources as the Slurm executor would see them.

    `exec_mode`: as the command that a person types, or as the one in a job that it submitted.
    `default_resources` and `set_resources` are what a profile says, in the form of the command line.
    """
    previous = Path.cwd()
    os.chdir(REPOSITORY)
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(
                    cores=64,
                    nodes=100,
                    default_resources=Resources.parse(
                        default_resources or [], allow_expressions=True, defaults="full"
                    ),
                    overwrite_resources={
                        rule: Resources.parse(entries, allow_expressions=True)
                        for rule, entries in (set_resources or {}).items()
                    },
                ),
                config_settings=ConfigSettings(configfiles=[configfile], config=config or {}),
                storage_settings=StorageSettings(),
                deployment_settings=DeploymentSettings(
                    deployment_method=DeploymentMethod.parse_choices_set(deployment_methods or [])
                ),
                workflow_settings=WorkflowSettings(exec_mode=exec_mode),
                snakefile=REPOSITORY / "workflow" / "Snakefile",
                workdir=REPOSITORY,
            )
            dag = workflow.dag(DAGSettings(forceall=True))
            dag.execute_workflow(
                executor="dryrun",
                execution_settings=ExecutionSettings(lock=False),
                scheduling_settings=SchedulingSettings(),
            )
            return list(workflow._workflow.dag.jobs)
    finally:
        os.chdir(previous)


def edited_profile(text: str) -> dict:
    """The Slurm profile after a site has taken the leading `# ` off every line under "Your cluster"."""
    head, cluster, rest = re.split(r"(?m)^# ---- .*$", text)
    # Prose begins right behind "# ", settings are `key:` alone on a line or are indented.
    cluster = re.sub(r"(?m)^# (?=[a-z-]+:$|  )", "", cluster)
    return yaml.safe_load(head + cluster + rest)
