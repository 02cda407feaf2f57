"""What produced a result: the versions of the packages, the machine's Python, the commit."""

import functools
import platform
import subprocess
from importlib import metadata

from nbkit import paths


@functools.cache
def provenance() -> dict:
    """Return what produced a result: versions, machine and git commit."""
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn")}
    return {**versions, "python": platform.python_version(), "commit": _commit()}


def _commit() -> str:
    """Return the last commit that changed nbkit, marked ``+`` if files differ from it."""
    try:
        last, changed = (
            subprocess.run(
                ["git", *words, "--", "nbkit"],
                cwd=paths.ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for words in (("log", "-1", "--format=%h"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return last + ("+" if changed else "")
