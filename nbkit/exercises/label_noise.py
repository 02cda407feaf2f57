"""Checks of the exercises of notebook 05, on units, their areas and their pixels."""

from collections.abc import Callable

import numpy as np

from nbkit import data, noise, rng
from nbkit.checks import VOID
from nbkit.exercises.answers import NotYetError, called, check, number, numbers


@check
def lost_pixels(answer: float | None, areas: np.ndarray, lost: np.ndarray) -> None:
    """05 warm-up: the share of a class that is missing, in pixels."""
    share = number(answer)
    if not 0 <= share <= 1:
        raise NotYetError("a share lies between 0 and 1")
    if abs(share - areas[lost].sum() / areas.sum()) < 5e-3:
        return
    if abs(share - lost.mean()) < 5e-3:
        raise NotYetError("that is the share of the instances; a large one has more pixels")
    raise NotYetError("it does not give back the number of pixels that were lost")


@check
def weighted_transition(answer: Callable | None) -> None:
    """05 core: the transition matrix of weighted units."""
    draw = rng.generator(3, "exercise")
    for classes, void in ((3, False), (5, False), (4, True)):
        before = np.append(np.arange(classes), draw.integers(0, classes, 60))
        after = np.where(draw.random(before.size) < 0.5, before, draw.integers(0, classes))
        areas = draw.integers(20, 900, before.size)
        if void:
            before[-9:-4], after[-5:] = VOID, VOID
        for weights in (np.ones(before.size), areas):
            given = called(answer, before.copy(), after.copy(), weights.copy(), classes)
            matrix = numbers(given, (classes, classes), f"a matrix for {classes} classes")
            _refuse(matrix, before, after, weights)


def _refuse(matrix: np.ndarray, before: np.ndarray, after: np.ndarray, weights: np.ndarray) -> None:
    if not np.allclose(matrix.sum(axis=1), 1):
        raise NotYetError("the shares of each true class sum to 1")
    known = (before != VOID) & (after != VOID)
    for (i, j), found in np.ndenumerate(matrix):
        own = known & (before == i)
        share = np.average(after[own] == j, weights=weights[own])
        if abs(share - found) > 1e-9:
            kind = "instances" if (weights == 1).all() else "pixels"
            raise NotYetError(
                f"counted in {kind}, the share {i} -> {j} is off by {found - share:+.3f}"
            )


@check
def restored(answer: Callable | None, *, rate: float = 0.5, level: float = 0.99) -> None:
    """05 open: undo flips of pixels when the instances are known."""
    scenes = data.scenes(24, seed=1)
    true, classes = scenes.masks(), len(scenes.classes)
    draw = rng.generator(4, "exercise")
    noisy = noise.misclassified(true.ravel(), rate, classes, rng=draw).labels.reshape(true.shape)
    right, pixels = 0, 0
    for mask, instances, wanted in zip(noisy, scenes.instances, true, strict=True):
        given = numbers(called(answer, mask.copy(), instances.copy()), wanted.shape, "a mask")
        targets = (wanted > 0) & (wanted != VOID)
        right, pixels = right + (given == wanted)[targets].sum(), pixels + targets.sum()
    if right / pixels < level:
        raise NotYetError(
            f"{right / pixels:.1%} of the targets' pixels are right, and {level:.0%} are wanted"
        )
