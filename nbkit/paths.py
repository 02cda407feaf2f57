"""Where the study keeps its files; environment variables move them."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def results() -> Path:
    """Folder of the results store: ``NBKIT_RESULTS``, or data/results of the project."""
    return Path(os.environ.get("NBKIT_RESULTS") or ROOT / "data" / "results")


def cache() -> Path:
    """Folder of downloaded data: ``NBKIT_DATA``, or data/cache of the project."""
    return Path(os.environ.get("NBKIT_DATA") or ROOT / "data" / "cache")


def checkpoint(key: str) -> Path:
    """File from which an interrupted run goes on: in ``NBKIT_RUNS``, or runs of the project."""
    return Path(os.environ.get("NBKIT_RUNS") or ROOT / "runs") / "checkpoints" / f"{key}.pt"


def figures() -> Path:
    """Folder of exported figures and tables: ``NBKIT_FIGURES``, or figures of the project."""
    return Path(os.environ.get("NBKIT_FIGURES") or ROOT / "figures")
