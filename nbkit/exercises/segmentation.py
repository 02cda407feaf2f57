"""Checks of the exercises of notebook 07, on pixels of which instances are missing."""

from collections.abc import Callable

import numpy as np

from nbkit import metrics, rng
from nbkit.exercises import TODO, check_number, verdict
from nbkit.experiments import pixels


def nothing_found(answer: float | None, prior: float) -> None:
    """07 warm-up: mean IU of a network that calls every pixel background."""

    def wrong(value: float) -> str | None:
        if abs(value - (1 - prior) / 2) < 5e-4:
            return None
        if abs(value - (1 - prior)) < 5e-4:
            return "that is its pixel accuracy, and the IU of background alone"
        return "two classes count alike: what is the IU of each?"

    check_number(answer, wrong)


def bayes_mask(answer: Callable | None) -> None:
    """07 core: the right mask from the posterior of cross-entropy, given the share that is kept."""
    draw = rng.generator(4, "exercise")
    for kept in (1.0, 0.5, 0.2):
        eta = draw.random((3, 8, 8))  # P(positive | pixel); cross-entropy learns kept * eta
        given = answer(kept * eta, kept) if callable(answer) else None
        if given is None or given is ...:
            print(TODO)
            return
        given = np.asarray(given)
        if given.shape != eta.shape or not np.isin(given, (0, 1)).all():
            verdict("a mask has the shape of the posterior, and holds 0 and 1")
            return
        off = given.astype(bool) != (eta > 0.5)
        if off.any():
            side = "many" if given.sum() > (eta > 0.5).sum() else "few"
            verdict(f"with {kept:.0%} of the labels kept, too {side} pixels are called positive")
            return
    verdict(None)


def rescue(answer: Callable | None, positive: np.ndarray, true: np.ndarray, prior: float) -> None:
    """07 open: better masks from a trained network, knowing the prior of its pixels alone.

    Parameters
    ----------
    answer : callable
        (N, H, W) probabilities and the prior -> (N, H, W) masks.
    positive, true : (N, H, W) arrays
        What the network says of the validation images, and their true masks.
    prior : float
    """
    given = answer(positive.copy(), prior) if callable(answer) else None
    if given is None or given is ...:
        print(TODO)
        return
    given = np.asarray(given)
    if given.shape != positive.shape or not np.isin(given, (0, 1)).all():
        verdict("a mask has the shape of the probabilities, and holds 0 and 1")
        return
    reached, plain = (
        pixels.scores(metrics.image_confusions(true, mask.astype(np.uint8), 2).sum(0))["mean_iu"]
        for mask in (given, positive > 0.5)
    )
    short = f"your masks reach a mean IU of {reached:.3f}, and a cut at 1/2 reaches {plain:.3f}"
    verdict(None if reached > plain + 0.02 else short)
