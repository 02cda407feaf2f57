"""Training on photographs against the loop people write, on made images of CIFAR's shape."""

import functools
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import VisionDataset

from nbkit import data, losses, models, paths, precision, train
from nbkit.data import cache
from nbkit.experiments import cifar
from nbkit.images import MEAN, STD, Images

BATCH, IMAGES, REPETITIONS = 128, 3840, 5
EPOCHS = 3  # in which the study's runs see that many images, so that they can be compared midway
PIPELINE, ON_CARD = 2560, 51_200
SHORT_CUTS = {"fp32": "fp32 reference", "bf16": "bf16 usual dropout"}  # with, and without
KINDS = {
    "fp32": ("fp32", False),
    "fp32 reference": ("fp32", True),
    "bf16": ("bf16", False),
    "bf16 usual dropout": ("bf16", True),
}

Line = tuple[str, list[float], str]


@functools.cache
def made(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and labels 0..10."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8), rng.integers(0, 11, size)


class Photographs(VisionDataset):
    """What ``torchvision.datasets.CIFAR10`` does with its arrays."""

    def __init__(self, size: int):
        change = [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([m / 255 for m in MEAN], [s / 255 for s in STD]),
        ]
        super().__init__("", transform=transforms.Compose(change))
        self.images, self.labels = made(size)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def vgg8() -> nn.Sequential:
    """The author's network as a list of layers."""
    layers, before = [], 3
    for width, drop in ((32, 0.2), (64, 0.3), (128, 0.4)):
        for _ in range(2):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.LeakyReLU(0.2)]
            before = width
        layers += [nn.MaxPool2d(2), nn.Dropout(drop)]
    dense = [nn.Flatten(), nn.Linear(2048, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 11)]
    return nn.Sequential(*layers, *dense)


def loop(loader: DataLoader, model: nn.Module) -> float:
    """Images a second of the loop people write, one epoch.

    In a process of its own: ``train.fit`` tunes the allocator of any that it runs in.
    """
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    running, start = 0.0, time.perf_counter()
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return len(loader.dataset) / (time.perf_counter() - start)


@functools.cache
def loader() -> DataLoader:
    """Batches of photographs from two workers that stay."""
    options = {"shuffle": True, "num_workers": 2, "persistent_workers": True}
    return DataLoader(Photographs(IMAGES), BATCH, **options)


def theirs() -> float:
    """Images a second of the loop people write."""
    return loop(loader(), vgg8())


