"""Compute many runs on an engine: finished ones are never repeated, failed ones stop nobody.

Runs that can share a stack are trained together. Results come back to this process, which alone
writes the store; a result is stored the moment its stack is done.
"""

import contextlib
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from nbkit import checks, experiments, paths
from nbkit.progress import Progress, failures
from nbkit.provenance import cores, provenance
from nbkit.runs import Run, Store, check_writable

ENGINES = ("inline", "processes")
PATIENCE = 60  # seconds for the first worker of a cluster to come
DEVICES = ("auto", "cpu", "cuda")

Outcome = dict | str  # a result, or the traceback of the failure

DIED = (
    "the worker process died: most likely killed for lack of memory (use fewer workers or a "
    "smaller batch size), or the call stands in a script outside `if __name__ == '__main__':`, "
    "where every worker would repeat it"
)


class SweepError(RuntimeError):
    """Some runs failed; the others are in the store."""


@dataclass
class Report:
    """What a sweep did.

    Attributes
    ----------
    total, found, computed : int
        Runs asked for, found in the store, and trained now.
    seconds : float
    """

    total: int
    found: int
    computed: int = 0
    seconds: float = 0.0


def compute(
    runs: Iterable[Run],
    *,
    store: Store | None = None,
    engine: str = "processes",
    workers: int | None = None,
    device: str = "auto",
    show: Callable[[str], None] | None = None,
) -> Report:
    """Compute the runs that the store lacks.

    Parameters
    ----------
    runs : iterable of Run
    store : Store, optional
        ``data/results`` of the project by default.
    engine : str
        ``inline`` (this process), ``processes`` (a worker a core, one thread each), or the address
        of a Dask scheduler such as ``tcp://host:8786``. All three give the same numbers on one
        kind of chip. Last bits may depend on how many networks share a stack: of all losses on a
        GPU, and on a CPU of those with a sigmoid or a power (PU risks, GCE), which a vector's end
        rounds otherwise.
    workers : int, optional
        Worker processes of ``processes``; the cores of the machine by default, one on a GPU.
    device : str
        ``auto``, ``cpu`` or ``cuda``; on a cluster, of each worker.
    show : callable, optional
        Takes a line of progress; by default lines go to stderr.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        For what are no runs or is no store, an unknown engine or device, a number of workers below
        1, or one for another engine.
    StoreError
        If results or checkpoints cannot be written, before anything is trained; if one cannot, what
        was stored before stays.
    SweepError
        At the end, if runs failed: says why, and names the file that holds the traceback. At once,
        if the scheduler of a cluster is gone.
    """
    start = time.monotonic()
    check(engine, device, workers)
    store = Store() if store is None else store
    if not isinstance(store, Store):
        raise ValueError(f"store must be a Store, as Store('a/folder'), got {store!r}")
    given = list(runs) if isinstance(runs, Iterable) else [None]
    if not all(isinstance(run, Run) for run in given):
        raise ValueError("runs must be several Run: of a grid grid.values(), of a single run [run]")
    wanted = list(dict.fromkeys(given))
    missing = store.missing(wanted)
    report = Report(total=len(wanted), found=len(wanted) - len(missing))
    failed = {}
    if missing:
        check_writable(store.root, "NBKIT_RESULTS")
        if engine in ENGINES:  # on a cluster each worker has its own device, folders and data
            device = pick_device(device)
            check_writable(paths.runs(), "NBKIT_RUNS")
            for run, text in without_data(missing).items():
                failed[run] = store.save_error(run, text)
        missing = [run for run in missing if run not in failed]
        progress = Progress(len(missing), show or (lambda line: print(line, file=sys.stderr)))
        stacks = list(batches(missing))
        needed = Counter(name for run in missing for name in run.checkpoints())  # some by several
        for stack, outcomes in _engine(engine, stacks, device, workers, needed):
            for run, outcome in zip(stack, outcomes, strict=True):
                if isinstance(outcome, dict):
                    try:
                        store.save(run, outcome)
                        report.computed += 1
                        needed.subtract(run.checkpoints())
                        _discard(name for name in run.checkpoints() if not needed[name])
                    except ValueError:  # what cannot be stored fails its run alone
                        outcome = traceback.format_exc()
                if isinstance(outcome, str):
                    failed[run] = store.save_error(run, outcome)
            progress.advance(len(stack), len(failed))
    report.seconds = time.monotonic() - start
    if failed:
        raise SweepError(failures(report.total, failed))
    return report


def check(engine: str, device: str, workers: int | None = None) -> None:
    """Raise ValueError unless these are an engine, a device and workers of ``compute``."""
    checks.choice("device", device, DEVICES)
    if engine not in ENGINES and "://" not in str(engine):
        raise ValueError(
            f"engine must be {', '.join(ENGINES)} or the address of a Dask scheduler such as "
            f"tcp://127.0.0.1:8786; got {engine!r}"
        )
    if workers is not None and checks.count("workers", workers) and engine != "processes":
        raise ValueError(f"workers is for engine='processes', got engine={engine!r}")


def without_data(runs: list[Run]) -> dict[Run, str]:
    """Return the runs whose data are not at hand, with the traceback: tried once a data set."""
    reasons: dict[str, str] = {}
    for run in runs:
        data = run.data_fingerprint()
        if data not in reasons:
            try:
                run.check_data()
                reasons[data] = ""
            except RuntimeError:
                reasons[data] = traceback.format_exc()
    return {run: reason for run in runs if (reason := reasons[run.data_fingerprint()])}


