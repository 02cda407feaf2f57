"""An experiment that misbehaves on demand, and what its tests share.

Worker processes import this module by its name to unpickle a ``FakeRun``; it then makes itself an
experiment of theirs. In the process of the tests a fixture does so, and takes it back.
"""

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import ClassVar

from nbkit import experiments, runs, sweep

STACK_LIMIT = 4
FINGERPRINTS = {"fake": "fake-data-1"}


@dataclass(frozen=True, kw_only=True)
class FakeRun(runs.Run):
    """A run whose result follows from its parameters.

    Parameters
    ----------
    folder : str
        Where computing leaves traces; a file ``cured`` there makes every run behave.
    act : {"work", "raise", "return", "die", "nan", "wait"}
        What happens: nothing bad, an exception in the stack, an exception for this run alone, the
        death of the process, a metric that is not a number, half a second of delay.
    group : int
        Runs of one group share a stack.
    size : int
        Numbers in the result.
    share : float
    flag : bool
    """

    experiment: ClassVar[str] = "fake"
    version: ClassVar[int] = 1
    folder: str = ""
    act: str = "work"
    group: int = 0
    size: int = 1
    share: float = 1 / 3
    flag: bool = False

    def data_fingerprint(self) -> str:
        return FINGERPRINTS["fake"]

    def stack(self) -> tuple:
        return (self.group,)


def result(run: FakeRun) -> dict:
    """Return what a run gives when it behaves."""
    curve = [(run.seed + 1) / (i + 3) for i in range(run.size)]
    return {"metrics": {"last": {"score": curve[-1]}, "best": {"score": curve[0]}}, "curve": curve}


def compute(stack: list[FakeRun], device: str) -> list[dict | Exception]:
    results = []
    for run in stack:
        cured = Path(run.folder, "cured").exists()
        act = "work" if cured else run.act
        note(run)
        if act == "raise":
            raise RuntimeError(f"seed {run.seed} was told to raise")
        if act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if act == "wait":
            time.sleep(0.5)
        made = result(run)
        if act == "nan":
            made["metrics"]["last"]["score"] = float("nan")
        results.append(KeyError("told to fail") if act == "return" else made)
    return results


def note(run: FakeRun) -> None:
    """Leave a trace of the computation of a run."""
    if run.folder:
        with Path(run.folder, "computed").open("a") as file:
            file.write(f"{run.seed}\n")


def computed(folder: Path) -> list[int]:
    """Return the seeds computed since the last call, in any order, and forget them."""
    traces = folder / "computed"
    seeds = sorted(map(int, traces.read_text().split())) if traces.exists() else []
    traces.unlink(missing_ok=True)
    return seeds


def offer() -> None:
    """Make this module an experiment of nbkit; done by hand only in worker processes."""
    sys.modules["nbkit.experiments.fake"] = sys.modules[__name__]
    if "fake" not in experiments.EXPERIMENTS:
        experiments.EXPERIMENTS = (*experiments.EXPERIMENTS, "fake")


def warm() -> multiprocessing.context.BaseContext:
    """Return a context whose processes fork from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "nbkit.experiments.moons", "distributed"])
    forkserver.ensure_running()
    return context


def save_together(root: str, rounds: int, barrier, way: str) -> None:
    """Store the same run as another process does at the same moment, again and again."""
    offer()
    store = runs.Store(root)
    for seed in range(rounds):
        run = FakeRun(seed=seed, size=20_000)
        barrier.wait(60)
        if way == "save":
            store.save(run, {**result(run), "writer": os.getpid()})
        else:
            sweep.compute([run], store=store, engine="inline", show=lambda line: None)


if multiprocessing.parent_process() is not None:
    offer()
