"""Checks of the exercises of notebook 07, on pixels of which instances are missing."""

from collections.abc import Callable

import numpy as np

from nbkit import metrics, rng
from nbkit.exercises.answers import NotYetError, called, check, number, numbers
from nbkit.experiments import pixels


@check
def nothing_found(answer: float | None, prior: float) -> None:
    """07 warm-up: mean IU of a network that calls every pixel background."""
    value = number(answer)
    if abs(value - (1 - prior) / 2) < 5e-4:
        return
    if abs(value - (1 - prior)) < 5e-4:
        raise NotYetError("that is its pixel accuracy, and the IU of background alone")
    raise NotYetError("two classes count alike: what is the IU of each?")


@check
def bayes_mask(answer: Callable | None) -> None:
    """07 core: the right mask from the posterior of cross-entropy, given the share that is kept."""
    draw = rng.generator(4, "exercise")
    for kept in (1.0, 0.5, 0.2):
        eta = draw.random((3, 8, 8))  # P(positive | pixel); cross-entropy learns kept * eta
        mask = _mask(called(answer, kept * eta, kept), eta.shape)
        if (mask != (eta > 0.5)).any():
            side = "many" if mask.sum() > (eta > 0.5).sum() else "few"
            raise NotYetError(
                f"with {kept:.0%} of the labels kept, too {side} pixels are called positive"
            )


@check
def rescue(answer: Callable | None, positive: np.ndarray, true: np.ndarray, prior: float) -> None:
    """07 open: better masks from a trained network, knowing the prior of its pixels alone.

    Asked twice: of the network's probabilities, and of their cubes, which rank the pixels alike.

    Parameters
    ----------
    answer : callable
        (N, H, W) probabilities and the prior -> (N, H, W) masks.
    positive, true : (N, H, W) arrays
        What the network says of the validation images, and their true masks.
    prior : float
    """
    plain = _mean_iu(true, positive > 0.5)
    for power, whose in ((1, "your masks"), (3, "of the network that is less sure, your masks")):
        reached = _mean_iu(true, _mask(called(answer, positive**power, prior), positive.shape))
        if reached <= plain + 0.02:
            raise NotYetError(f"{whose} reach a mean IU of {reached:.3f}, a cut at 1/2 {plain:.3f}")


def _mask(answer: object, shape: tuple[int, ...]) -> np.ndarray:
    mask = numbers(answer, shape, "a mask of the shape of the probabilities")
    if not np.isin(mask, (0, 1)).all():
        raise NotYetError("a mask holds 0 and 1")
    return mask.astype(bool)


def _mean_iu(true: np.ndarray, mask: np.ndarray) -> float:
    confusion = metrics.image_confusions(true, mask.astype(np.uint8), 2).sum(0)
    return pixels.measures(confusion)["mean_iu"]
