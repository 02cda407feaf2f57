"""CIFAR-10 and CIFAR-100: real photographs, 32 x 32, as multi-positive and as binary PU data.

Krizhevsky 2009, "Learning multiple layers of features from tiny images". The arrays lie in
``paths.cache()`` and are made from the official archives if they are missing. Examples are put in
an order of their own, by the hash of the image, so that a data set is the same on every machine,
whatever order the arrays came in.
"""

import functools
import hashlib
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from nbkit import checks, paths
from nbkit.data import cache
from nbkit.data.archives import SOURCES, make
from nbkit.data.fetch import DataError
from nbkit.data.split import Split

PARTS = {"cifar": ("cifar10", "cifar100"), "vehicles": ("cifar10",)}
# the fingerprints of the whole data sets: published results are found by them without the images
OFFICIAL = {"cifar": "cifar-dd12b088ec2a", "vehicles": "cifar-c4a381836e50"}
# hashes of the names in classes.txt, by that of the published CIFAR-10 and CIFAR-100
NAMES = {"cifar-c4a381836e50": "66c673d65301", "cifar-09834a043194": "77827c4c023a"}
VEHICLES = (0, 1, 8, 9)  # airplane, automobile, ship, truck
# the CIFAR-100 superclasses whose members look like a CIFAR-10 class, or belong to it
NEAR_POSITIVE = {
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
}


def cifar(images: int = 0) -> Split:
    """The draft's "CIFAR110": CIFAR-10 is the positive classes 1..10, all of CIFAR-100 class 0.

    Parameters
    ----------
    images : int
        Training images in all, half from either data set and balanced over its classes; a multiple
        of 200, or 0 for all 100,000. The 20,000 test images are always there.

    Returns
    -------
    Split
        uint8 images, those wanted copied from the mapped arrays of the cache; ``categories`` names
        the 10 + 100 original classes.

    Raises
    ------
    ValueError
        For a number of images that is not a multiple of 200.
    DataError
        If a data set is missing and cannot be downloaded, is broken, or has fewer images.
    """
    return _union(paths.cache(), check_images(images), _stamps("cifar"))


def check_images(images: int) -> int:
    """Return how many training images ``cifar`` is to have; ValueError if it can't have as many."""
    if checks.count("images", images, least=0) % 200:
        raise ValueError(f"images must be a multiple of 200 (10 and 100 classes), got {images}")
    return images


def vehicles() -> Split:
    """CIFAR-10 as binary data: its four vehicles are class 1, its six animals class 0 (prior .4).

    The protocol of Kiryo et al. 2017 and of most PU papers since.

    Raises
    ------
    DataError
        As for ``cifar``.
    """
    return _binary(paths.cache(), _stamps("vehicles"))


def near_positive(split: Split) -> np.ndarray:
    """Return which test examples of ``cifar()`` belong to ``NEAR_POSITIVE``, (N,) bool."""
    names = [name for group in NEAR_POSITIVE.values() for name in group]
    return np.isin(np.array(split.categories)[split.test_categories], names)


def present(dataset: str) -> bool:
    """Return whether the images lie in the cache, so that nothing would be downloaded.

    Parameters
    ----------
    dataset : {"cifar", "vehicles"}
    """
    names = PARTS[checks.choice("dataset", dataset, PARTS)]
    return all(paths.there(paths.cache() / name) for name in names)


def fingerprint(dataset: str) -> str:
    """Return what identifies the images: of the cache if there is one, else of the official data.

    Results on the official data are thus found without having it.

    Parameters
    ----------
    dataset : {"cifar", "vehicles"}
    """
    if not present(dataset):
        return OFFICIAL[dataset]
    return _recorded(paths.cache(), PARTS[dataset], _stamps(dataset))


def require(dataset: str) -> None:
    """Verify the images of ``"cifar"`` or ``"vehicles"``, downloading them if they are missing.

    Warns if they are not the published ones.

    Raises
    ------
    DataError
        As for ``cifar``.
    """
    names = PARTS[checks.choice("dataset", dataset, PARTS)]
    for line in _foreign({name: load(name) for name in names}, [dataset]):
        warnings.warn(line, stacklevel=2)


def load(name: str, *, show: Callable[[str], None] | None = None) -> cache.Cached:
    """Return a data set, verified, downloading it if it is missing.

    Parameters
    ----------
    name : {"cifar10", "cifar100"}
    show : callable, optional
        Takes a line of progress.

    Raises
    ------
    DataError
        If it cannot be had, or the cache is broken.
    """
    source = SOURCES[checks.choice("name", name, SOURCES)]
    folder = paths.cache() / name
    if not paths.there(folder):
        make(folder, source, show)
    return _read(name)


def fetch_all(
    names: Iterable[str] = tuple(SOURCES), *, show: Callable[[str], None] | None = None
) -> list[str]:
    """Download, unpack and verify data sets; return lines on them. Raises DataError."""
    return _lines({name: load(name, show=show) for name in names})


def verify(*names: str) -> tuple[list[str], list[str]]:
    """Check data sets, by default those in the cache; see ``voc.verify`` for what is returned."""
    found, flaws = {}, []
    here = [name for name in SOURCES if paths.there(paths.cache() / name)]
    for name in names or here:
        try:
            if name not in here:
                raise DataError(f"{paths.cache() / name} is missing: `nbkit data fetch {name}`")
            found[name] = _read(name)
        except DataError as error:
            flaws.append(str(error))
    lines = _lines(found)
    if len(found) == len(SOURCES):
        train, test = (
            np.concatenate([getattr(part, split).digests for part in found.values()])
            for split in cache.SPLITS
        )
        again = np.isin(test, train).sum()
        lines.append(f"{again} test images are exact duplicates of a training image")
    return lines, flaws


