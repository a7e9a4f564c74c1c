"""Find what went wrong in the logs of the rules, so that it stands at the end of the terminal's output."""

from pathlib import Path


def last_words(logs: Path, since: float) -> list[str]:
    """The last `error:` line of every log below `logs` written since the time `since` (seconds, epoch)."""
    found = []
    for log in sorted(logs.rglob("*.log")):
        if log.stat().st_mtime < since:
            continue
        lines = log.read_text(errors="replace").splitlines()
        errors = [line.split(" error: ", 1)[1] for line in lines if " error: " in line]
        # A step that failed and was started again successfully ends its log with something else.
        if errors and " error: " in lines[-1]:
            found.append(f"{log}: {errors[-1]}")
    return found
