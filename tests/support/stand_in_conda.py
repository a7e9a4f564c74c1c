"""A stand-in for conda: answers Snakemake, and "makes" environments whose `python` is this one."""

import sys
from pathlib import Path
from shlex import quote

CONDA = """\
#!/bin/sh
case "$*" in
  "info --json") echo '{{"conda_prefix": "{base}", "platform": "linux-64", "conda_version": "25.1.0"}}';;
  "--version") echo "conda 25.1.0";;
  "config --get"*) echo '{{"get": {{"channel_priority": "strict"}}}}';;
  *create*)
    while [ "$1" != --prefix ]; do shift; done
    echo "$2" >> "${{0%/*}}/../made"
    mkdir -p "$2/bin" "$2/conda-meta"
    cp "${{0%/*}}/python-of-an-environment" "$2/bin/python";;
esac
"""
PYTHON = """\
#!/bin/sh
echo "$0" >> {used}
exec {python} "$@"
"""
ACTIVATE = 'export CONDA_PREFIX="$1"; export PATH="$1/bin:$PATH"\n'


def stand_in_for_conda(base: Path) -> Path:
    """Make `base/bin/conda`; it notes in `base/made` and `base/used` which environments it made and used."""
    (base / "bin").mkdir(parents=True)
    python = PYTHON.format(used=quote(str(base / "used")), python=quote(sys.executable))
    for name, text in {"conda": CONDA.format(base=base), "python-of-an-environment": python}.items():
        (base / "bin" / name).write_text(text)
        (base / "bin" / name).chmod(0o755)
    (base / "bin" / "activate").write_text(ACTIVATE)
    return base
