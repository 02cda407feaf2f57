"""Scores: from one confusion matrix, from ranks, and those that need no negative at all.

They take leading axes, (..., C, C) matrices and (..., N) vectors, one a network; calibration is of
one network alone.
"""

import numpy as np
from scipy.stats import rankdata

from nbkit import checks
from nbkit.checks import SETTINGS, VOID


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pairs of true and predicted class.

    Parameters
    ----------
    true, predicted : (..., N) integer arrays, broadcast against each other
        True labels 0..C-1 or 255, which counts nowhere; predictions 0..C-1.
    num_classes : int
        C.

    Returns
    -------
    (..., C, C) int64 array
        Rows are true classes, columns predicted ones.

    Raises
    ------
    ValueError
        For shapes that do not fit each other, classes that are no integers or outside their
        range, or ``num_classes`` outside 2..255.
    """
    checks.classes(num_classes)
    true, predicted = _paired("true", true, "predicted", predicted)
    valid = true != VOID
    for name, values in (("true", true[valid]), ("predicted", predicted[valid])):
        if values.dtype.kind not in "iu":
            raise ValueError(f"{name} labels must be integers, got {values.dtype}")
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"{name} labels must be in 0..{num_classes - 1}, got {values.min()}..{values.max()}"
            )
    lead = true.shape[:-1]
    network = np.arange(int(np.prod(lead))).reshape(*lead, 1) * num_classes**2
    cells = (network + true.astype(np.int64) * num_classes + predicted)[valid]
    counts = np.bincount(cells, minlength=int(np.prod(lead)) * num_classes**2)
    return counts.reshape(*lead, num_classes, num_classes)


def classification(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy and macro precision, recall and F1 over all C classes, as in the draft's Table 2.

    The macro scores are means over the classes, F1 the mean of the classes' F1; a class that is
    never predicted has precision 0, as in scikit-learn with ``zero_division=0``.

    Parameters
    ----------
    confusion : (..., C, C) array

    Returns
    -------
    dict of (...) arrays
        ``accuracy``, ``precision``, ``recall``, ``f1``.
    """
    confusion = square(confusion)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    precision = _share(hits, confusion.sum(-2))
    recall = _share(hits, confusion.sum(-1))
    return {
        "accuracy": _share(hits.sum(-1), confusion.sum((-2, -1))),
        "precision": precision.mean(-1),
        "recall": recall.mean(-1),
        "f1": _share(2 * precision * recall, precision + recall).mean(-1),
    }


