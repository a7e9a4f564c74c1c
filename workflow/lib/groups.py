"""Short steps of several tasks in one job of a cluster, so that fifty tasks are not a thousand jobs.

A step of ten tasks becomes one job, whose parts run one after another in the place that one of them needs.
Steps that follow each other share a job only if the later one needs the same kind of node, and if its memory
does not depend on a file that the earlier one makes.
"""

from collections.abc import Callable, Iterable
from typing import Any

# Of the time that each step asks for, so many minutes are a reserve. Steps that share a job share it too.
RESERVE_MIN = 15
# A resource of which a job has one and each of its parts needs one: they take turns.
TURN = "turn"
# So many parts at most, for a submission names all of them in one word of a command line, which holds 128 KB.
MOST_PARTS = 500
# More than a group can have parts: Snakemake puts so many that do not depend on each other into one job.
ALL = 1_000_000


class SharedJobs:
    """The `group:` of rules whose wildcard `task` says which job they belong to.

    `per_job` is how many tasks share one; None: every step of every task is a job of its own. Where a task
    has many jobs in one step (`of_a_task`), fewer tasks share one.
    """

    def __init__(self, workflow: Any, tasks: Iterable[str], per_job: int | None, of_a_task: int):
        self.workflow = workflow
        per_job = min(per_job or 0, MOST_PARTS // of_a_task)
        self.number = {task: place // per_job + 1 for place, task in enumerate(tasks)} if per_job else {}

    def of(
        self, step: str, belongs: Callable[[Any], object] = lambda wildcards: True
    ) -> Callable[[Any], str | None] | None:
        """The group of a rule's jobs, of those that `belongs` says of their wildcards."""
        if not self.number:
            return None

        def group(wildcards: Any) -> str | None:
            if not belongs(wildcards):
                return None
            name = f"{step}_{self.number[wildcards.task]}"
            self._merge(name)
            return name

        return group

    def _merge(self, name: str) -> None:
        """Let parts of a group share a job also if they do not depend on each other.

        Snakemake has its settings of groups only after it has read the rules, so this cannot be said earlier.
        """
        settings = self.workflow.group_settings
        settings.group_components = {**settings.group_components, name: ALL}

    def take_turns(self, rules: Iterable[Any]) -> None:
        """Let parts of a job of these rules run one after another, with a common reserve of time."""
        if not self.number:
            return
        self.workflow.register_resource(TURN, 1)
        self.workflow.resourcescope(**{TURN: "local"})
        for rule in rules:
            rule.resources[TURN] = self._turn_of(rule)
            given = (self.workflow.resource_settings.overwrite_resources or {}).get(rule.name, {})
            if "runtime" in rule.resources and "runtime" not in given:
                rule.resources["runtime"] = _without_reserve(rule, rule.resources["runtime"])

    def _turn_of(self, rule: Any) -> Callable[[Any], int]:
        """Whatever runs inside of a job takes turns, on however many cores it finds itself."""
        inside = not self.workflow.is_main_process
        return lambda wildcards: int(inside or rule.expand_group(wildcards) is not None)


def _without_reserve(rule: Any, runtime: Any) -> Callable[..., int]:
    def minutes(wildcards: Any, input: Any, attempt: int, threads: int) -> int:
        alone = runtime.evaluate(wildcards, input=input, attempt=attempt, threads=threads).value
        shared = rule.expand_group(wildcards) is not None
        return max(alone - RESERVE_MIN, min(alone, 5)) if shared else alone

    return minutes
