"""What is kept of a classifier: its scores under every selection criterion, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from nbkit import losses, metrics, train
from nbkit.checks import VOID
from nbkit.data.cifar import near_positive
from nbkit.data.split import Split
from nbkit.runs import Run, Store

MACRO = ("accuracy", "precision", "recall", "f1")
DETECTION = (
    "detection_accuracy",
    "detection_precision",
    "detection_recall",
    "detection_f1",
    "balanced_accuracy",
)
FINAL = ("auc", "calibration_error")
FAR = ("far_accuracy", "far_f1", "far_detection_precision")  # without the near-positives


@dataclass(frozen=True)
class ObservedLabels:
    """The labels of a run, and which examples train and which select.

    Attributes
    ----------
    observed : (N,) int64 array
        Labels after the annotation, 255 where an example is not annotated.
    transition : (C, C) array
        Realised from true to observed classes.
    held_out : (N,) bool array
        The tenth that is kept for selection.
    """

    observed: np.ndarray
    transition: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A stack of trained classifiers.

    Attributes
    ----------
    model : models.MLP or models.VGG8
    split : data.split.Split
    annotated : list of ObservedLabels
    history : train.History
    loss : losses.Loss
    """

    model: nn.Module
    split: Split
    annotated: list[ObservedLabels]
    history: train.History
    loss: losses.Loss


def scores(
    split: Split,
    test: np.ndarray,
    selection: np.ndarray,
    true: np.ndarray,
    observed: np.ndarray,
    setting: str = "one_sample",
) -> dict[str, torch.Tensor]:
    """Return what the selection criteria need to know of an epoch.

    Parameters
    ----------
    split : Split
    test : (S, N, C) array
        Class probabilities of the test examples.
    selection : (S, M, C) array
        Of the held-out examples.
    true, observed : (S, M) integer arrays
        True and observed labels of the held-out examples.
    setting : {"one_sample", "two_sample"}
        Whether the population sample is P and U pooled, or U alone.

    Returns
    -------
    dict of (S, ...) tensors
        ``confusion`` on the test examples; ``oracle``, accuracy on the true labels of the held-out
        sample; ``proxy_accuracy``, ``pu_auc`` and ``labelled_share``, which know its observed
        labels alone, and the true prior, which of these changes the choice of ``proxy_accuracy``.
    """
    selection = np.nan_to_num(selection)  # of a network that has diverged: see ``results``
    guess = selection.argmax(-1)
    sample = observed == 0 if setting == "two_sample" else np.full(observed.shape, True)
    values = {
        "confusion": metrics.confusion_matrix(
            split.test_labels, test.argmax(-1), len(split.classes)
        ),
        "oracle": ((guess == true) & sample).sum(-1) / sample.sum(-1),
        "proxy_accuracy": metrics.proxy_accuracy(guess, observed, split.prior, setting=setting),
        "pu_auc": _pu_auc(selection, observed, split.prior, setting),
        "labelled_share": metrics.labelled_share(1 - selection[..., 0], observed),
    }
    return {name: torch.as_tensor(value) for name, value in values.items()}


def by_criterion(
    epoch: np.ndarray,
    measured: Mapping[str, np.ndarray],
    selectors: Mapping[str, np.ndarray],
    peeked: str,
) -> dict[str, dict]:
    """Return the scores at the epochs that the selection criteria keep.

    Parameters
    ----------
    epoch : (E,) integer array
        Of each evaluation, from 1.
    measured : mapping of str to (E,) array
        The scores, on test or validation examples.
    selectors : mapping of str to (E,) array
        What a criterion maximises. Besides them there are ``last``, ``last_3`` (the mean of the
        last three evaluations) and ``test``.
    peeked : str
        The score that ``test`` maximises, which is to choose on what is scored.
    """
    last = len(epoch) - 1
    picks = {"last": [last], "last_3": list(range(max(0, last - 2), last + 1))}
    picks |= {name: [int(values.argmax())] for name, values in selectors.items()}
    picks["test"] = [int(measured[peeked].argmax())]
    return {
        criterion: {name: float(values[chosen].mean()) for name, values in measured.items()}
        | {"epoch": int(epoch[chosen[-1]])}
        for criterion, chosen in picks.items()
    }


def results(trained: Trained, final: np.ndarray) -> list[dict | Exception]:
    """Return the result of each network, or why it has none.

    Parameters
    ----------
    trained : Trained
    final : (S, N, C) array
        Class probabilities of the test examples at the end.
    """
    epochs = trained.history.epochs
    series = {name: torch.stack([e[name] for e in epochs], 1).numpy() for name in epochs[0]}
    series["loss"] = torch.stack(trained.history.losses, 1).numpy()
    outcomes = []
    for i, annotated in enumerate(trained.annotated):
        failed = trained.history.failure(i, trained.loss)
        own = {name: values[i] for name, values in series.items()}
        outcomes.append(failed or _result(own, final[i], trained.split, annotated))
    return outcomes


def near_and_far(split: Split, predicted: np.ndarray) -> tuple[dict, dict]:
    """Score without the near-positives, and count how often each category of class 0 fools.

    Parameters
    ----------
    split : Split
        ``data.cifar``.
    predicted : (N,) integer array
        Classes of the test images.

    Returns
    -------
    scores : dict
        Of ``metrics.classification`` and ``detection``, as ``far_*``; see ``FAR``.
    called : dict
        Category of class 0 -> share of its images that is called positive.
    """
    far = np.where(near_positive(split), VOID, split.test_labels)
    confusion = metrics.confusion_matrix(far, predicted, len(split.classes))
    values = metrics.classification(confusion) | metrics.detection(confusion)
    called = np.bincount(split.test_categories, predicted > 0, len(split.categories))
    share = called / np.bincount(split.test_categories, minlength=len(split.categories))
    negative = np.unique(split.test_categories[split.test_labels == 0])
    return (
        {f"far_{name}": float(value) for name, value in values.items()},
        {split.categories[i]: round(float(share[i]), 4) for i in negative},
    )