def detection(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Binary scores of "any positive" against class 0; which category is predicted does not matter.

    Parameters
    ----------
    confusion : (..., C, C) array

    Returns
    -------
    dict of (...) arrays
        ``detection_accuracy``, ``detection_precision``, ``detection_recall``, ``detection_f1``, and
        ``balanced_accuracy``, the mean recall of the two (the author's "AUC" on hard labels).
    """
    confusion = square(confusion)
    true_negative = confusion[..., 0, 0]
    false_positive = confusion[..., 0, 1:].sum(-1)
    false_negative = confusion[..., 1:, 0].sum(-1)
    true_positive = confusion[..., 1:, 1:].sum((-2, -1))
    precision = _share(true_positive, true_positive + false_positive)
    recall = _share(true_positive, true_positive + false_negative)
    specificity = _share(true_negative, true_negative + false_positive)
    return {
        "detection_accuracy": _share(true_positive + true_negative, confusion.sum((-2, -1))),
        "detection_precision": precision,
        "detection_recall": recall,
        "detection_f1": _share(2 * precision * recall, precision + recall),
        "balanced_accuracy": (recall + specificity) / 2,
    }


def auc(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, ties counted half.

    Parameters
    ----------
    scores : (..., N) float array
        Larger is more positive.
    positive : (..., N) bool array, broadcast against ``scores``

    Returns
    -------
    (...) array

    Raises
    ------
    ValueError
        If one of the two classes is empty, or a score is not finite.
    """
    scores, positive = _paired("scores", _scores(scores), "positive", positive)
    _boolean("positive", positive)
    count = positive.sum(-1)
    other = scores.shape[-1] - count
    if (count == 0).any() or (other == 0).any():
        raise ValueError("the area under the ROC curve needs both classes; one is empty")
    ranks = np.where(positive, rankdata(scores, axis=-1), 0).sum(-1)
    return (ranks - count * (count + 1) / 2) / (count * other)


def reliability(confidence: np.ndarray, correct: np.ndarray, *, bins: int = 15) -> np.ndarray:
    """Compare confidence with accuracy in equal-width bins of confidence.

    Parameters
    ----------
    confidence : (N,) float array
        Predicted probability of the predicted class, in [0, 1].
    correct : (N,) bool array
    bins : int
        Guo et al. 2017 use 15.

    Returns
    -------
    (bins, 3) array
        Number of examples, their mean confidence and their accuracy; zeros for an empty bin.

    Raises
    ------
    ValueError
        If the two are not of one shape (N,) or are empty, ``correct`` is not bool, a confidence is
        outside [0, 1] or not finite, or ``bins`` is below 1.
    """
    confidence, correct = _scores(confidence), _boolean("correct", np.asarray(correct))
    if confidence.ndim != 1 or correct.shape != confidence.shape:
        raise ValueError(f"expected two (N,) arrays, got {confidence.shape} and {correct.shape}")
    if confidence.min() < 0 or confidence.max() > 1 + 1e-6:
        raise ValueError(
            f"confidence must be in [0, 1], got {confidence.min()}..{confidence.max()}"
        )
    cell = np.minimum((confidence * checks.count("bins", bins)).astype(int), bins - 1)
    count = np.bincount(cell, minlength=bins)
    sums = [np.bincount(cell, values, minlength=bins) for values in (confidence, correct)]
    return np.stack([count, *(total / np.maximum(count, 1) for total in sums)], 1)


def calibration_error(confidence: np.ndarray, correct: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error: mean |accuracy - confidence| over the bins of ``reliability``."""
    count, predicted, actual = reliability(confidence, correct, bins=bins).T
    return float(count @ np.abs(actual - predicted) / count.sum())


def proxy_accuracy(
    predicted: np.ndarray, observed: np.ndarray, prior: float, *, setting: str = "one_sample"
) -> np.ndarray:
    """Estimate the accuracy over all C classes from PU labels alone.

    Accuracy = prior (CA + TPR - 1) + P(predicted 0), where the share CA of positives given their
    own category and the share TPR of positives called positive are measured on the labelled ones,
    and P(predicted 0) on a sample of the population. Exact in expectation when labels are missing
    at random, and equal to the accuracy when everything is labelled. With one category it is the
    familiar 2 prior TPR + P(predicted 0) - prior.

    Parameters
    ----------
    predicted : (..., N) integer array
        Predicted classes 0..K.
    observed : (..., N) integer array, broadcast against ``predicted``
        PU labels: 1..K labelled, 0 unlabelled, 255 void.
    prior : float
        Share of positives in the population.
    setting : {"one_sample", "two_sample"}
        Whether the population sample is P and U pooled, or U alone.

    Returns
    -------
    (...) array

    Raises
    ------
    ValueError
        If there is no labelled positive or no sample of the population.
    """
    predicted, observed = _paired("predicted", predicted, "observed", observed)
    if predicted.dtype.kind not in "iu":
        raise ValueError(f"predicted must be integer classes, got {predicted.dtype}")
    prior = checks.fraction("prior", prior, low_open=True, high_open=True)
    labelled, population = _samples(observed, setting)
    category = _mean(predicted == observed, labelled)
    recalled = _mean(predicted > 0, labelled)
    return prior * (category + recalled - 1) + _mean(predicted == 0, population)


def pu_auc(
    scores: np.ndarray, observed: np.ndarray, prior: float, *, setting: str = "one_sample"
) -> np.ndarray:
    """Estimate the AUC of positives against negatives from PU labels alone.

    AUC(P against U) = q/2 + (1 - q) AUC, q the share of positives in U: the prior in the two-sample
    setting, and what is left of it after the labelled ones were taken in the one-sample setting.

    Parameters
    ----------
    scores : (..., N) float array
    observed : (..., N) integer array, broadcast against ``scores``
        PU labels: 1..K labelled, 0 unlabelled; void is not allowed here.
    prior : float
    setting : {"one_sample", "two_sample"}

    Returns
    -------
    (...) array
        May leave [0, 1] in small samples; its ranking of networks is that of AUC(P against U).

    Raises
    ------
    ValueError
        If there is no labelled positive or no unlabelled example, a label is void, negative or no
        integer, a score is not finite, the shapes do not fit each other, the prior is outside
        (0, 1), or the setting is unknown.
    """
    observed = np.asarray(observed)
    labelled, _ = _samples(observed, setting)
    if (observed == VOID).any():
        raise ValueError(f"observed must hold no void ({VOID}) here; leave those examples out")
    prior = checks.fraction("prior", prior, low_open=True, high_open=True)
    measured, hidden = auc(scores, labelled), prior
    if setting == "one_sample":
        share = labelled.mean(-1)
        hidden = np.maximum(prior - share, 0) / (1 - share)
    return (measured - hidden / 2) / (1 - hidden)


def labelled_share(probability: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Estimate c, the share of positives that keep their label, from PU labels alone.

    The mean P(labelled | x) of labelled positives that the network was not trained on: exact where
    the classes do not overlap, too small where they do. (Elkan and Noto 2008, estimator e1.)

    Parameters
    ----------
    probability : (..., N) float array
        1 - p_0 of a network that was trained to tell labelled from unlabelled.
    observed : (..., N) integer array, broadcast against ``probability``
        PU labels: 1..K labelled, 0 unlabelled, 255 void.

    Returns
    -------
    (...) array

    Raises
    ------
    ValueError
        If there is no labelled positive, or a probability is outside [0, 1].
    """
    probability, observed = _paired("probability", _scores(probability), "observed", observed)
    if ((probability < 0) | (probability > 1)).any():
        raise ValueError("probabilities must be in [0, 1]")
    labelled, _ = _samples(observed, "one_sample")
    return (probability * labelled).sum(-1) / labelled.sum(-1)


def _samples(observed: np.ndarray, setting: str) -> tuple[np.ndarray, np.ndarray]:
    checks.choice("setting", setting, SETTINGS)
    if observed.dtype.kind not in "iu":
        raise ValueError(f"observed must be integer labels, got {observed.dtype}")
    if (observed < 0).any():
        raise ValueError(f"observed labels must be 0 or more, got {observed.min()}")
    labelled = (observed > 0) & (observed != VOID)
    population = observed != VOID if setting == "one_sample" else observed == 0
    if not labelled.any(-1).all() or not population.any(-1).all():
        raise ValueError("PU scores need labelled positives and unlabelled examples; one is empty")
    return labelled, population


def _mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (values & mask).sum(-1) / mask.sum(-1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _paired(
    name: str, values: np.ndarray, other: str, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Broadcast the leading axes of two arrays over the same N examples."""
    values, others = np.asarray(values), np.asarray(others)
    if not values.ndim or not others.ndim or values.shape[-1] != others.shape[-1]:
        raise ValueError(
            f"{name} and {other} must end in the same N examples, "
            f"got shapes {values.shape} and {others.shape}"
        )
    return np.broadcast_arrays(values, others)


def _boolean(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype != bool:
        raise ValueError(f"{name} must be booleans, got {values.dtype}")
    return values


def _scores(values: np.ndarray) -> np.ndarray:
    scores = np.asarray(values, dtype=float)
    if not scores.size or not np.isfinite(scores).all():
        raise ValueError("scores and probabilities must be finite numbers, at least one")
    return scores


def square(confusion: np.ndarray) -> np.ndarray:
    """Return confusion matrices, (..., C, C); ValueError for what is none."""
    confusion = np.asarray(confusion)
    if confusion.ndim < 2 or confusion.shape[-1] != confusion.shape[-2]:
        raise ValueError(f"expected counts of shape (..., C, C), got shape {confusion.shape}")
    if not (confusion >= 0).all():  # a NaN neither
        raise ValueError("expected counts, which are 0 or more, got others")
    return confusion
