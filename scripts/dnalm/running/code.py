"""What in the code can change a number: one digest per file, for Snakemake and for checkpoints.

Snakemake judges scripts by their date and does not see what they import. Here a script and every module of
this library that it imports, directly or not, are read as Python reads them. Left out is what decides no
number: comments, docstrings, layout, type annotations, log lines, messages of errors, help texts, the names
and places of imports, and the modules below. The rest is hashed.
"""

import ast
import hashlib
import json
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dnalm.running.files import atomic_file

SCRIPTS = Path(__file__).parents[2]

# Modules that decide no number. Their own imports are not followed either.
DECIDES_NOTHING = {
    "dnalm/running/budget.py": "says when to stop and save, and a run that goes on ends with the same bytes",
    "dnalm/running/checkpointer.py": "saves and leaves, and a run that goes on ends with the same bytes",
    "dnalm/running/claims.py": "says which of a machine's GPUs to use",
    "dnalm/running/code.py": "reads code for this digest",
    "dnalm/running/commandline.py": "logs, and turns errors into one line",
    "dnalm/running/errors.py": "messages and exit codes",
    "dnalm/running/hints.py": "words of messages",
    "dnalm/running/loggers.py": "shows what the log says to people",
    "dnalm/running/memory.py": "says how many lines are held at once, which changes results by rounding only",
    "dnalm/running/network.py": "says by which network nodes meet",
    "dnalm/running/progress.py": "tells the speed and the time left",
    "dnalm/running/runlock.py": "lets one process train at a time",
    "dnalm/running/slurm.py": "asks Slurm about the job",
    "dnalm/running/versions.py": "asks for versions, which are params of the rules",
    "dnalm/sequences/names.py": "words of messages",
    "dnalm/models/flops.py": "counts what a training asks of the hardware",
    "dnalm/pretrain/telemetry.py": "measures speed and memory",
}
# A settings class tells which values are allowed; the values themselves stand among the rule's params.
SETTINGS = "settings.py"


def digests(script: Path, scripts: Path = SCRIPTS, cache_file: Path | None = None) -> dict[str, str]:
    """File (relative to `scripts`) -> first 10 digits of the SHA-256 of its code, for all that `script` uses.

    Files without any code, such as most `__init__.py`, are not listed. What :func:`keep` wrote to
    `cache_file` is not parsed again.
    """
    sources = _sources(scripts, cache_file)
    used = sources.closure(script, deciding_only=True)
    codes = {file.relative_to(scripts).as_posix(): sources.of(file)[0].sha256 for file in used}
    return {name: sha256[:10] for name, sha256 in sorted(codes.items()) if sha256}


def keep(scripts: Path, cache_file: Path) -> None:
    """Write what :func:`digests` parsed to its `cache_file`, if any of it is new.

    To parse all files takes seconds, and Snakemake asks at each start and in each job on a cluster. A folder
    that can't be written to costs that time and no more.
    """
    sources = _sources(scripts, cache_file)
    if sources.changed:
        with suppress(OSError):
            _write(cache_file, sources.parsed)
            sources.changed = False


def dependencies(script: Path, scripts: Path = SCRIPTS) -> set[Path]:
    """The script and all files below `scripts` that it imports or names as a resource, recursively."""
    return _sources(scripts, None).closure(script, deciding_only=False)


def sha256_of_modules(modules: Iterable[str], scripts: Path = SCRIPTS) -> str:
    """SHA-256 over the code of modules given by name, without what they import."""
    files = {name: _file_of(name, scripts) for name in modules}
    return _sha256(
        "\n".join(f"{name}\0{_code(_tree(file.read_text(encoding='utf-8')))}" for name, file in files.items())
    )


