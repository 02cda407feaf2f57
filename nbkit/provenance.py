"""What produces a result: versions, the chip and its cores, the commit."""

import contextlib
import functools
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from nbkit import paths


@functools.cache
def provenance(device: str = "cpu") -> dict:
    """Return what produces results on a device, ``cpu`` or ``cuda``, in this process.

    The chip belongs to it: another one adds in another order, and a training that stands on a
    knife edge ends elsewhere. To be asked before the training, while the code is the one loaded.
    """
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn")}
    own = {"python": platform.python_version(), "chip": _chip(device), "commit": _commit()}
    return versions | own


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a scheduler may allow fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _chip(device: str) -> str:
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # Linux alone has it
        named = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        model = named[1] if named else model
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


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
