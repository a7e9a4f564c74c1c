"""What a check finds: rows of the table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A row of the table. `good`: whether it is as expected; None where nothing is."""

    check: str
    measured: str
    expected: str = ""
    good: bool | None = None


def agreement(check: str, apart: float, tolerance: float, unit: str = "") -> Finding:
    """That two ways come to the same."""
    return Finding(check, f"at most {apart:.1e} apart", f"≤ {tolerance:g}{unit}", apart <= tolerance)


def most_apart(losses: Sequence[float], others: Sequence[float]) -> float:
    """The largest difference between losses of the same steps."""
    return max(abs(a - b) for a, b in zip(losses, others, strict=True))


def falling(losses: Sequence[float]) -> str:
    return " → ".join(f"{loss:.3f}" for loss in losses)


def goes_on(check: str, found: int, wanted: int, unit: str) -> Finding:
    """That a training which ran out of memory takes less at once."""
    return Finding(check, f"goes on with {found:,} of {wanted:,} {unit} at once", "fewer", found < wanted)
