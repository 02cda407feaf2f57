"""The experiments of the study: each turns runs into results.

An experiment is a module of ``runs.EXPERIMENTS`` with a ``Run`` subclass, ``grid(preset)``, which
lists the runs that the notebooks show, ``compute(runs, device)``, which trains runs that share a
``stack()``, and ``STACK_LIMIT``, how many at most. The other modules here are what they share.
"""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType

from nbkit import checks
from nbkit.runs import EXPERIMENTS, Run


def module(name: str) -> ModuleType:
    """Return the module of an experiment by its name; ValueError for an unknown one."""
    checks.choice("experiment", name, EXPERIMENTS)
    return importlib.import_module(f"nbkit.experiments.{name}")


def compute(runs: list[Run], device: str) -> list[dict | Exception]:
    """Train runs of one stack; a result or the reason of failure for each, in order."""
    return module(runs[0].experiment).compute(runs, device)


def joined(parts: Mapping[str, Callable], preset: str) -> dict[tuple, Run]:
    """Return the runs of all parts of an experiment in a preset, by (part, name, ...)."""
    return {
        (part, *name): run for part, make in parts.items() for name, run in make(preset).items()
    }
