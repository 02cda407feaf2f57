"""Speed as ratios, measured side by side in one run: ``make bench``.

Machines are shared and noisy, so every ratio is the median of several interleaved repetitions, with
its range. Nothing here is a test: a slow machine fails nobody.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench_cifar
import bench_masks
import nbformat
import numpy as np
import torch
from torch import nn

from nbkit import data, losses, models, notebooks, runs, sweep, train
from nbkit.experiments import moons

NETWORKS, EPOCHS, REPETITIONS = 255, 20, 5


def loop(inputs: torch.Tensor, targets: torch.Tensor, networks: int, orders: list) -> float:
    """Network-steps a second of the loop people write: one ``nn.Module`` after the other."""
    steps, start = 0, time.perf_counter()
    for network in range(networks):
        model = nn.Sequential(
            nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        criterion = nn.CrossEntropyLoss()
        x, y = inputs[network], targets[network]
        for order in orders:
            for batch in order[network].split(moons.BATCH_SIZE):
                loss = criterion(model(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                steps += 1
    return steps / (time.perf_counter() - start)


def stack(inputs: torch.Tensor, targets: torch.Tensor, epochs: int) -> float:
    """Network-steps a second of a stack, in the study's own training loop."""
    model = models.MLP(moons.SIZES, range(len(inputs)), bias_std=1.0)
    start = time.perf_counter()
    train.fit(
        model,
        inputs,
        targets,
        losses.create("cross_entropy"),
        epochs=epochs,
        batch_size=moons.BATCH_SIZE,
        learning_rate=5e-3,
    )
    steps = epochs * len(inputs) * inputs.shape[1] // moons.BATCH_SIZE
    return steps / (time.perf_counter() - start)


def stacked_moons() -> None:
    splits = [data.moons(seed) for seed in range(NETWORKS)]
    inputs = torch.from_numpy(np.stack([split.train_inputs for split in splits]))
    targets = torch.from_numpy(np.stack([split.train_labels for split in splits]))
    shown = 8  # networks of the loop: its rate does not depend on their number
    orders = [train.batch_order(range(shown), inputs.shape[1], epoch) for epoch in range(EPOCHS)]
    for warm_up in (lambda: stack(inputs, targets, 2), lambda: loop(inputs, targets, 1, orders)):
        warm_up()
    pairs = [
        (stack(inputs, targets, EPOCHS), loop(inputs, targets, shown, orders))
        for _ in range(REPETITIONS)
    ]
    say("moons: stack of 255 / loop over nn.Module", [a / b for a, b in pairs], "at least 25")
    rates = [statistics.median(rate) for rate in zip(*pairs, strict=True)]
    print(f"    {rates[0]:,.0f} and {rates[1]:,.0f} network-steps/s, one process")


def whole_sweep() -> None:
    """The sweep at 200 epochs (300 for the exponential and the bootstrapped rows)."""
    grid = {
        key: runs_of(run, 300 if key[0] in ("Exponential", "BootstrapHard") else 200)
        for key, run in moons.grid("laptop").items()
    }
    with tempfile.TemporaryDirectory() as folder:
        report = sweep.compute(
            grid.values(), store=runs.Store(folder), device="cpu", show=lambda line: None
        )
    print(
        f"moons: {report.computed} distinct networks of 200 to 300 epochs: {report.seconds:.0f} s"
    )
    print("    wanted: 1,785 networks in less than 60 s on 2 cores")


def runs_of(run: moons.MoonsRun, epochs: int) -> moons.MoonsRun:
    return type(run)(**{**run.parameters, "epochs": epochs})


def growth() -> None:
    """Seconds for twice the repeats over seconds for the repeats."""
    ratios = []
    for _ in range(3):
        seconds = []
        for repeats in (50, 100):
            wanted = [moons.MoonsRun(seed=seed, epochs=60) for seed in range(repeats)]
            with tempfile.TemporaryDirectory() as folder:
                store = runs.Store(folder)
                start = time.perf_counter()
                sweep.compute(
                    wanted, store=store, engine="inline", device="cpu", show=lambda line: None
                )
                seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    say("moons: seconds for 2x the repeats / seconds", ratios, "at most 2.1")


def runner() -> None:
    """Seconds of a notebook whose cells do nothing, page included."""
    from nbkit import pages

    cells = [nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.ipynb"
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = dict(notebooks.KERNEL)
        nbformat.write(notebook, path)
        for _ in range(REPETITIONS):
            start = time.perf_counter()
            notebooks.execute(path, Path(folder) / "out.ipynb")
            pages.export(Path(folder) / "out.ipynb")
            seconds.append(time.perf_counter() - start)
    say("runner: seconds a notebook beyond its cells", seconds, "at most 3")


def importing() -> None:
    code = "import time; t = time.perf_counter(); import nbkit; print(time.perf_counter() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        for _ in range(REPETITIONS)
    ]
    say("import nbkit, seconds", seconds, "under 0.2")


def photographs() -> None:
    """VGG8 on made images of CIFAR's shape."""
    for measure in (bench_cifar.training, bench_cifar.pipeline, bench_cifar.card):
        for what, ratios, wanted in measure():
            say(what, ratios, f"at least {wanted}")
    bench_cifar.memory()


def masks() -> None:
    """FCN-AlexNet of half the width on scenes written as files, and what makes and spoils them."""
    for measure in (bench_masks.training, bench_masks.pipeline):
        for what, ratios, wanted in measure():
            say(what, ratios, f"at least {wanted}")
    for measure in (bench_masks.making, bench_masks.growth):
        for what, values, wanted in measure():
            say(what, values, f"at most {wanted}")
    bench_masks.memory()


def say(what: str, values: list[float], wanted: str) -> None:
    middle = statistics.median(values)
    print(f"{what}: {middle:.2f} [{min(values):.2f} .. {max(values):.2f}], wanted: {wanted}")


def main(parts: list[Callable[[], None]]) -> None:
    chip = torch.backends.cpu.get_cpu_capability()
    print(f"{os.cpu_count()} cores, {chip}, torch {torch.__version__}, median [range]")
    for part in parts:
        part()


if __name__ == "__main__":
    main([stacked_moons, growth, runner, importing, photographs, masks, whole_sweep])
