"""Segmentation against the loop people write, on scenes written as files; made data and noise."""

import functools
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from bench_cifar import EPOCHS, Line, against, alone, loop, marked, ratio, together
from fake_voc import save_list, save_mask
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as change

from nbkit import annotations, data, fcn, losses, train
from nbkit.data import layout
from nbkit.data.voc import PASCAL_CLASSES
from nbkit.experiments import transfer
from nbkit.images import MEAN, STD, Images, shared

IMAGES, SIDE, BATCH, REPETITIONS = 96, 128, 8, 5
SHIFT = SIDE // 10


class Files(Dataset):
    """A folder of photos and masks, opened, shifted and mirrored together one by one."""

    def __init__(self, folder: Path, names: list[str]):
        self.folder, self.names = folder, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.open(self.folder / f"{self.names[index]}.jpg").convert("RGB")
        mask = Image.open(self.folder / f"{self.names[index]}.png")
        down, right, mirrored = (int(torch.randint(0, 2 * SHIFT, ())) for _ in range(3))
        image = change.crop(change.pad(image, SHIFT, padding_mode="edge"), down, right, SIDE, SIDE)
        mask = change.crop(change.pad(mask, SHIFT, fill=255), down, right, SIDE, SIDE)
        if mirrored % 2:
            image, mask = change.hflip(image), change.hflip(mask)
        tensor = change.normalize(
            change.to_tensor(image), [m / 255 for m in MEAN], [s / 255 for s in STD]
        )
        return tensor, torch.from_numpy(np.array(mask)).long()


