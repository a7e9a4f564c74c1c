"""What in the code can change a number: one digest per file, for Snakemake and for checkpoints.

Snakemake judges scripts by their date and does not see what they import. Here a script and every module of
this library that it imports, directly or not, are read as Python reads them. Left out is what decides no
number: comments, docstrings, layout, type annotations, log lines, messages of errors, help texts, the names
and places of imports, and the modules below. The rest is hashed.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[2]

# Modules that decide no number. Their own imports are not followed either.
DECIDES_NOTHING = {
    "dnalm/running/budget.py": "says when to stop and save, and a run that goes on ends with the same bytes",
    "dnalm/running/checkpointer.py": "saves and leaves, and a run that goes on ends with the same bytes",
    "dnalm/running/code.py": "reads code for this digest",
    "dnalm/running/commandline.py": "logs, and turns errors into one line",
    "dnalm/running/errors.py": "messages and exit codes",
    "dnalm/running/hints.py": "words of messages",
    "dnalm/running/loggers.py": "shows what the log says to people",
    "dnalm/running/memory.py": "says how many lines are held at once, which changes results by rounding only",
    "dnalm/running/progress.py": "tells the speed and the time left",
    "dnalm/running/runlock.py": "lets one process train at a time",
    "dnalm/running/versions.py": "asks for versions, which are params of the rules",
    "dnalm/sequences/names.py": "words of messages",
    "dnalm/models/flops.py": "counts what a training asks of the hardware",
    "dnalm/pretrain/telemetry.py": "measures speed and memory",
}
# A settings class tells which values are allowed; the values themselves stand among the rule's params.
SETTINGS = "settings.py"


def digests(script: Path, scripts: Path = SCRIPTS) -> dict[str, str]:
    """File (relative to `scripts`) -> first 10 digits of the SHA-256 of its code, for all that `script` uses.

    Files without any code, such as most `__init__.py`, are not listed.
    """
    used = {
        file.relative_to(scripts).as_posix(): _read(file, scripts).code
        for file in _closure(script, scripts, deciding_only=True)
    }
    return {name: _sha256(code)[:10] for name, code in sorted(used.items()) if code}


def dependencies(script: Path, scripts: Path = SCRIPTS) -> set[Path]:
    """The script and all files below `scripts` that it imports or names as a resource, recursively."""
    return _closure(script, scripts, deciding_only=False)


def sha256_of_modules(modules: Iterable[str], scripts: Path = SCRIPTS) -> str:
    """SHA-256 over the code of modules given by name, without what they import."""
    files = {name: _file_of(name, scripts) for name in modules}
    return _sha256("\n".join(f"{name}\0{_read(file, scripts).code}" for name, file in files.items()))


def _closure(script: Path, scripts: Path, *, deciding_only: bool) -> set[Path]:
    found: set[Path] = set()
    queue = [script]
    while queue:
        path = queue.pop()
        if path in found or (deciding_only and _decides_nothing(path.relative_to(scripts))):
            continue
        found.add(path)
        queue.extend(_read(path, scripts).uses)
    return found


def _decides_nothing(path: Path) -> bool:
    return path.as_posix() in DECIDES_NOTHING or path.name == SETTINGS


@dataclass(frozen=True)
class _Source:
    """What a file says (the syntax tree as text, without what decides nothing) and which files it uses."""

    code: str
    uses: tuple[Path, ...]


def _read(path: Path, scripts: Path) -> _Source:
    # The date tells the cache an older content from this one.
    return _read_once(path, scripts, path.stat().st_mtime_ns)


@cache
def _read_once(path: Path, scripts: Path, changed_ns: int) -> _Source:
    if path.suffix != ".py":
        return _Source(path.read_bytes().decode(errors="surrogateescape"), ())
    tree = _WithoutWords().visit(ast.parse(path.read_text()))
    return _Source(uses=tuple(sorted(_used_by(tree, path, scripts))), code=_code(tree))


def _used_by(tree: ast.Module, path: Path, scripts: Path) -> set[Path]:
    files: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in _imported_names(node, path, scripts):
                files.update(_files_of(name, scripts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _may_name_a_file(node.value):
            files.update(p for p in (path.parent / node.value, scripts / node.value) if p.is_file())
    return files


def _imported_names(node: ast.Import | ast.ImportFrom, path: Path, scripts: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    module = _absolute(node, path, scripts)
    yield module
    yield from (f"{module}.{alias.name}" for alias in node.names)


def _absolute(node: ast.ImportFrom, path: Path, scripts: Path) -> str:
    """The full name of the module in `from … import`, also when it is given relatively."""
    if not node.level:
        return node.module or ""
    package = path.parents[node.level - 1].relative_to(scripts).parts
    return ".".join([*package, *(node.module.split(".") if node.module else [])])


def _files_of(module: str, scripts: Path) -> Iterator[Path]:
    """The module's file and the `__init__.py` of every package around it, which Python runs first."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        package = scripts.joinpath(*parts[:depth])
        if (package / "__init__.py").is_file():
            yield package / "__init__.py"
        elif package.with_suffix(".py").is_file():
            yield package.with_suffix(".py")


def _file_of(module: str, scripts: Path) -> Path:
    *_, file = _files_of(module, scripts)
    return file


def _may_name_a_file(value: str) -> bool:
    """A template or a launched script is named in a string, e.g. "report.html.j2"."""
    return re.fullmatch(r"[\w./-]{1,100}\.\w{1,8}", value) is not None


def _code(tree: ast.Module) -> str:
    imports = _Imports()
    imports.visit(tree)
    tree = imports.resolved(tree)
    # Imported for an effect or to be imported from here.
    unused = sorted(imports.names[name] for name in imports.names.keys() - imports.used)
    return "\n".join([*unused, *map(ast.dump, tree.body)])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class _WithoutWords(ast.NodeTransformer):
    """Takes out what only people and type checkers read."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._without_docstring(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        # A dataclass asks whether a field is annotated, not how.
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self._not_empty(self.generic_visit(node))

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        callee = node.value.func if isinstance(node.value, ast.Call) else None
        while isinstance(callee, ast.Attribute | ast.Call):
            callee = callee.value if isinstance(callee, ast.Attribute) else callee.func
        if isinstance(callee, ast.Name) and callee.id in {"logger", "logging"}:
            return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr.startswith("add_"):
            node.keywords = [k for k in node.keywords if k.arg not in {"help", "metavar"}]
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return self._not_empty(super().generic_visit(node))

    def _without_docstring(self, node: Documented) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def _not_empty(self, node: Any) -> ast.AST:
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node


class _Imports(ast.NodeVisitor):
    """Which names a file imports, and what they stand for: `from a import b as c` makes c stand for a.b."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.used: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            # `import a.b` binds a.
            bound = alias.asname or alias.name.split(".")[0]
            self.names[bound] = alias.name if alias.asname else bound

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            self.names[alias.asname or alias.name] = f"{module}:{alias.name}"

    def visit_Name(self, node: ast.Name) -> None:
        self.used.add(node.id)

    def resolved(self, tree: ast.Module) -> ast.Module:
        """The tree without its imports, and with what they stand for in place of the imported names."""
        names = self.names

        class Resolver(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.AST:
                node.id = f"import {names[node.id]}" if node.id in names else node.id
                return node

            def visit_Import(self, node: ast.Import) -> None:
                return None

            def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
                return None

        return Resolver().visit(tree)