def where() -> list[str]:
    """Return a line on each data set: where it lies, or where it or its archive is to be put."""
    lines = []
    for name, source in SOURCES.items():
        folder = paths.cache() / name
        archive = f"{folder.parent / source.archive.file} (SHA-256 {source.archive.sha256})"
        way = f"`nbkit data fetch {name}` makes it from {archive}, downloaded or put there by hand"
        state = "there" if paths.there(folder) else f"missing; {way}"
        lines.append(f"{name}: {folder} ({state})")
    return lines


def _read(name: str) -> cache.Cached:
    """Read a data set; refuse other names for the published images, for scores go by names."""
    folder = paths.cache() / name
    cached = cache.read(folder, SOURCES[name].num_classes)
    names = hashlib.sha256(" ".join(cached.classes).encode()).hexdigest()[:12]
    if NAMES.get(_fingerprint([cached.manifest]), names) != names:
        raise cache.broken(folder, "the names in classes.txt are not those of the published images")
    return cached


def _stamps(dataset: str) -> tuple:
    """Return what changes when the data in the cache are replaced."""
    manifests = [paths.cache() / name / "manifest.json" for name in PARTS[dataset]]
    return tuple(path.stat().st_mtime_ns if paths.there(path) else 0 for path in manifests)


@functools.lru_cache(maxsize=1)
def _union(root: Path, images: int, stamps: tuple) -> Split:
    ten, hundred = load("cifar10"), load("cifar100")
    arrays = {}
    for split in cache.SPLITS:
        share = images // 2 if split == "train" else 0
        positive = _chosen(getattr(ten, split), share, 10)
        negative = _chosen(getattr(hundred, split), share, 100)
        categories = np.concatenate([positive[1], negative[1] + 10]).astype(np.int64)
        arrays[f"{split}_inputs"] = np.concatenate([positive[0], negative[0]])
        arrays[f"{split}_labels"] = np.where(categories < 10, categories + 1, 0)
        arrays[f"{split}_categories"] = categories
    return Split(
        fingerprint=_fingerprint([ten.manifest, hundred.manifest]),
        classes=("others", *ten.classes),
        categories=(*ten.classes, *hundred.classes),
        **arrays,
    )


@functools.lru_cache(maxsize=1)
def _binary(root: Path, stamps: tuple) -> Split:
    ten = load("cifar10")
    arrays = {}
    for split in cache.SPLITS:
        inputs, labels = _chosen(getattr(ten, split), 0, 10)
        arrays[f"{split}_inputs"] = inputs
        arrays[f"{split}_labels"] = np.isin(labels, VEHICLES).astype(np.int64)
        arrays[f"{split}_categories"] = labels.astype(np.int64)
    return Split(
        fingerprint=_fingerprint([ten.manifest]),
        classes=("animal", "vehicle"),
        categories=ten.classes,
        **arrays,
    )


def _chosen(part: cache.Part, images: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The first ``images`` (0: all) of a part in its own order, as many of every class."""
    order = part.order()
    if images:
        labels, each = part.labels[order], images // num_classes
        rank = np.empty(len(labels), dtype=np.int64)
        for label in range(num_classes):
            rank[labels == label] = np.arange((labels == label).sum())
        order = order[rank < each]
        if len(order) < images:
            raise DataError(
                f"{images} images were asked for, {each} of each of {num_classes} classes; the "
                f"cache in {paths.cache()} has fewer. Ask for fewer, or run `nbkit data fetch`"
            )
    return part.images[order], part.labels[order]


@functools.lru_cache(maxsize=len(PARTS))
def _recorded(root: Path, names: tuple[str, ...], stamps: tuple) -> str:
    manifests = []
    for name in names:
        there = paths.there(root / name / "manifest.json")
        manifests.append(cache.recorded(root / name) if there else load(name).manifest)
    return _fingerprint(manifests)


def _fingerprint(manifests: list[dict]) -> str:
    content = [manifest[split]["content"] for manifest in manifests for split in cache.SPLITS]
    return "cifar-" + hashlib.sha256("".join(content).encode()).hexdigest()[:12]


def _lines(found: dict[str, cache.Cached]) -> list[str]:
    """Return a line on each data set, and on what is not the published one."""
    return [_line(name, cached) for name, cached in found.items()] + _foreign(found)


def _foreign(found: dict[str, cache.Cached], kinds: Iterable[str] = tuple(PARTS)) -> list[str]:
    """Return a line on each of ``PARTS`` that is whole and not the published one."""
    lines = []
    for kind in kinds:
        own = _fingerprint([found[name].manifest for name in PARTS[kind] if name in found])
        if set(PARTS[kind]) <= set(found) and own != OFFICIAL[kind]:
            lines.append(
                f"{kind}: its content, {own}, is not that of the published {OFFICIAL[kind]}; "
                "results will stand beside the published ones, not among them"
            )
    return lines


def _line(name: str, cached: cache.Cached) -> str:
    train, test = cached.manifest["train"], cached.manifest["test"]
    means = ", ".join(f"{mean:.1f}" for mean in train["means"])
    return (
        f"{name}: {train['images']:,} training and {test['images']:,} test images of "
        f"{len(cached.classes)} classes, channel means {means}, content {train['content'][:12]}"
    )