@dataclass(frozen=True)
class _Source:
    """What a file says: the SHA-256 of its code, "" where it has none, and what it may use, by name."""

    sha256: str
    modules: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class _Sources:
    """The files below `scripts`, each parsed once, and once again after it changed."""

    def __init__(self, scripts: Path, cache_file: Path | None) -> None:
        self.scripts = scripts
        # File -> SHA-256 of its bytes, and what they say
        self.parsed: dict[str, tuple[str, _Source]] = _load(cache_file) if cache_file else {}
        self.read: dict[tuple[Path, int], tuple[_Source, set[Path]]] = {}
        self.changed = False

    def closure(self, script: Path, *, deciding_only: bool) -> set[Path]:
        """The script and what it uses, recursively; with `deciding_only` without what decides no number."""
        found: set[Path] = set()
        queue = [script]
        while queue:
            path = queue.pop()
            if path in found or (deciding_only and _decides_nothing(path.relative_to(self.scripts))):
                continue
            found.add(path)
            queue.extend(self.of(path)[1])
        return found

    def of(self, path: Path) -> tuple[_Source, set[Path]]:
        """What a file says now, and the files that it uses."""
        # The date tells an older content from this one.
        version = path, path.stat().st_mtime_ns
        if version not in self.read:
            source = self._parsed(path)
            self.read[version] = source, _used_by(source, path, self.scripts)
        return self.read[version]

    def _parsed(self, path: Path) -> _Source:
        content = path.read_bytes()
        name, sha256 = path.relative_to(self.scripts).as_posix(), hashlib.sha256(content).hexdigest()
        if name in self.parsed and self.parsed[name][0] == sha256:
            return self.parsed[name][1]
        source = _parse(content, path, self.scripts)
        self.parsed[name] = sha256, source
        self.changed = True
        return source


@cache
def _sources(scripts: Path, cache_file: Path | None) -> _Sources:
    return _Sources(scripts, cache_file)


def _reader() -> str:
    """Who wrote a cache: syntax trees differ between versions of Python and of this module."""
    return f"{platform.python_version()} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"


def _load(cache_file: Path) -> dict[str, tuple[str, _Source]]:
    """What a cache holds; nothing where it is absent, damaged or of another reader."""
    try:
        kept = json.loads(cache_file.read_bytes())
        if kept["reader"] != _reader():
            return {}
        return {
            name: (sha256, _Source(code, tuple(modules), tuple(names)))
            for name, (sha256, code, modules, names) in kept["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write(cache_file: Path, parsed: dict[str, tuple[str, _Source]]) -> None:
    files = {name: (sha256, *astuple(source)) for name, (sha256, source) in parsed.items()}
    with atomic_file(cache_file) as temporary:
        temporary.write_text(json.dumps({"reader": _reader(), "files": files}))


def _decides_nothing(path: Path) -> bool:
    return path.as_posix() in DECIDES_NOTHING or path.name == SETTINGS


def _parse(content: bytes, path: Path, scripts: Path) -> _Source:
    if path.suffix != ".py":
        return _Source(hashlib.sha256(content).hexdigest() if content else "")
    tree = _tree(content.decode())
    modules: set[str] = set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules.update(_imported_names(node, path, scripts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _may_name_a_file(node.value):
            names.add(node.value)
    code = _code(tree)
    return _Source(_sha256(code) if code else "", tuple(sorted(modules)), tuple(sorted(names)))


def _used_by(source: _Source, path: Path, scripts: Path) -> set[Path]:
    files = {file for module in source.modules for file in _files_of(module, scripts)}
    named = (folder / name for name in source.names for folder in (path.parent, scripts))
    return files | {file for file in named if file.is_file()}


def _tree(text: str) -> ast.Module:
    return _WithoutWords().visit(ast.parse(text))


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


@cache
def _files_of(module: str, scripts: Path) -> list[Path]:
    """The module's file and the `__init__.py` of every package around it, which Python runs first."""
    around, _, _ = module.rpartition(".")
    # Asked for once: a file system of a network may take milliseconds for each question.
    files = _files_of(around, scripts) if around else []
    package = scripts.joinpath(*module.split("."))
    for file in (package / "__init__.py", package.with_suffix(".py")):
        if file.is_file():
            return [*files, file]
    return files


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
        # `arguments.add_argument(…)`, which some scripts call `add`.
        name: str = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name == "add" or name.startswith("add_"):
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