def pick_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes the GPU if there is one.

    Raises
    ------
    ValueError
        For an unknown device, or ``cuda`` where PyTorch finds no GPU.
    """
    import torch

    checks.choice("device", device, DEVICES)
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ValueError("device is cuda, but PyTorch finds no GPU here; use auto or cpu")
    return "cuda" if found and device != "cpu" else "cpu"


def batches(runs: list[Run]) -> Iterator[list[Run]]:
    """Yield the stacks to train: runs of one kind, at most the experiment's limit at a time."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.experiment, run.stack()), []).append(run)
    for (experiment, _), group in groups.items():
        limit = experiments.module(experiment).STACK_LIMIT
        yield from (group[i : i + limit] for i in range(0, len(group), limit))


def train_stack(stack: list[Run], device: str) -> list[Outcome]:
    """Train a stack on one thread; a result or a traceback for each run.

    If the stack as a whole fails, its runs are trained one at a time, so that only the guilty fail.
    """
    from nbkit.optim import repeatable

    start, failed = time.perf_counter(), None
    try:
        data = [run.data_fingerprint() for run in stack]
        device = pick_device(device)
        made = provenance(device)
        if any(paths.checkpoint(name).exists() for run in stack for name in run.checkpoints()):
            made = made | {"resumed": True}  # its seconds are those of this process alone
        with repeatable():
            results = experiments.compute(stack, device)
    except Exception:
        failed = traceback.format_exc()
    if failed:  # here, since ``except`` would hold on to the memory of the whole stack
        return [failed] if len(stack) == 1 else [train_stack([run], device)[0] for run in stack]
    seconds = (time.perf_counter() - start) / len(stack)
    made = {"device": device, "seconds": round(seconds, 4), **made}
    return [
        "".join(traceback.format_exception(result))
        if isinstance(result, Exception)
        else {**result, "data": trained_on, "provenance": made}
        for result, trained_on in zip(results, data, strict=True)
    ]


Done = Iterator[tuple[list[Run], list[Outcome]]]


def _engine(
    engine: str, stacks: list[list[Run]], device: str, workers: int | None, needed: Counter
) -> Done:
    if engine == "inline":
        return ((stack, train_stack(stack, device)) for stack in stacks)
    if engine == "processes":
        count = workers or (1 if device == "cuda" else cores())
        return _processes(_spread(stacks, count), device, count)
    return _dask(engine, stacks, device, needed)


def _spread(stacks: list[list[Run]], workers: int) -> list[list[Run]]:
    """Halve the largest stacks until every worker has one."""
    stacks = sorted(stacks, key=len, reverse=True)
    while 0 < len(stacks) < workers and len(stacks[0]) > 1:
        largest = stacks.pop(0)
        middle = len(largest) // 2
        stacks = sorted([*stacks, largest[:middle], largest[middle:]], key=len, reverse=True)
    return stacks


def _processes(stacks: list[list[Run]], device: str, workers: int) -> Done:
    """Train on a pool; a worker that dies costs its stack one retry in a pool of its own."""
    waiting, suspects = list(reversed(stacks)), []
    while waiting:
        with pool_of(workers) as pool:
            running = {}
            try:
                while waiting or running:
                    while waiting and len(running) < workers:
                        future = pool.submit(train_stack, waiting[-1], device)
                        running[future] = waiting.pop()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        yield running[future], future.result()
                        del running[future]
            except BrokenProcessPool:
                suspects += running.values()
    while suspects:
        stack = suspects.pop()
        with pool_of(1) as pool:
            try:
                yield stack, pool.submit(train_stack, stack, device).result()
            except BrokenProcessPool:
                if len(stack) == 1:
                    yield stack, [DIED]
                else:
                    middle = len(stack) // 2
                    suspects += [stack[:middle], stack[middle:]]


@contextlib.contextmanager
def pool_of(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of fresh processes, which end with this one, however it ends."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)
    try:
        yield pool
    finally:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """Let this worker end when its parent does, even if that was killed and could not say so."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _dask(address: str, stacks: list[list[Run]], device: str, needed: Counter) -> Done:
    try:
        from dask.distributed import Client, as_completed
    except ImportError as error:
        message = f"engine {address} needs Dask: pip install 'nbkit[cluster]'"
        raise ValueError(message) from error
    try:
        client = Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise ValueError(
                f"the Dask scheduler at {address} has no worker: start one with `dask worker "
                f"{address} --nworkers -1 --nthreads 1 --memory-limit 0` and run this again"
            ) from error
        futures = {
            client.submit(train_stack, stack, device, pure=False, retries=2): stack
            for stack in stacks
        }
        for future in as_completed(futures):
            stack = futures.pop(future)
            if future.status in ("cancelled", "lost"):  # nobody else does that to a future of ours
                raise SweepError(
                    f"the Dask scheduler at {address} is gone; run the same command again to go "
                    "on: finished runs are kept"
                )
            if future.status == "finished":
                yield stack, future.result()  # what is stored is then needed no more
                done = {name for run in stack for name in run.checkpoints() if not needed[name]}
                with contextlib.suppress(OSError, RuntimeError):  # the next future tells of it
                    client.run(_discard, sorted(done), on_error="ignore")
            else:
                text = f"{future.status} on the cluster: {future.exception()!r}"
                yield stack, [text] * len(stack)
            future.release()


def _discard(checkpoints: Iterable[str]) -> None:
    """Delete what this machine has of the networks of finished runs."""
    for path in map(paths.checkpoint, checkpoints):
        with contextlib.suppress(OSError):  # it does no harm
            path.unlink(missing_ok=True)
