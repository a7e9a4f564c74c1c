"""Find what went wrong in the logs of the rules, so that it stands at the end of the terminal's output."""

import re
from pathlib import Path

# As written by scripts/dnalm/running/commandline.py: an error, or an early stop of a step that can continue.
LAST_WORDS = re.compile(r"^\S+ \S+ (error|stopped): (.*)$")


def error_message(logs: Path, since: float) -> list[str]:
    """The messages that ended the logs below `logs` written since the time `since` (seconds, epoch)."""
    found = []
    for log in sorted(logs.rglob("*.log")):
        lines = (
            log.read_text(encoding="utf-8", errors="replace").splitlines()
            if log.stat().st_mtime >= since
            else []
        )
        # A step that failed and was started again successfully ends its log with something else.
        if lines and (match := LAST_WORDS.match(lines[-1])):
            found.append(f"{match[1]} in {log}: {match[2]}")
    return found
