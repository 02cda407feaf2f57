"""Kill a sweep again and again at random moments, and resume it.

Every sweep is forked from the killer, which has imported everything, so that a kill costs little
more than the time until it happens.
"""

import contextlib
import json
import multiprocessing
import os
import random
import select
import signal
import time
from pathlib import Path

import torch

from nbkit import experiments, provenance, runs, sweep
from nbkit.experiments.moons import MoonsRun

RATES, SEEDS = 60, 4
PATIENCE = 60  # seconds until something must have happened


def grid() -> list[MoonsRun]:
    """Return many small stacks."""
    return [
        MoonsRun(epochs=2, learning_rate=1e-3 * (1 + i), seed=seed, kept=kept)
        for i in range(RATES)
        for seed in range(SEEDS // 2)
        for kept in (0.5, 1.0)
    ]


def main(root: Path, answer: Path, seed: int, kills: int) -> None:
    """Kill and resume a sweep until it is done; write what happened to the file ``answer``."""
    draw, folder, log = random.Random(seed), root / "moons", answer.with_suffix(".log")
    told = {"kills": 0, "lost": [], "changed": [], "repeated": [], "orphans": 0, "grown": []}
    warm_up()
    while told["kills"] < kills:
        before = finished(folder)
        log.unlink(missing_ok=True)
        engine = ("inline", "processes")[told["kills"] % 2]
        child, alive = start(root, log, engine)
        wanted, delay = draw.randrange(6), draw.choice((0.0, draw.uniform(0, 0.03)))
        ended = watch(child, folder, len(before) + wanted, delay)
        if ended:
            raise SystemExit(f"the sweep ended after {told['kills']} kills, status {ended}")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told["kills"] += 1
        told["orphans"] += not dies(child, alive)
        after = finished(folder)
        told["grown"].append(len(after) - len(before))
        told["lost"] += sorted(before.keys() - after.keys())
        told["changed"] += [
            key for key in before.keys() & after.keys() if before[key] != after[key]
        ]
        told["repeated"] += sorted(before.keys() & started(log))
    before = finished(folder)
    log.unlink(missing_ok=True)
    _, status = os.waitpid(start(root, log, "inline")[0], 0)
    after = finished(folder)
    told["changed"] += [key for key in before if before[key] != after.get(key)]
    told["repeated"] += sorted(before.keys() & started(log))
    told |= {"status": status, "last": len(after) - len(before), "total": len(grid())}
    answer.write_text(json.dumps(told))


def warm_up() -> None:
    """Import all that training imports late; no backward pass, which would forbid to fork."""
    torch.set_num_threads(1)
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.Adam([parameter], foreach=True).step()
    provenance.provenance()
    context = multiprocessing.get_context("fork")
    sweep.multiprocessing.get_context = lambda method: context


def start(root: Path, log: Path, engine: str) -> tuple[int, int]:
    """Fork a sweep as the leader of a process group; its number, and a pipe that it holds open."""
    alive, held = os.pipe()
    child = os.fork()
    if child:
        os.close(held)
        return child, alive
    status = 1
    try:
        os.setsid()
        inner = experiments.compute

        def compute(stack: list, device: str) -> list:
            with log.open("a") as file:
                file.write("".join(f"{run.key}\n" for run in stack))
            return inner(stack, device)

        experiments.compute = compute
        options = {"store": runs.Store(root), "engine": engine, "device": "cpu"}
        workers = 2 if engine == "processes" else None
        sweep.compute(grid(), workers=workers, show=lambda line: None, **options)
        status = 0
    finally:
        os._exit(status)


def watch(child: int, folder: Path, files: int, delay: float) -> int | None:
    """Wait until there are so many results, and a little more; the status if the child ended."""
    limit = time.monotonic() + PATIENCE
    while len(finished(folder)) < files and time.monotonic() < limit:
        time.sleep(0.001)
    time.sleep(delay)
    ended, status = os.waitpid(child, os.WNOHANG)
    return status + 1 if ended else None


def dies(child: int, alive: int) -> bool:
    """Whether what a killed sweep leaves behind ends by itself: then nobody holds its pipe."""
    ended = bool(select.select([alive], [], [], 10)[0])
    os.close(alive)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return ended


def finished(folder: Path) -> dict[str, tuple]:
    """Return what identifies each result on disk."""
    found = {path.stem: path.stat() for path in folder.glob("*.json")}
    return {key: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for key, stat in found.items()}


def started(log: Path) -> set[str]:
    return set(log.read_text().split()) if log.exists() else set()