def ours(seed: int, kind: str = "fp32", threads: int = 1) -> list[float]:
    """Train in the study's own loop; ``kind`` is one of ``KINDS``.

    Returns when it began, and when each of its epochs ended.
    """
    images, labels = made(IMAGES // EPOCHS)
    inputs, targets = Images(torch.from_numpy(images)), torch.from_numpy(labels)[None]
    precision, reference = KINDS[kind]
    model = models.VGG8(11, [seed], reference=reference)
    loss = losses.create("cross_entropy")
    torch.set_num_threads(threads)
    fit = train.fit.__wrapped__  # without its limit to one thread
    return marked(fit, model, inputs, targets, loss, batch_size=BATCH, precision=precision)


def marked(fit: Callable, *given: object, epochs: int = EPOCHS, **options: object) -> list[float]:
    """Train what is made already, as in the loop; return when it began and each epoch ended."""
    marks = [time.perf_counter()]
    options["on_epoch"] = lambda epoch: marks.append(time.perf_counter())
    fit(*given, epochs=epochs, learning_rate=1e-3, **options)
    return marks


def together(runs: Iterable[list[float]], images: int) -> float:
    """Images a second of runs while all of them train, from the marks of their epochs.

    Before and after, the runs that began earlier or end later have the machine to themselves.
    """
    runs = list(runs)
    span = max(marks[0] for marks in runs), min(marks[-1] for marks in runs)
    epochs = sum(np.ptp(np.interp(span, marks, range(len(marks)))) for marks in runs)
    return images * epochs / np.ptp(span)  # processes share the clock


def training() -> Iterator[Line]:
    """Images a second of the machine: several runs at once, one with all cores, and the loop."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    bf16 = precision.has_bf16("cpu")
    kinds = [kind for kind in KINDS if bf16 or KINDS[kind][0] == "fp32"]
    wide = {f"{kind} alone": kind for kind in kinds if kind in SHORT_CUTS}  # on every core
    rates: dict[str, list[float]] = {name: [] for name in ("loop", *wide, *kinds)}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as other, ProcessPoolExecutor(cores, spawn) as pool:
        for repetition in range(REPETITIONS + 1):  # the first warms up
            found = {"loop": other.submit(theirs).result()}
            marks = {name: [ours(0, kind, cores)] for name, kind in wide.items()}
            for kind in kinds:
                marks[kind] = list(pool.map(ours, range(cores), [kind] * cores))
            found |= {name: together(runs, IMAGES // EPOCHS) for name, runs in marks.items()}
            for name, rate in found.items() if repetition else ():
                rates[name].append(rate)
    torch.set_num_threads(threads)
    yield f"CIFAR: {cores} runs at once, fp32 / loop", ratio(rates["fp32"], rates["loop"]), "2"
    if bf16:
        yield (
            f"CIFAR: {cores} runs at once, bf16 / loop",
            ratio(rates["bf16"], rates["loop"]),
            "3.3",
        )
    else:
        print("CIFAR: bf16 / loop: not measurable, this chip only emulates bf16 (wanted: 3.3)")
    for alone, kind in wide.items():
        without = SHORT_CUTS[kind]
        yield f"CIFAR: {kind} / {without}", ratio(rates[kind], rates[without]), "1"
        what = f"CIFAR: {cores} runs at once / one run with every core, {kind}"
        yield what, ratio(rates[kind], rates[alone]), "1.1"
    for name, values in rates.items():
        print(f"    {name:19} {np.median(values):,.0f} images/s")


def ratio(first: list[float], second: list[float]) -> list[float]:
    """Repetition by repetition."""
    return [a / b for a, b in zip(first, second, strict=True)]


def pipeline() -> Iterator[Line]:
    """Augmented batches a second, one thread each, no network."""
    loader = DataLoader(Photographs(PIPELINE), batch_size=BATCH, shuffle=True)
    images = Images(torch.from_numpy(made(PIPELINE)[0]))
    ratios = against(loader, images, images.augmented)
    yield "CIFAR: input pipeline alone / DataLoader", ratios, "12"


def against(loader: DataLoader, images: Images, draw: Callable[[Tensor], object]) -> list[float]:
    """Seconds of an epoch of the loader over those of drawing its batches from the images."""
    ratios, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    for repetition in range(REPETITIONS):
        start = time.perf_counter()
        for _ in loader:
            pass
        middle = time.perf_counter()
        images.begin_epoch(0, repetition)
        for index in torch.randperm(len(images)).split(loader.batch_size):
            draw(index)
        ratios.append((middle - start) / (time.perf_counter() - middle))
    torch.set_num_threads(threads)
    return ratios


def card() -> Iterator[Line]:
    """On a GPU: the step as one graph and kernel by kernel, and several runs at a time."""
    if not torch.cuda.is_available():
        print("CIFAR: CUDA graph / single kernels: not measurable, no CUDA device")
        return
    numbers = (1, 2, 4, 8)
    rates: dict[object, list[float]] = {"kernels": [], **{runs: [] for runs in numbers}}
    with ProcessPoolExecutor(numbers[-1], multiprocessing.get_context("spawn")) as pool:
        for repetition in range(REPETITIONS + 1):  # the first warms up
            found = {"kernels": together(pool.map(on_card, [0], ["0"]), ON_CARD)}
            for n in numbers:
                found[n] = together(pool.map(on_card, range(n), ["1"] * n), ON_CARD)
            for name, rate in found.items() if repetition else ():
                rates[name].append(rate)
    yield "CIFAR: CUDA graph / single kernels", ratio(rates[1], rates["kernels"]), "1"
    best = max(numbers, key=lambda runs: np.median(rates[runs]))
    what = f"CIFAR: {best} runs at once on the card, the best of {numbers} / one"
    yield what, ratio(rates[best], rates[1]), "1"
    peak = product_rate()
    for name, values in rates.items():
        share = np.median(values) * flops_an_image() / peak
        print(f"    {name}: {np.median(values):,.0f} images/s, {share:.0%} of a product's rate")


def on_card(seed: int, graph: str, device: str = "cuda", size: int = ON_CARD) -> list[float]:
    """Train on a card; return when each epoch ended, the first of which records the step."""
    os.environ["NBKIT_CUDA_GRAPH"] = graph
    images, labels = made(size)
    _, *marks = marked(
        train.fit,
        models.VGG8(11, [seed]).to(device),
        Images(torch.from_numpy(images).to(device)),
        torch.from_numpy(labels)[None].to(device),
        losses.create("cross_entropy"),
        epochs=4,
        batch_size=BATCH,
        precision="auto",
    )
    return marks


def product_rate(device: str = "cuda", side: int = 8192) -> float:
    """Operations a second of a matrix product in bf16."""
    a = torch.randn(side, side, dtype=torch.bfloat16, device=device)  # ones would be faster
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def flops_an_image() -> float:
    """Operations of convolutions and products, forward and backward, for an image."""
    model = models.VGG8(11, [0], dropout=0.0, reference=True)  # oneDNN's products are not counted
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 3, 32, 32)).sum().backward()
    return counter.get_total_flops()


def memory() -> None:
    """Print the peak of a process that reads all of CIFAR, trains a little, and scores it all."""
    with tempfile.TemporaryDirectory() as folder:
        for name, classes in (("cifar10", 10), ("cifar100", 100)):
            (Path(folder) / name).mkdir()
            parts = {
                split: (made(size)[0], np.arange(size, dtype=np.uint8) % classes)
                for split, size in (("train", 50_000), ("test", 10_000))
            }
            cache.write(Path(folder) / name, [f"{name}_{i}" for i in range(classes)], parts)
        said = alone("import bench_cifar; bench_cifar.train_on_all()", folder)
    print(f"CIFAR: peak of a process at 100,000 images: {said} GiB, wanted: under 4")


def alone(code: str, folder: str) -> str:
    """Return what a process of its own prints, with data and runs in a folder."""
    environment = {**os.environ, "NBKIT_DATA": folder, "NBKIT_RUNS": folder}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), str(paths.ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,  # its errors are shown as they are
    )
    return done.stdout.strip()


def train_on_all() -> None:
    """Train on a few annotated images of all there are, and print this process's peak in GiB."""
    data.cifar()
    cifar.compute([cifar.CifarRun(annotation="P+N", kept=0.02, epochs=1)], "cpu")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}")