def near_alarms(scores: pd.DataFrame) -> pd.Series:
    """Return the share of near-positives among the false alarms of each line.

    Parameters
    ----------
    scores : DataFrame
        ``detection_precision``, and ``far_detection_precision`` without the near-positives. True
        alarms are the same in both, so that 1 / precision - 1 counts the false ones for each.
    """
    every, far = (1 / scores[f"{name}detection_precision"] - 1 for name in ("", "far_"))
    return 1 - far / every


def surest_false_positives(
    final: np.ndarray, true: np.ndarray, count: int = 12
) -> list[tuple[int, int, float]]:
    """Return the examples of class 0 that are most surely called positive, the surest first.

    Parameters
    ----------
    final : (N, C) array
        Class probabilities.
    true : (N,) integer array

    Returns
    -------
    list of (index, predicted class, probability of being positive)
    """
    predicted, positive = final.argmax(-1), 1 - final[:, 0]
    wrong = np.flatnonzero((true == 0) & (predicted > 0))
    surest = wrong[np.argsort(-positive[wrong], kind="stable")][:count]
    return [(int(i), int(predicted[i]), float(positive[i])) for i in surest]


def called_positive(store: Store, grid: Mapping[tuple, Run]) -> pd.DataFrame:
    """Return how often the images of a category of class 0 are called positive, mean over runs.

    Parameters
    ----------
    store : runs.Store
    grid : mapping
        (row, ...) -> Run of CIFAR; unfinished ones are left out.

    Returns
    -------
    DataFrame
        A row a category, the most often called first; a column a row of the grid, NaN if none of
        its runs is finished.
    """
    found: dict[str, list] = {}
    for (row, *_), run in grid.items():
        record = store.load(run)
        found.setdefault(row, []).extend([record["called_positive"]] if record else [])
    means = {row: pd.DataFrame(parts, dtype=float).mean() for row, parts in found.items()}
    table = pd.DataFrame(means, columns=list(found), dtype=float)
    order = table.mean(axis=1).sort_values(ascending=False, kind="stable").index
    return table.loc[order].rename_axis("category")


def false_positives(store: Store, grid: Mapping[tuple, Run]) -> pd.DataFrame:
    """Return which images of class 0 the first run of each row is surest are positive.

    Parameters
    ----------
    store : runs.Store
    grid : mapping
        (row, ...) -> Run of CIFAR; runs that are unfinished, or name no images, are left out.

    Returns
    -------
    DataFrame
        ``row``, ``seed``, ``image`` (its index among the test images), ``predicted`` (a class) and
        ``probability`` of being positive; a line an image, the surest first.
    """
    found: dict[str, list] = {}
    for (row, *_), run in grid.items():
        named = (store.load(run) or {}).get("false_positives")
        if named is not None and row not in found:
            found[row] = [(row, run.seed, *one) for one in named]
    lines = [line for part in found.values() for line in part]
    return pd.DataFrame(lines, columns=["row", "seed", "image", "predicted", "probability"])


def reliability(store: Store, grid: Mapping[tuple, Run]) -> pd.DataFrame:
    """Return how often the rows of ``called_positive`` are right where they are how sure.

    Returns
    -------
    DataFrame
        ``row``, ``examples``, their mean ``confidence`` and their ``accuracy``: a line a row and a
        bin of confidence that is not empty, the runs of a row pooled.
    """
    pooled: dict[str, np.ndarray] = {}
    for (row, *_), run in grid.items():
        record = store.load(run)
        if record:
            count, *means = np.array(record["reliability"]).T
            pooled[row] = pooled.get(row, 0) + np.stack([count, *(count * mean for mean in means)])
    columns = ["row", "examples", "confidence", "accuracy"]
    lines = [
        (row, int(count), confidence / count, accuracy / count)
        for row, bins in pooled.items()
        for count, confidence, accuracy in bins.T
        if count
    ]
    return pd.DataFrame(lines, columns=columns)


def _result(series: dict, final: np.ndarray, split: Split, annotated: ObservedLabels) -> dict:
    """Metrics by criterion, curves and the rest of one run, from its series over epochs."""
    confusion = series["confusion"]
    test = metrics.classification(confusion) | metrics.detection(confusion)
    selectors = {name: series[name] for name in ("proxy_accuracy", "pu_auc", "oracle")}
    scored = by_criterion(np.arange(1, len(confusion) + 1), test, selectors, "accuracy")
    correct = final.argmax(-1) == split.test_labels
    scored["last"] |= {
        "auc": float(metrics.auc(1 - final[:, 0], split.test_labels > 0)),
        "calibration_error": metrics.calibration_error(final.max(-1), correct),
    }
    names = ("loss", "proxy_accuracy", "pu_auc", "oracle")
    return {
        "metrics": scored,
        "curves": {name: np.round(series[name], 4) for name in names}
        | {name: np.round(test[name], 4) for name in ("accuracy", "f1")},
        "confusion": confusion[-1],
        "transition": annotated.transition,
    }


def _pu_auc(selection: np.ndarray, observed: np.ndarray, prior: float, setting: str) -> np.ndarray:
    """PU-AUC of each network; examples that are not annotated (P+N) count nowhere."""
    values = []
    for positive, own in zip(1 - selection[..., 0], observed, strict=True):
        known = own != VOID
        values.append(metrics.pu_auc(positive[known], own[known], prior, setting=setting))
    return np.array(values)
