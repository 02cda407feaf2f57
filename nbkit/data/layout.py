"""The layout of PASCAL VOC on disk: lists, masks, and everything that can be wrong.

A folder holds ``classes.txt`` (one name a line, class 1 first), ``JPEGImages/NAME.jpg``, the
palette masks ``SegmentationClass/NAME.png`` and ``SegmentationObject/NAME.png`` (0 background, 255
void), and ``ImageSets/Segmentation/train.txt`` and ``val.txt``, which list the names.
"""

import functools
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from nbkit import paths
from nbkit.checks import VOID
from nbkit.data import fetch
from nbkit.data.fetch import DataError

SPLITS = ("train", "val")
PARTS = {"JPEGImages": "jpg", "SegmentationClass": "png", "SegmentationObject": "png"}


class Flaws(Exception):
    """What is wrong with the files of one photo."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines)
        self.lines = lines


def read(root: Path) -> tuple[tuple[str, ...], dict[str, list[str]], list[str]]:
    """Return the classes, the names by split, and a line on all that is wrong with these files."""
    if not paths.there(root) or not root.is_dir():
        flaw = f"{root}: no such folder; check the path, or put it there as data/README.md says"
        return (), {split: [] for split in SPLITS}, [flaw]
    flaws, found = [], {}
    files = {"classes": root / "classes.txt"}
    files |= {split: root / "ImageSets" / "Segmentation" / f"{split}.txt" for split in SPLITS}
    for what, path in files.items():
        try:
            found[what] = _names(path)
        except OSError as error:
            found[what] = []
            flaws.append(f"{path}: cannot be read ({error}); write one name a line")
            continue
        except UnicodeError as error:
            found[what] = []
            flaws.append(f"{path}: cannot be read ({error}); save it as UTF-8, one name a line")
            continue
        if not found[what]:
            flaws.append(f"{path}: names nothing; write one name a line")
        twice = [name for name, times in Counter(found[what]).items() if times > 1]
        if twice:
            flaws.append(f"{path}: {', '.join(twice[:5])} named twice; name each once")
    if len(found["classes"]) >= VOID:
        flaws.append(f"{files['classes']}: {len(found['classes'])} classes; at most {VOID - 1}")
    both = sorted(set(found["train"]) & set(found["val"]))
    if both:
        flaws.append(f"{files['val']}: {', '.join(both[:5])} also in train.txt; take it out of one")
    return tuple(found["classes"]), {split: found[split] for split in SPLITS}, flaws


def _names(path: Path) -> list[str]:
    """Return the lines of a list that are not empty; a mark of the byte order is none of a name."""
    text = path.read_text(encoding="utf-8-sig")
    if "\0" in text:
        raise UnicodeError("it is UTF-16")
    return [line.strip() for line in text.splitlines() if line.strip()]


def photo(root: Path, name: str, classes: int) -> tuple[Image.Image, Image.Image, np.ndarray]:
    """Read and check one photo.

    Returns
    -------
    photo : RGB image
    objects : image of instance ids, void wherever either mask is
    labels : (n,) int64 array
        The class of id 1..n, 0 for an id that does not occur.
    """
    opened, flaws = {}, []
    for part, suffix in PARTS.items():
        path = root / part / f"{name}.{suffix}"
        try:
            with Image.open(path) as image:
                image.load()
                opened[part] = image
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            flaws.append(_unreadable(path, name, error))
            continue
        if suffix == "png" and opened[part].mode not in ("P", "L"):
            flaws.append(
                f"{path}: is {opened[part].mode} instead of a palette image; save the class or "
                "instance numbers themselves, one byte a pixel"
            )
            del opened[part]
    if "JPEGImages" in opened:
        size = opened["JPEGImages"].size
        for part in list(opened):
            if opened[part].size != size:
                flaws.append(
                    f"{root / part / name}.png: is {opened[part].size} pixels, its photo {size}; "
                    "resize the mask by nearest neighbour"
                )
    masks = [opened[part] for part in PARTS if part != "JPEGImages" and part in opened]
    if len(masks) < 2 or masks[0].size != masks[1].size:
        raise Flaws(flaws)
    kinds, objects = (np.asarray(mask) for mask in masks)
    present = np.flatnonzero(np.bincount((kinds.astype(np.int64) * 256 + objects).ravel()))
    flaws += _disagreements(root, name, *np.divmod(present, 256), classes)
    if flaws:
        raise Flaws(flaws)
    labels = np.zeros(VOID, dtype=np.int64)
    seen = present[(present // 256 < VOID) & (present % 256 < VOID)]
    labels[seen % 256] = seen // 256
    ids = np.where(kinds == VOID, np.uint8(VOID), objects)
    return opened["JPEGImages"].convert("RGB"), Image.fromarray(ids), labels[1:]


def content(root: Path) -> str:
    """Return a hash of the classes, lists and files of a folder, blind to the order of the lists.

    Raises
    ------
    DataError
        If a file is missing.
    """
    classes, lists, flaws = read(root)
    if flaws:
        raise failure(root, flaws)
    lines = []
    for split, names in lists.items():
        for name in names:
            try:
                sums = [_sha256(root / part / f"{name}.{PARTS[part]}") for part in PARTS]
            except OSError as error:
                raise failure(root, [_unreadable(error.filename, name, error)]) from error
            lines.append(" ".join([split, name, *sums]))
    return hashlib.sha256("\n".join([*classes, *sorted(lines)]).encode()).hexdigest()


def _unreadable(path: Path | str, name: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: missing; add it, or take {name} out of the lists"
    return f"{path}: cannot be read ({error}); replace it with a whole file"


def _sha256(path: Path) -> str:
    """The SHA-256 of a file, read again only if its size or time of change is another one."""
    state = path.stat()
    return _read_sum(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _read_sum(path: Path, size: int, changed: int) -> str:
    return fetch.sha256(path)


def failure(root: Path, flaws: list[str]) -> DataError:
    """Return the error of a folder that cannot be used: its first flaw, and the way to the rest."""
    more = f" ({len(flaws) - 1} more)" if len(flaws) > 1 else ""
    return DataError(
        f"{flaws[0]}{more}. `nbkit data verify {root}` lists everything that is wrong; "
        "the synthetic scenes need no files: dataset='scenes'"
    )


def _disagreements(
    root: Path, name: str, kinds: np.ndarray, objects: np.ndarray, classes: int
) -> list[str]:
    """What is wrong with the pairs of a class and an instance that occur in a photo."""
    by_class, by_object = (root / part / f"{name}.png" for part in list(PARTS)[1:])
    known = (kinds != VOID) & (objects != VOID)
    kinds, objects = kinds[known], objects[known]
    flaws = []
    strange = np.unique(kinds[kinds > classes]).tolist()
    if strange:
        flaws.append(
            f"{by_class}: holds class {strange}, classes.txt names 1..{classes}; mend the mask, or "
            "name the class"
        )
    bare = np.unique(kinds[(kinds > 0) & (objects == 0)]).tolist()
    if bare:
        flaws.append(f"{by_object}: pixels of class {bare} belong to no instance; number them")
    idle = np.unique(objects[(kinds == 0) & (objects > 0)]).tolist()
    if idle:
        flaws.append(f"{by_object}: instance {idle} lies on background; mend one of the masks")
    inside = objects[(kinds > 0) & (objects > 0)]
    several = [each for each, times in Counter(inside.tolist()).items() if times > 1]
    if several:
        flaws.append(f"{by_object}: instance {several} covers several classes; number each apart")
    if not inside.size and not flaws:
        flaws.append(f"{by_class}: holds no object; take {name} out of the lists")
    return flaws
