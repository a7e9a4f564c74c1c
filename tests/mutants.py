"""Small faults, one at a time, in the code that decides numbers: which of them do the tests not notice?

    python tests/mutants.py                       10 faults of each module of MODULES
    python tests/mutants.py masking --sample 0    all of those whose path holds the word

Of each module all small faults ("mutants") are listed, and a sample by seed is tried. The module's tests run
once under a tracer; of a mutant only those that reach its lines run, the quickest first, each in a fork of a
process that has imported PyTorch and the like. What survives is printed: a test is missing, or the fault
changes nothing that matters.
"""

import argparse
import ast
import gc
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
# What is mutated, and the tests of tests/unit/ that must notice.
MODULES = {
    "extract_windows.py": ("test_extract_windows.py",),
    "dnalm/tokenize_windows/context.py": ("test_context.py",),
    "dnalm/sequences/fasta.py": ("test_fasta.py", "test_records.py"),
    "dnalm/tokenizers/bpe.py": ("test_bpe.py",),
    "dnalm/tokenizers/batches.py": ("test_tokens.py", "test_embedding.py"),
    "dnalm/tokenizers/cut.py": ("test_cut.py",),
    "dnalm/tokenizers/bases.py": ("test_overlapping.py", "test_cut.py"),
    "dnalm/pretrain/masking.py": ("test_masking.py", "test_overlapping.py"),
    "dnalm/pretrain/batches.py": ("test_training.py",),
    "dnalm/models/optimization.py": ("test_training.py", "test_classifier.py"),
    "dnalm/evaluate_language_model/scoring.py": ("test_language_model.py", "test_overlapping.py"),
    "dnalm/evaluate_language_model/agreeing.py": ("test_overlapping.py",),
    "dnalm/prepare_task/checks.py": ("test_checks.py", "test_prepare_task.py"),
    "dnalm/prepare_task/composition.py": ("test_composition.py",),
    "dnalm/prepare_task/folds.py": ("test_folds.py",),
    "dnalm/prepare_task/homology.py": ("test_homology.py",),
    "dnalm/prepare_task/splits.py": ("test_prepare_task.py", "test_folds.py", "test_homology.py"),
    "dnalm/embed/embedding.py": ("test_embedding.py", "test_families.py"),
    "dnalm/baseline/predictors.py": ("test_baselines.py",),
    "dnalm/baseline/gapped.py": ("test_baselines.py",),
    "dnalm/baseline_cnn/network.py": ("test_baselines.py",),
    "dnalm/combine/predictor.py": ("test_baselines.py", "test_problems.py"),
    "dnalm/finetune/classifier.py": ("test_classifier.py", "test_families.py"),
    "dnalm/finetune/examples.py": ("test_finetuning.py", "test_classifier.py", "test_memory.py"),
    "dnalm/finetune/objectives.py": ("test_problems.py", "test_classifier.py"),
    "dnalm/finetune/training.py": ("test_finetuning.py", "test_classifier.py"),
    "dnalm/stack/regression.py": ("test_stack.py",),
    "dnalm/predict/rows.py": ("test_predict.py",),
    "dnalm/score_variants/hiding.py": ("test_score_variants.py",),
    "dnalm/score_variants/likelihood.py": ("test_score_variants.py",),
    "dnalm/sequences/variants.py": ("test_variants.py",),
    "dnalm/sequences/windows.py": ("test_predict.py", "test_embed_sequences.py"),
    "dnalm/problems/intervals.py": ("test_metrics.py", "test_problems.py"),
    "dnalm/problems/kinds.py": ("test_problems.py",),
    "dnalm/problems/metrics.py": ("test_metrics.py",),
    "dnalm/problems/multi_label.py": ("test_problems.py",),
    "dnalm/problems/regression.py": ("test_problems.py",),
    "dnalm/evaluate/calibration.py": ("test_calibration.py",),
    "dnalm/evaluate/repetitions.py": ("test_evaluate.py",),
    "compare.py": ("test_compare.py", "test_evaluate.py"),
    "dnalm/study/leaderboard.py": ("test_study.py",),
}
# Tests that start processes of their own do not see the mutant.
NOT_RUN = "not slow and not slurm"
# Of the tests that reach a mutant's lines, the quickest that together take so long (CPU seconds) are run.
ENOUGH_S = 10
# A fault may lead to an endless loop, or to waiting without end.
LIMIT_CPU_S, LIMIT_S = 60, 600

COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*"}
# Parts that need no brackets.
CLOSED = (ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.Subscript)
# Calls whose loss changes no number.
SILENT = ("logger", "self.say", "progress")


@dataclass(frozen=True)
class Mutant:
    """The text of a module from `start` to `end` (offsets in UTF-8 bytes), and what stands there instead."""

    lines: range
    start: int
    end: int
    new: str

    def applied(self, source: str) -> str:
        """The module's source with the fault in it."""
        text = source.encode()
        return (text[: self.start] + self.new.encode() + text[self.end :]).decode()

    def described(self, source: str) -> str:
        """`line 12: a < b  ->  (a <= b)`."""
        old = source.encode()[self.start : self.end].decode()
        return f"line {self.lines[0]}: {' '.join(old.split())}  ->  {self.new}"


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module's source, in its order."""
    lines = [0]
    for line in source.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def place(node: ast.AST, new: str) -> Mutant:
        start, end = (
            lines[node.lineno - 1] + node.col_offset,
            lines[node.end_lineno - 1] + node.end_col_offset,
        )
        return Mutant(range(node.lineno, node.end_lineno + 1), start, end, new)

    found = [place(node, new) for node, new in _faults(ast.parse(source), source)]
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.new))


def _faults(node: ast.AST, source: str) -> Iterator[tuple[ast.AST, str]]:
    """Nodes below `node`, each with a text to put in its place."""

    def text(part: ast.AST) -> str:
        return ast.get_source_segment(source, part) or ""

    def closed(part: ast.AST) -> str:
        return text(part) if isinstance(part, CLOSED) else f"({text(part)})"

    # Messages, types, decorators and checks of zip decide no number.
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert):
        if isinstance(node, ast.Raise):
            yield node, "pass"
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        if text(node).startswith(SILENT):
            return
        yield node, "pass"
    if isinstance(node, ast.AugAssign):
        yield node, "pass"
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        new = COMPARISONS[type(node.ops[0])]
        yield node, f"({closed(node.left)} {new} {closed(node.comparators[0])})"
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield node, f"({closed(node.left)} {OPERATORS[type(node.op)]} {closed(node.right)})"
    if isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield node, "(" + word.join(closed(value) for value in node.values) + ")"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node, f"({text(node.operand)})"
    if isinstance(node, ast.IfExp):
        yield node, f"({text(node.orelse)} if {text(node.test)} else {text(node.body)})"
    if isinstance(node, ast.Constant) and not isinstance(node.value, str | bytes | None | type(...)):
        yield node, str(not node.value) if isinstance(node.value, bool) else f"({text(node)} + 1)"
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_main_block(child):
                yield from _faults(child, source)


def _is_main_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.dump(node.test)


# ----------------------------------------------------------------------------- running tests


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from another text than its file's."""

    def __init__(self, module: str, text: str):
        self.name, self.path, self.text = module.removesuffix(".py").replace("/", "."), SCRIPTS / module, text

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(self.text, self.path, "exec"), module.__dict__)


class Tracer:
    """A plugin of pytest: which lines of a file each test reaches, and how long it takes.

    What fixtures reach, which several tests share, counts for all tests of the module.
    """

    def __init__(self, path: Path):
        self.path = str(path)
        self.tests: dict[str, dict] = {}
        self.shared: set[int] = set()

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.tests[report.nodeid]["seconds"] = time.process_time() - self.started

    def pytest_runtest_call(self, item):
        self.tests[item.nodeid] = {"lines": set()}
        self.started = time.process_time()
        sys.settrace(self.tracer(self.tests[item.nodeid]["lines"]))

    def pytest_runtest_teardown(self):
        sys.settrace(None)

    def pytest_runtest_setup(self):
        sys.settrace(self.tracer(self.shared))

    def tracer(self, lines: set[int]):
        """A trace function that adds to `lines`."""

        def trace(frame, event, _):
            if frame.f_code.co_filename != self.path:
                return None
            lines.add(frame.f_lineno)
            return trace

        return trace


