"""Checks of the exercises of notebook 05, on units, their areas and their pixels."""

from collections.abc import Callable

import numpy as np

from nbkit import data, noise, rng
from nbkit.checks import VOID
from nbkit.exercises import TODO, check_number, verdict


def lost_pixels(answer: float | None, areas: np.ndarray, lost: np.ndarray) -> None:
    """05 warm-up: the share of a class that is missing, in pixels."""

    def wrong(share: float) -> str | None:
        if not 0 <= share <= 1:
            return "a share lies between 0 and 1"
        if abs(share - areas[lost].sum() / areas.sum()) < 1e-3:
            return None
        if abs(share - lost.mean()) < 1e-3:
            return "that is the share of the instances; a large one has more pixels"
        return "it does not give back the number of pixels that were lost"

    check_number(answer, wrong)


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
            given = answer(before, after, weights, classes) if callable(answer) else None
            if given is None or given is ...:
                print(TODO)
                return
            problem = _wrong_transition(np.asarray(given, float), before, after, weights, classes)
            if problem:
                verdict(problem)
                return
    verdict(None)


def _wrong_transition(
    given: np.ndarray, before: np.ndarray, after: np.ndarray, weights: np.ndarray, classes: int
) -> str | None:
    if given.shape != (classes, classes):
        return f"for {classes} classes the matrix is {classes} x {classes}, got {given.shape}"
    if not np.allclose(given.sum(axis=1), 1):
        return "the shares of each true class sum to 1"
    known = (before != VOID) & (after != VOID)
    for i in range(classes):
        for j in range(classes):
            share = np.average(
                after[known & (before == i)] == j, weights=weights[known & (before == i)]
            )
            if abs(share - given[i, j]) > 1e-9:
                kind = "instances" if (weights == 1).all() else "pixels"
                return (
                    f"counted in {kind}, the share {i} -> {j} is off by {given[i, j] - share:+.3f}"
                )
    return None


def restored(answer: Callable | None, *, rate: float = 0.5, level: float = 0.97) -> None:
    """05 open: undo flips of pixels when the instances are known."""
    scenes = data.scenes(24, seed=1)
    true, classes = scenes.masks(), len(scenes.classes)
    draw = rng.generator(4, "exercise")
    noisy = noise.misclassified(true.ravel(), rate, classes, rng=draw).labels.reshape(true.shape)
    right, pixels = 0, 0
    for mask, instances, wanted in zip(noisy, scenes.instances, true, strict=True):
        given = answer(mask.copy(), instances.copy()) if callable(answer) else None
        if given is None or given is ...:
            print(TODO)
            return
        if np.shape(given) != wanted.shape:
            verdict(f"the mask is {wanted.shape}, got {np.shape(given)}")
            return
        targets = (wanted > 0) & (wanted != VOID)
        right, pixels = right + (given == wanted)[targets].sum(), pixels + targets.sum()
    share = right / pixels
    short = f"{share:.1%} of the targets' pixels are right, and {level:.0%} are wanted"
    verdict(None if share >= level else short)
