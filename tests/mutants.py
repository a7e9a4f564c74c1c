"""Small faults, one at a time, in the code that decides numbers: which of them do the tests not notice?

    python tests/mutants.py                       all modules of MODULES
    python tests/mutants.py masking --sample 30   those whose path holds the word, 30 faults of each

Each fault ("mutant") is tried in a fork of a process that has imported PyTorch and the like, by the tests
that concern its module. What survives is printed: a test is missing, or the fault changes nothing that matters.
"""

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
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
    "dnalm/pretrain/masking.py": ("test_masking.py",),
    "dnalm/models/optimization.py": ("test_training.py", "test_classifier.py"),
    "dnalm/evaluate/metrics.py": ("test_metrics.py",),
    "dnalm/prepare_task/checks.py": ("test_prepare_task.py",),
    "dnalm/prepare_task/homology.py": ("test_homology.py",),
    "dnalm/finetune/training.py": ("test_classifier.py",),
    "extract_windows.py": ("test_extract_windows.py",),
}
# Tests that start processes of their own do not see the mutant.
NOT_RUN = "not slow and not slurm"
SHORTEST_LIMIT_S = 60

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
SYMBOLS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}
# Calls whose loss changes no number.
SILENT = ("logger", "self.say", "progress")


@dataclass(frozen=True)
class Mutant:
    """The text of a module from `start` to `end` (offsets in UTF-8 bytes), and what stands there instead."""

    line: int
    start: int
    end: int
    new: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module's source, in its order."""
    lines = [0]
    for line in source.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def place(node: ast.AST, new: str) -> Mutant:
        start = lines[node.lineno - 1] + node.col_offset
        return Mutant(node.lineno, start, lines[node.end_lineno - 1] + node.end_col_offset, new)

    found = [place(node, new) for node, new in _faults(ast.parse(source), source)]
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.new))


def _faults(node: ast.AST, source: str) -> Iterator[tuple[ast.AST, str]]:
    """Nodes below `node`, each with a text to put in its place."""

    def text(part: ast.AST) -> str:
        return ast.get_source_segment(source, part) or ""

    # Messages, types and decorators decide no number.
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
        yield node, f"({text(node.left)} {new} {text(node.comparators[0])})"
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield node, f"({text(node.left)} {OPERATORS[type(node.op)]} {text(node.right)})"
    if isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield node, "(" + word.join(text(value) for value in node.values) + ")"
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


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from another text than its file's."""

    def __init__(self, name: str, path: Path, text: str):
        self.name, self.path, self.text = name, path, text

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(compile(self.text, self.path, "exec"), module.__dict__)


def notice(module: str, text: str, limit_s: float) -> tuple[bool, float]:
    """Whether the module's tests fail with this text of it, and after how many seconds."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os._exit(_run_tests(module, text))
    while time.monotonic() - start < limit_s:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0, time.monotonic() - start
        time.sleep(0.02)
    # It may never end: that is noticed too.
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True, time.monotonic() - start


def _run_tests(module: str, text: str) -> int:
    import pytest

    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    name = module.removesuffix(".py").replace("/", ".")
    sys.meta_path.insert(0, Replaced(name, SCRIPTS / module, text))
    tests = [str(ROOT / "tests/unit" / test) for test in MODULES[module]]
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", NOT_RUN, *tests]))


def describe(source: str, mutant: Mutant) -> str:
    """`line 12: a < b -> (a <= b)`."""
    old = source.encode()[mutant.start : mutant.end].decode()
    return f"line {mutant.line}: {' '.join(old.split())}  ->  {mutant.new}"


def main(words: list[str], sample: int | None, seed: int) -> int:
    """Try all mutants; return how many survived."""
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    # Examples that a mutant fails on are none to begin with.
    folder = tempfile.TemporaryDirectory()
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder.name
    _import_once()
    survived = 0
    for module in MODULES:
        if words and not any(word in module for word in words):
            continue
        source = (SCRIPTS / module).read_text()
        failed, usual_s = notice(module, source, 600)
        if failed:
            sys.exit(f"{module}: its tests fail without a mutant")
        chosen = mutants(source)
        if sample is not None and sample < len(chosen):
            chosen = sorted(random.Random(seed).sample(chosen, sample), key=lambda mutant: mutant.start)
        print(f"{module}: {len(chosen)} mutants, {usual_s:.0f} s without one", flush=True)
        for mutant in chosen:
            text = source.encode()
            text = (text[: mutant.start] + mutant.new.encode() + text[mutant.end :]).decode()
            noticed, _ = notice(module, text, max(SHORTEST_LIMIT_S, 10 * usual_s))
            if not noticed:
                survived += 1
                print(f"  survives: scripts/{module} {describe(source, mutant)}", flush=True)
    folder.cleanup()
    return survived


def _import_once() -> None:
    """What takes seconds, before all forks. Nothing is computed here: threads do not survive a fork."""
    import datasets  # noqa: F401
    import hypothesis  # noqa: F401
    import pandas  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.linear_model
    import sklearn.metrics  # noqa: F401
    import torch
    from transformers import (  # noqa: F401
        AutoModelForMaskedLM,
        AutoModelForSequenceClassification,
        ModernBertForMaskedLM,
        ModernBertForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    torch.set_num_threads(1)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("words", nargs="*", help="parts of paths of modules; without, all")
    arguments.add_argument("--sample", type=int, help="so many mutants of each module, drawn at random")
    arguments.add_argument("--seed", type=int, default=0, help="of that draw (0)")
    options = arguments.parse_args()
    sys.exit(min(main(options.words, options.sample, options.seed), 1))