def reached(module: str, text: str) -> list[tuple[str, float, set[int]]]:
    """The module's tests, the quickest first: id, CPU seconds, the lines that it reaches.

    Ends the program if one fails.
    """
    with tempfile.NamedTemporaryFile() as file:

        def run() -> int:
            tracer = Tracer(SCRIPTS / module)
            code = run_tests(module, text, [f"tests/unit/{name}" for name in MODULES[module]], [tracer])
            rows = [
                (name, t["seconds"], sorted(t["lines"] | tracer.shared)) for name, t in tracer.tests.items()
            ]
            Path(file.name).write_text(json.dumps(rows))
            return code

        if not succeeds(run):
            sys.exit(f"{module}: its tests fail without a mutant, or take too long")
        rows = json.loads(file.read())
    return sorted(((name, seconds, set(lines)) for name, seconds, lines in rows), key=lambda row: row[1])


def run_tests(module: str, text: str, tests: list[str], plugins: list | None = None) -> int:
    """Exit code of pytest when the module has this text."""
    import pytest

    sys.meta_path.insert(0, Replaced(module, text))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", NOT_RUN]
    return int(pytest.main([*options, *tests], plugins=plugins))


def succeeds(run) -> bool:
    """Whether `run`, called in a silent fork, returns 0 before its time is over."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU_S, LIMIT_CPU_S))
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            code = run()
        finally:
            os._exit(code)
    end = time.monotonic() + LIMIT_S
    try:
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status == 0
            time.sleep(0.02)
    finally:
        if not done:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return False


def quickest(mutant: Mutant, tests: list[tuple[str, float, set[int]]], at_import: set[int]) -> list[str]:
    """Those of the tests that can notice a mutant, up to :data:`ENOUGH_S`, at least one if there is any."""
    chosen, spent = [], 0.0
    for name, seconds, lines in tests:
        everywhere = not at_import.isdisjoint(mutant.lines)
        if everywhere or not lines.isdisjoint(mutant.lines):
            if chosen and spent + seconds > ENOUGH_S:
                break
            chosen.append(name)
            spent += seconds
    return chosen


def lines_at_import(source: str) -> set[int]:
    """The lines outside of functions, and the first ones of functions: defaults stand there."""
    tree = ast.parse(source)
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            body = node.body[0] if isinstance(node, ast.FunctionDef) else node
            inside |= set(range(body.lineno, node.end_lineno + 1))
    return set(range(1, len(source.splitlines()) + 1)) - inside


def main(words: list[str], sample: int, seed: int) -> int:
    """Try the mutants; return how many survived."""
    os.chdir(ROOT)
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    survived = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        # Examples that a mutant failed on are none to begin with.
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        import_once()
        for module in MODULES:
            if words and not any(word in module for word in words):
                continue
            source = (SCRIPTS / module).read_text()
            tests, at_import = reached(module, source), lines_at_import(source)
            found = mutants(source)
            chosen = found
            if 0 < sample < len(found):
                chosen = sorted(random.Random(seed).sample(found, sample), key=lambda mutant: mutant.start)
            print(f"{module}: {len(chosen)} of {len(found)} mutants, {len(tests)} tests", flush=True)
            for mutant in chosen:
                tried += 1
                able, text = quickest(mutant, tests, at_import), mutant.applied(source)
                if not able or succeeds(lambda: run_tests(module, text, able)):  # noqa: B023
                    survived += 1
                    why = "" if able else "   (no test reaches it)"
                    print(f"  survives: scripts/{module} {mutant.described(source)}{why}", flush=True)
    print(f"{survived} of {tried} mutants survived")
    return survived


def import_once() -> None:
    """What takes seconds, before all forks. Nothing is computed here: threads do not survive a fork."""
    import datasets  # noqa: F401
    import hypothesis  # noqa: F401
    import pandas  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.linear_model
    import sklearn.metrics  # noqa: F401
    import torch
    import torch._dynamo
    from transformers import (  # noqa: F401
        AutoModelForMaskedLM,
        AutoModelForSequenceClassification,
        ModernBertForMaskedLM,
        ModernBertForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    torch.set_num_threads(1)
    # pytest collects garbage: the forks need not look through all of this each time.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("words", nargs="*", help="parts of paths of modules; without, all")
    arguments.add_argument("--sample", type=int, default=10, help="so many of each module (10); 0: all")
    arguments.add_argument("--seed", type=int, default=0, help="of that draw (0)")
    options = arguments.parse_args()
    sys.exit(min(main(options.words, options.sample, options.seed), 1))
