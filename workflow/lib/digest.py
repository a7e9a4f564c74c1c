"""A fingerprint of a script's code, so that Snakemake reruns a step when its code changes and only then.

Snakemake judges scripts by their date and does not see what they import. Here the script and every module
of `scripts/dnalm/` that it imports, directly or not, are read; comments and blank lines do not count.
"""

import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def code_digest(script: str, scripts: Path = SCRIPTS) -> str:
    """SHA-256 (first 16 digits) of `<script>.py` and the library modules that it depends on."""
    digest = hashlib.sha256()
    for path in sorted(dependencies(scripts / f"{script}.py", scripts)):
        digest.update(f"{path.relative_to(scripts)}\0{_code_of(path)}\0".encode())
    return digest.hexdigest()[:16]


def dependencies(path: Path, scripts: Path = SCRIPTS) -> set[Path]:
    """The file itself and all files below `scripts` that it imports or loads as a resource, recursively."""
    found: set[Path] = set()
    queue = [path]
    while queue:
        path = queue.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            queue.extend(_imports(path, scripts))
    return found


@cache
def _imports(path: Path, scripts: Path) -> tuple[Path, ...]:
    names: set[str] = set()
    files: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and _names_a_resource(node.value):
            files.update(p for p in (path.parent / node.value, scripts / node.value) if p.is_file())
    for name in names:
        candidate = scripts.joinpath(*name.split("."))
        if candidate.with_suffix(".py").is_file():
            files.add(candidate.with_suffix(".py"))
    return tuple(sorted(files))


def _names_a_resource(value: object) -> bool:
    """A template or a launched script is named in a string, e.g. "report.html.j2"."""
    return isinstance(value, str) and value.endswith((".j2", ".css", ".py")) and "\n" not in value


@cache
def _code_of(path: Path) -> str:
    """The text without comments and blank lines; other kinds of file as they are."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())
