"""What a sweep says on its way, and of its failures at the end."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nbkit.runs import Run

QUIET = 600  # seconds without a line of progress, if a run ends
SHOWN = 10  # reasons of failures
RAISED = re.compile(r"^\w[\w.]*(Error|Exception|Interrupt|Exit)\b")


class Progress:
    """A line at the start, every tenth of the way and every ten minutes: finished, failed, left."""

    def __init__(self, total: int, show: Callable[[str], None]):
        self.total, self.show = total, show
        self.done, self.start = 0, time.monotonic()
        self.told = 0, self.start
        show(f"0/{total} runs")

    def advance(self, finished: int, failed: int) -> None:
        """Count runs that have ended, ``failed`` of all so far without a result."""
        self.done += finished
        tenth, now = 10 * self.done // self.total, time.monotonic()
        if tenth > self.told[0] or now - self.told[1] > QUIET:
            self.told = tenth, now
            left = (now - self.start) * (self.total / self.done - 1)
            failures = f", {failed} failed" if failed else ""
            self.show(f"{self.done}/{self.total} runs{failures}, {left:.0f} s left")


def failures(total: int, failed: Mapping[Run, Path]) -> str:
    """Return how many runs failed and why, each reason once with the first run that it stopped.

    Parameters
    ----------
    total : int
        Runs asked for.
    failed : mapping
        Run -> file that ends in its traceback.
    """
    reasons: dict[str, list[Run]] = {}
    for run, path in failed.items():
        reasons.setdefault(_reason(path), []).append(run)
    others = "; the others are stored" if len(failed) < total else ""
    lines = [f"{len(failed)} of {total} runs failed{others}"]
    for reason, runs in list(reasons.items())[:SHOWN]:
        parameters = ", ".join(f"{name}={value!r}" for name, value in runs[0].parameters.items())
        more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
        first = f"{runs[0].experiment}({parameters}){more}"
        lines.append(f"  {first}: {reason} [{failed[runs[0]]}]")
    if len(reasons) > SHOWN:
        lines.append(f"  and {len(reasons) - SHOWN} more reasons")
    return "\n".join(lines)


def _reason(path: Path) -> str:
    """The exception that ends a traceback, with all lines of its message."""
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    raised = [number for number, line in enumerate(lines) if RAISED.match(line)]
    return "\n    ".join(lines[raised[-1] :] if raised else lines[-1:])
