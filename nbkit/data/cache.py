"""Labelled images as plain arrays in a folder, memory-mapped, and verified whenever they are read.

A folder holds ``train_images.npy`` (uint8, (N, 32, 32, 3), RGB), ``train_labels.npy`` (uint8, (N,),
an index into the classes), the same for ``test``, and ``classes.txt``, one name a line. When it is
first found in order, ``manifest.json`` is written beside them, if the folder can be written to;
from then on it must agree.
"""

import contextlib
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbkit import paths
from nbkit.data.fetch import EMBEDDED, DataError, writable

SPLITS = ("train", "test")
SHAPE = (32, 32, 3)


@dataclass(frozen=True)
class Part:
    """One split of a data set.

    Attributes
    ----------
    images : (N, 32, 32, 3) uint8 array, memory-mapped
    labels : (N,) uint8 array
    digests : (N,) uint64 array
        A hash of each image; equal images have equal digests.
    """

    images: np.ndarray
    labels: np.ndarray
    digests: np.ndarray

    def order(self) -> np.ndarray:
        """Return the indices that sort the examples by digest, whatever order they lie in."""
        return np.lexsort((self.labels, self.digests))


@dataclass(frozen=True)
class Cached:
    """A verified folder.

    Attributes
    ----------
    classes : tuple of str
    train, test : Part
    manifest : dict
        ``classes``, their names; and by split: ``images`` (their number), ``counts`` by class,
        ``means`` a channel on the scale 0..255, ``order`` (a hash of images and labels as they lie)
        and ``content`` (the same, blind to their order).
    """

    classes: tuple[str, ...]
    train: Part
    test: Part
    manifest: dict


def read(folder: Path, num_classes: int) -> Cached:
    """Read a folder, verifying everything in it.

    Raises
    ------
    DataError
        If a file is missing, short, of another shape, dtype or range, or not the one of the
        manifest. The message names the file and the way out.
    """
    try:
        classes = tuple((folder / "classes.txt").read_text().split())
        if not num_classes == len(classes) == len(set(classes)):
            raise ValueError(f"classes.txt must name {num_classes} different classes")
        parts = {split: _part(folder, split, num_classes) for split in SPLITS}
        manifest: dict = {"classes": list(classes)}
        manifest |= {split: _describe(part, num_classes) for split, part in parts.items()}
        _compare(folder / "manifest.json", manifest)
    except (OSError, ValueError, EOFError) as error:
        raise broken(folder, error) from error
    return Cached(classes, **parts, manifest=manifest)


def recorded(folder: Path) -> dict:
    """Return the manifest of a folder, whose files are not looked at; DataError as in ``read``."""
    try:
        return _manifest(folder / "manifest.json")
    except (OSError, ValueError) as error:
        raise broken(folder, error) from error


def broken(folder: Path, flaw: object) -> DataError:
    """Return the error that tells of a flaw, and what to do."""
    return DataError(
        f"{folder} is broken and will not be used: {flaw}. Move that folder away (an archive in "
        f"it belongs in {folder.parent}) and run `nbkit data fetch`, which makes it again, "
        f"{EMBEDDED}"
    )


def _manifest(path: Path) -> dict:
    try:
        manifest = json.loads(path.read_text())
        whole = all(isinstance(manifest[split]["content"], str) for split in SPLITS)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path.name} is no manifest ({error!r})") from error
    if not whole:
        raise ValueError(f"{path.name} is no manifest")
    return manifest


def write(
    folder: Path, classes: list[str], arrays: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write the files of a folder; ``arrays`` holds the images and labels of each split."""
    with writable(folder):
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
        for split, (images, labels) in arrays.items():
            np.save(folder / f"{split}_images.npy", images)
            np.save(folder / f"{split}_labels.npy", labels)


def _part(folder: Path, split: str, num_classes: int) -> Part:
    images = np.asarray(_load(folder / f"{split}_images.npy"))
    labels = np.asarray(_load(folder / f"{split}_labels.npy"))
    if images.shape[1:] != SHAPE or not len(images):
        raise ValueError(f"{split}_images.npy must be of shape (N, 32, 32, 3), got {images.shape}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{split}_labels.npy holds {labels.shape} labels for {len(images)} images")
    if labels.max() >= num_classes:
        raise ValueError(f"{split}_labels.npy must hold 0..{num_classes - 1}, got {labels.max()}")
    digests = b"".join(hashlib.blake2b(image, digest_size=8).digest() for image in images)
    return Part(images, labels, np.frombuffer(digests, ">u8").astype(np.uint64))


def _load(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} is truncated or not an array ({error})") from error
    if not isinstance(array, np.ndarray):  # an .npz under the name of an .npy
        raise ValueError(f"{path.name} is no array")
    if array.dtype != np.uint8:
        raise ValueError(f"{path.name} must be uint8, got {array.dtype}")
    return array


def _describe(part: Part, num_classes: int) -> dict:
    sums = part.images.reshape(len(part.images), -1).sum(0, dtype=np.int64)
    totals, pixels = sums.reshape(-1, 3).sum(0), part.images.size // 3
    examples = np.stack([part.digests, part.labels.astype(np.uint64)], 1).astype("<u8")
    return {
        "images": len(part.labels),
        "counts": np.bincount(part.labels, minlength=num_classes).tolist(),
        "means": [round(int(total) / pixels, 4) for total in totals],
        "order": hashlib.sha256(examples.tobytes()).hexdigest(),
        "content": hashlib.sha256(examples[part.order()].tobytes()).hexdigest(),
    }


def _compare(path: Path, found: dict) -> None:
    before = _manifest(path) if path.exists() else found
    for split in SPLITS:
        for name, value in found[split].items():
            if before[split].get(name) != value:
                raise ValueError(f"the {name} of its {split} images are not those of manifest.json")
    if before.get("classes", found["classes"]) != found["classes"]:
        raise ValueError("the names in classes.txt are not those of manifest.json")
    if before is found or "classes" not in before:  # seen first now, or before they were in it
        with contextlib.suppress(OSError), paths.writing(path) as partial:  # read-only is no flaw
            partial.write_text(json.dumps(found) + "\n")
