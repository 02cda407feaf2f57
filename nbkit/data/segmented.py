"""What every segmentation data set looks like: images, instance maps, and a flat table of units.

A unit is an object instance, and a label belongs to a unit: a mask is never stored but painted from
the labels of the units, whatever an annotator made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nbkit import checks
from nbkit.checks import VOID
from nbkit.data.split import read_only


@dataclass(frozen=True)
class Segmented:
    """Images whose objects are known one by one; arrays are read-only.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Name of class 0 ("background"), 1, ..., K.
    images : (N, H, W, 3) uint8 array
        RGB.
    instances : (N, H, W) uint8 array
        0 where there is no unit, 1..254 the ids of the units of that image, 255 for void.
    unit_image, unit_id : (U,) int64 arrays
        The image 0..N-1 of a unit, in rising order, and its id there.
    unit_labels : (U,) int64 array
        The true class 0..K of a unit; 0 is a distractor, which an annotator could take for a
        target.
    validation : (N,) bool array
        Which images are for validation only.
    names : tuple of str
        What the images are called.
    extents : (N, 2) int64 array, optional
        Height and width of the picture in the upper left corner of each image; the rest is black
        and void. Without it a picture fills its image.
    """

    name: str
    classes: tuple[str, ...]
    images: np.ndarray
    instances: np.ndarray
    unit_image: np.ndarray
    unit_id: np.ndarray
    unit_labels: np.ndarray
    validation: np.ndarray
    names: tuple[str, ...]
    extents: np.ndarray | None = None

    def __post_init__(self) -> None:
        read_only(self)

    @property
    def unit_validation(self) -> np.ndarray:
        """Which units lie in a validation image, (U,) bool."""
        return self.validation[self.unit_image]

    def masks(self, labels: np.ndarray | None = None) -> np.ndarray:
        """Paint the units into masks.

        Parameters
        ----------
        labels : (U,) integer array, optional
            Label of each unit, 255 for void; the true ones by default.

        Returns
        -------
        (N, H, W) uint8 array
            0 for background, 255 for void; a wider signed integer if a label exceeds 255.
        """
        labels = self.unit_labels if labels is None else labels
        return paint(labels, self.instances, self.unit_image, self.unit_id)

    def select(self, images: np.ndarray) -> "Segmented":
        """Return some of the images, with the units that lie in them.

        Parameters
        ----------
        images : (N,) bool array, or integer array of different indices
            The images, which are put in the order given.

        Raises
        ------
        ValueError
            If there is none, or an index is repeated or outside the data set.
        """
        number = len(self.images)
        chosen = np.asarray(images)
        if chosen.dtype == bool and chosen.shape == (number,):
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not chosen.size:
            raise ValueError(
                f"images must be ({number},) bool or indices of at least one image, got "
                f"{chosen.dtype} {chosen.shape}"
            )
        if chosen.min() < 0 or chosen.max() >= number or len(np.unique(chosen)) < chosen.size:
            raise ValueError(f"images must be different indices 0..{number - 1}")
        place = np.full(number, -1)
        place[chosen] = np.arange(chosen.size)
        units = np.flatnonzero(place[self.unit_image] >= 0)
        units = units[np.argsort(place[self.unit_image[units]], kind="stable")]
        return replace(
            self,
            images=self.images[chosen],
            instances=self.instances[chosen],
            unit_image=place[self.unit_image[units]],
            unit_id=self.unit_id[units],
            unit_labels=self.unit_labels[units],
            validation=self.validation[chosen],
            names=tuple(self.names[i] for i in chosen),
            extents=None if self.extents is None else self.extents[chosen],
        )

    def relabel(self, mapping: Sequence[int], classes: Sequence[str]) -> "Segmented":
        """Return the same images with other true classes.

        Parameters
        ----------
        mapping : K + 1 integers
            The new class of each old one, 0..K; what becomes 0 stays a unit, a distractor.
        classes : sequence of str
            The new names, "background" first.

        Raises
        ------
        ValueError
            If the mapping is not one integer an old class, or names a class that ``classes`` lacks.
        """
        table = np.asarray(mapping)
        if table.shape != (len(self.classes),) or table.dtype.kind not in "iu":
            raise ValueError(
                f"mapping must be {len(self.classes)} whole numbers, one a class, got {mapping!r}"
            )
        if table.min() < 0 or table.max() >= len(classes):
            raise ValueError(f"mapping must hold classes 0..{len(classes) - 1}, got {mapping!r}")
        return replace(
            self,
            classes=tuple(classes),
            unit_labels=table.astype(np.int64)[self.unit_labels],
        )

    def areas(self) -> np.ndarray:
        """Return the visible pixels of each unit, (U,) int64."""
        return self._by_unit([np.bincount(ids.ravel(), minlength=256) for ids in self.instances])

    def at_border(self) -> np.ndarray:
        """Return which units touch the border of their picture, (U,) bool."""
        ends = self.instances.shape[1:]
        extents = [ends] * len(self.images) if self.extents is None else self.extents
        pairs = zip(self.instances, extents, strict=True)
        return self._by_unit([_edge_ids(ids[:height, :width]) for ids, (height, width) in pairs])

    def difficulty(self) -> np.ndarray:
        """Return how easily an annotator overlooks a unit, (U,) float64 in [0, 1.5].

        The share of the other units that are larger, and half a point more if the unit is cut by
        the border.
        """
        areas = self.areas()
        larger = areas.size - np.searchsorted(np.sort(areas), areas, side="right")
        return larger / max(1, areas.size - 1) + 0.5 * self.at_border()

    def _by_unit(self, tables: list[np.ndarray]) -> np.ndarray:
        return np.stack(tables)[self.unit_image, self.unit_id]


def fold(data: Segmented, index: int, folds: int) -> tuple[Segmented, Segmented]:
    """Divide a data set into the images to pre-train on and those with the classes held out.

    Parameters
    ----------
    data : Segmented
    index : int
        Which fold is held out, 0..folds-1; the classes 1..K are cut into ``folds`` runs.
    folds : int
        At least 2.

    Returns
    -------
    source : Segmented
        The images with an object of another class and no object of the fold's classes. The classes
        that still have a training instance are numbered 1, 2, ...; one that is only seen beside the
        fold's classes is left out, as a face without its body may be.
    target : Segmented
        The images with an object of the fold's classes, which are numbered 1, 2, ...; every
        other object is a distractor.
        No image is in both. Both keep ``validation``.

    Raises
    ------
    ValueError
        If no image contains the fold, or none is left without it, or a class of the fold has no
        training instance.
    """
    number = len(data.classes) - 1
    if checks.count("folds", folds, least=2) > number:
        raise ValueError(f"{data.name} has {number} classes: too few for {folds} folds")
    if checks.count("index", index, least=0) >= folds:
        raise ValueError(f"index must be a fold 0..{folds - 1}, got {index}")
    held = np.array_split(np.arange(1, number + 1), folds)[index]
    rest = np.setdiff1d(np.arange(1, number + 1), held)
    has_held, has_rest = (_contains(data, classes) for classes in (held, rest))
    where = f"fold {index + 1} of {folds} of {data.name}"  # counted from 1, as in TransferRun
    for found, classes, way in (
        (has_held, held, "choose another fold, or fewer folds"),
        (has_rest & ~has_held, rest, "choose more folds, so that a fold has fewer classes"),
    ):
        if not found.any():
            names = ", ".join(data.classes[k] for k in classes)
            raise ValueError(f"{where}: no image is left with {names}; {way}")
    source, target = data.select(has_rest & ~has_held), data.select(has_held)
    left = np.intersect1d(rest, source.unit_labels[~source.unit_validation])
    if not left.size:
        raise ValueError(f"{where}: no training image is left without it; choose more folds")
    return _only(source, left), require_training_instances(_only(target, held), where)


def require_training_instances(data: Segmented, where: str | None = None) -> Segmented:
    """Return ``data``; ValueError that names the classes without a training instance, if any."""
    labels = data.unit_labels[~data.unit_validation]
    counts = np.bincount(labels[labels != VOID], minlength=len(data.classes))
    empty = [name for name, count in zip(data.classes[1:], counts[1:], strict=True) if not count]
    if empty:
        raise ValueError(
            f"{where or data.name}: no training instance of {', '.join(empty)}; add training "
            "images of it, or take it out of the classes; small objects may need a larger size"
        )
    return data


def paint(
    labels: np.ndarray,
    instances: np.ndarray,
    images: np.ndarray | None = None,
    ids: np.ndarray | None = None,
) -> np.ndarray:
    """Turn labelled instances back into masks.

    Parameters
    ----------
    labels : (n,) integer array
        Label of each unit, at least 0; 255 makes it void. It may be empty.
    instances : (H, W) or (N, H, W) integer array
        Instance ids, 0 where there is none, 255 for void.
    images, ids : (n,) integer arrays, optional
        The image of a unit and its id there, 1..254. Without them there is one image, and
        ``labels[i]`` belongs to id i + 1.

    Returns
    -------
    uint8 array, shaped like ``instances``
        0 for background, the label of the unit, 255 where ``instances`` is void; a wider signed
        integer if a label exceeds 255.

    Raises
    ------
    ValueError
        If an id has no label, or a label no unit: none of its image, or one that another has.
    """
    labels, instances = np.asarray(labels), np.asarray(instances)
    one = images is None
    if instances.ndim != 3 - one or not instances.size or instances.dtype.kind not in "iu":
        raise ValueError(
            f"instances must be an {'(H, W)' if one else '(N, H, W)'} integer map, got "
            f"{instances.dtype} {instances.shape}"
        )
    if labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu"):
        raise ValueError(f"labels must be integers, one a unit, got {labels.dtype} {labels.shape}")
    if labels.min(initial=0) < 0:
        raise ValueError(f"labels must be at least 0, got {labels.min()}")
    if one:
        if labels.size >= VOID:
            raise ValueError(f"at most {VOID - 1} instances an image, got {labels.size}")
        images, ids = np.zeros(labels.size, dtype=np.int64), np.arange(1, labels.size + 1)
    if not labels.shape == np.shape(images) == np.shape(ids):
        raise ValueError(
            f"labels must be one a unit: {labels.size} for the {np.size(images)} units there are"
        )
    if instances.min() < 0 or instances.max() > VOID:
        raise ValueError(
            f"instances must hold ids 0..{VOID}, got {instances.min()}..{instances.max()}"
        )
    stack = instances[None] if one else instances
    _check_units(images, ids, len(stack))
    top = int(labels.max(initial=0))
    table = np.zeros((len(stack), VOID + 1), np.uint8 if top <= VOID else np.min_scalar_type(-top))
    table[:, VOID] = VOID
    table[images, ids] = labels
    named = np.zeros(table.shape, dtype=bool)
    named[:, [0, VOID]] = named[images, ids] = True
    masks = np.empty(stack.shape, dtype=table.dtype)
    for image, present in enumerate(stack):  # a table an image: no index as large as the stack
        if not named[image].all() and not named[image][present].all():
            stray = np.unique(present[~named[image][present]])[:5].tolist()
            raise ValueError(f"instance ids {stray} have no label: {labels.size} labels were given")
        np.take(table[image], present, out=masks[image])
    return masks[0] if one else masks


def _check_units(images: np.ndarray, ids: np.ndarray, number: int) -> None:
    """Raise ValueError unless every unit lies in an image and has an id of its own there."""
    images, ids = np.atleast_1d(images, ids)
    if not ids.size:
        return
    if images.dtype.kind not in "iu" or images.min() < 0 or images.max() >= number:
        raise ValueError(f"images must hold indices 0..{number - 1}, got {np.unique(images)[:5]}")
    if ids.dtype.kind not in "iu" or ids.min() < 1 or ids.max() >= VOID:
        raise ValueError(f"ids must hold 1..{VOID - 1}, got {np.unique(ids)[:5]}")
    names = images.astype(np.int64) * (VOID + 1) + ids
    if len(np.unique(names)) < names.size:
        raise ValueError("two units have the same id in the same image")


def _contains(data: Segmented, classes: np.ndarray) -> np.ndarray:
    found = np.zeros(len(data.images), dtype=bool)
    found[data.unit_image[np.isin(data.unit_labels, classes)]] = True
    return found


def _only(data: Segmented, classes: np.ndarray) -> Segmented:
    mapping = np.zeros(len(data.classes), dtype=np.int64)
    mapping[classes] = np.arange(1, classes.size + 1)
    names = (data.classes[0], *(data.classes[k] for k in classes))
    return data.relabel(mapping, names)


def _edge_ids(ids: np.ndarray) -> np.ndarray:
    """Which ids lie in the outermost rows and columns, (256,) bool."""
    touching = np.zeros(VOID + 1, dtype=bool)
    touching[ids[[0, -1]]] = True
    touching[ids[:, [0, -1]]] = True
    return touching