class Plain(nn.Module):
    """The network of ``fcn.TRUNKS["half"]`` as a list of layers."""

    def __init__(self, classes: int):
        super().__init__()
        trunk, dense = fcn.TRUNKS["half"], fcn.TRUNKS["half"].dense
        a, b, c, d, e = trunk.widths
        self.layers = nn.Sequential(
            nn.Conv2d(3, a, 11, 4, 4),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(a, b, 5, 1, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(b, c, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(c, d, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(d, e, 3, 1, 1),
            nn.ReLU(),
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(e, dense, 3, 1, 2, dilation=2),
            nn.ReLU(),
            nn.Dropout(),
            nn.Conv2d(dense, dense, 1),
            nn.ReLU(),
            nn.Dropout(),
            nn.Conv2d(dense, classes, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.layers(x), x.shape[2:], mode="bilinear", align_corners=False)


def written(folder: Path) -> Files:
    """Write scenes as JPEG and PNG."""
    scenes = data.scenes(IMAGES, size=SIDE)
    for name, image, mask in zip(scenes.names, scenes.images, scenes.masks(), strict=True):
        Image.fromarray(image).save(folder / f"{name}.jpg", quality=95)
        Image.fromarray(mask).save(folder / f"{name}.png")
    return Files(folder, list(scenes.names))


@functools.cache
def loader(folder: Path) -> DataLoader:
    """Batches of the scenes in a folder, from two workers that stay."""
    options = {"shuffle": True, "num_workers": 2, "persistent_workers": True}
    return DataLoader(written(folder), BATCH, **options)


def theirs(folder: Path) -> float:
    """Images a second of the loop people write."""
    return loop(loader(folder), Plain(21))


def ours(seed: int) -> list[float]:
    """Train in the study's own loop; return when it began and when each of its epochs ended."""
    scenes = data.scenes(IMAGES // EPOCHS, size=SIDE)
    inputs = Images(shared(scenes.images))
    targets = torch.from_numpy(scenes.masks())[None]
    model, loss = fcn.FCN(21, [seed], trunk="half"), losses.create("cross_entropy")
    return marked(train.fit, model, inputs, targets, loss, batch_size=BATCH)


def training() -> Iterator[Line]:
    """Images a second of the machine: several runs at once, and the loop with every core."""
    cores, spawn = os.cpu_count() or 1, multiprocessing.get_context("spawn")
    rates: dict[str, list[float]] = {"ours": [], "loop": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, spawn) as other,
        ProcessPoolExecutor(cores, spawn) as pool,
    ):
        for repetition in range(REPETITIONS + 1):  # the first warms up
            found = {"loop": other.submit(theirs, Path(folder)).result()}
            found["ours"] = together(pool.map(ours, range(cores)), IMAGES // EPOCHS)
            for name, rate in found.items() if repetition else ():
                rates[name].append(rate)
    yield f"masks: {cores} runs at once, fp32 / loop", ratio(rates["ours"], rates["loop"]), "1.8"
    for name, values in rates.items():
        print(f"    {name:5} {np.median(values):,.1f} images/s of {SIDE} x {SIDE}")


def pipeline() -> Iterator[Line]:
    """Augmented images and masks a second, one thread each, no network."""
    scenes = data.scenes(IMAGES, size=SIDE)
    images, masks = Images(shared(scenes.images)), torch.from_numpy(scenes.masks())
    with tempfile.TemporaryDirectory() as folder:
        loader = DataLoader(written(Path(folder)), batch_size=BATCH, shuffle=True)

        def draw(index: torch.Tensor) -> None:
            images.augmented(index)
            images.moved(index, masks)

        yield "masks: input pipeline alone / DataLoader", against(loader, images, draw), "5"


def making() -> Iterator[Line]:
    """Seconds for 2,000 scenes, and for noise painted onto their masks."""
    made, painted = [], []
    for seed in range(3):
        start = time.perf_counter()
        scenes = data.scenes(2000, seed=seed + 1)
        middle = time.perf_counter()
        scenes.masks(annotations.annotate(scenes, "missing", rate=0.5).labels)
        made.append(middle - start)
        painted.append(time.perf_counter() - middle)
    yield "masks: seconds for 2,000 scenes", made, "10"
    yield "masks: seconds for noise on 2,000 masks", painted, "2"


def growth() -> Iterator[Line]:
    """Seconds of an epoch for twice the images, and for twice the pixels, over those for one."""

    def seconds(images: int, side: int) -> float:
        rng = np.random.default_rng(0)
        pixels = torch.from_numpy(rng.integers(0, 256, (images, side, side, 3), dtype=np.uint8))
        masks = torch.from_numpy(rng.integers(0, 6, (1, images, side, side), dtype=np.uint8))
        model, loss = fcn.FCN(6, [0], trunk="half"), losses.create("cross_entropy")
        start = time.perf_counter()
        train.fit(model, Images(pixels), masks, loss, epochs=1, batch_size=4, learning_rate=1e-3)
        return time.perf_counter() - start

    seconds(8, 128)
    found = [(seconds(16, 128), seconds(32, 128), seconds(4, 256), seconds(4, 512)) for _ in "123"]
    yield "masks: seconds for 2x the images / seconds", [b / a for a, b, *_ in found], "2.2"
    yield "masks: seconds for 4x the pixels / seconds", [d / c for *_, c, d in found], "4.6"


def memory() -> None:
    """Print the peak of a process that reads as much as PASCAL VOC 2012 at full size and trains."""
    with tempfile.TemporaryDirectory() as folder:
        root = pascal(Path(folder) / "made")
        said = alone(f"import bench_masks; bench_masks.train_on_all({str(root)!r})", folder)
    print(f"masks: 2,913 photos of 512 x 512, full width: {said}")


def pascal(root: Path) -> Path:
    """Write a folder with the counts of PASCAL VOC 2012: few photos under many names."""
    rng = np.random.default_rng(0)
    for part in ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in PASCAL_CLASSES))
    kinds = len(PASCAL_CLASSES)
    for kind in range(1, kinds + 1):
        image = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        image.resize((500, 375)).save(root / "JPEGImages" / f"kind_{kind}.jpg")
        mask = np.zeros((375, 500), dtype=np.uint8)
        mask[100:300, 100:400] = 1
        for part, ids in (("SegmentationClass", mask * kind), ("SegmentationObject", mask)):
            save_mask(root, part, f"kind_{kind}", ids)
    for split, size in (("train", 1464), ("val", 1449)):
        # each class of the first fold is in two photos only: what is scored is not what is measured
        held = [(f"{split}_{i}", i % 5 + 1) for i in range(10)]
        rest = [(f"{split}_{i}", 6 + i % (kinds - 5)) for i in range(10, size)]
        for name, kind in held + rest:
            for part, suffix in layout.PARTS.items():
                source = root / part / f"kind_{kind}.{suffix}"
                os.link(source, source.with_name(f"{name}.{suffix}"))
        save_list(root, split, [name for name, _ in held + rest])
    return root


def train_on_all(root: str) -> None:
    """Pre-train and fine-tune on a few of a folder's photos; print this process's peak in GiB."""
    run = transfer.TransferRun(
        dataset=root,
        size=512,
        network="alexnet",
        source_images=64,
        source_epochs=1,
        epochs=1,
        batch_size=8,
    )
    start = time.perf_counter()
    data.folder(root, size=run.size)
    read = time.perf_counter() - start
    (result,) = transfer.compute([run], "cpu")
    if isinstance(result, Exception):
        raise result
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak {peak:.2f} GiB, read in {read:.0f} s")
