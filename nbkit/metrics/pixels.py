"""Scores of segmentation, from one confusion matrix of all the pixels of a set.

Those of Long, Shelhamer and Darrell 2015, as the draft's own code computes them: n_ij counts the
pixels of class i called j, t_i = sum_j n_ij, void pixels count nowhere, and the background is a
class like any other. A class without a score is left out of a mean, not counted as 0.
"""

import numpy as np

from nbkit import checks
from nbkit.metrics.examples import confusion_matrix, square

STATISTICS = ("pixel_accuracy", "mean_accuracy", "mean_iu", "fw_iu")


def image_confusions(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pairs of true and predicted class of every image.

    Parameters
    ----------
    true, predicted : (N, H, W) integer arrays
        Masks, 0..C-1 or 255 (void), and predictions, 0..C-1.
    num_classes : int
        C.

    Returns
    -------
    (N, C, C) int64 array
        Its sum over the images is what ``segmentation`` takes.

    Raises
    ------
    ValueError
        If the two are not of one shape (N, H, W) or hold no pixel, and as in ``confusion_matrix``.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    if true.ndim != 3 or true.shape != predicted.shape or not true.size:
        raise ValueError(
            f"masks and predictions must be (N, H, W), got {true.shape} and {predicted.shape}"
        )
    # one image at a time: the pixels of a set take eight bytes each while they are counted
    pairs = zip(true, predicted, strict=True)
    return np.stack([confusion_matrix(t.ravel(), p.ravel(), num_classes) for t, p in pairs])


def class_iu(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, n_ii / (t_i + sum_j n_ji - n_ii).

    Parameters
    ----------
    confusion : (..., C, C) array

    Returns
    -------
    (..., C) array
        NaN for a class that is neither there nor predicted; 0 for one that is only predicted.
    """
    confusion = square(confusion)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(hits, confusion.sum(-1) + confusion.sum(-2) - hits)


def segmentation(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The four metrics of the draft's Tables 1 and 3.

    Parameters
    ----------
    confusion : (..., C, C) array

    Returns
    -------
    dict of (...) arrays
        ``pixel_accuracy``, sum_i n_ii / sum_i t_i; ``mean_accuracy``, the mean of n_ii / t_i over
        the classes that are there; ``mean_iu``, the mean of ``class_iu`` over those that are there
        or predicted; ``fw_iu``, the mean of ``class_iu`` weighted by t_i. NaN without any pixel.
    """
    confusion = square(confusion)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    there, total = confusion.sum(-1), confusion.sum((-2, -1))
    overlap = class_iu(confusion)
    return {
        "pixel_accuracy": _ratio(hits.sum(-1), total),
        "mean_accuracy": _mean_of_known(_ratio(hits, there)),
        "mean_iu": _mean_of_known(overlap),
        "fw_iu": _ratio((there * np.nan_to_num(overlap)).sum(-1), total),
    }


def bootstrap(
    per_image: np.ndarray,
    statistic: str,
    *,
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> np.ndarray:
    """Percentile interval of a metric over images drawn again with replacement.

    Parameters
    ----------
    per_image : (N, ..., C, C) array
        Confusion matrices of N images, of several networks side by side if there are more axes; all
        see the same draws.
    statistic : str
        One of ``segmentation``'s.
    rng : numpy.random.Generator
    draws : int
    level : float
        In (0, 1).

    Returns
    -------
    (2, ...) array
        Lower and upper end.

    Raises
    ------
    ValueError
        For another shape, no image or a negative count, an unknown statistic, an ``rng`` that is
        no NumPy generator, ``draws`` below 1, or a level outside (0, 1).
    """
    per_image = square(per_image)
    if per_image.ndim < 3 or not len(per_image):
        raise ValueError(f"expected a matrix an image, (N, ..., C, C), got {per_image.shape}")
    checks.choice("statistic", statistic, STATISTICS)
    tail = (1 - checks.fraction("level", level, low_open=True, high_open=True)) / 2
    images, rng = len(per_image), checks.numpy_generator(rng)
    weights = rng.multinomial(images, np.full(images, 1 / images), checks.count("draws", draws))
    totals = weights.astype(float) @ per_image.reshape(images, -1)
    values = segmentation(totals.reshape(draws, *per_image.shape[1:]))[statistic]
    return np.nanquantile(values, [tail, 1 - tail], axis=0)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(-1), known.sum(-1))
