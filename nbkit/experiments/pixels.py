"""What the experiments on masks share: data, network, and scores under every criterion."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from nbkit import checks, data, fcn, losses, metrics, rng, runs, train
from nbkit.checks import VOID
from nbkit.data import voc
from nbkit.data.scenes import fingerprint
from nbkit.data.segmented import Segmented
from nbkit.experiments.scoring import by_criterion
from nbkit.images import Images, shared
from nbkit.optim import repeatable

EVALUATION_BATCH = 50
EVALUATIONS = 20  # of a training, at most, evenly spaced and the last epoch among them
PROXY_STEP = 4  # every fourth pixel either way is enough to rank epochs and posteriors


@dataclass(frozen=True, kw_only=True)
class PixelRun(runs.Run):
    """One training on masks: data, network and schedule.

    Parameters
    ----------
    dataset : str
        ``scenes``, a name in the data cache (msrc, pets3, coco20, voc), or the path of a folder in
        VOC layout.
    images, objects : int
        How many scenes are made, and the most objects in one; 0 for any other data set.
    size : int
        Side of the canvas in pixels.
    network : {"narrow", "half", "alexnet"}
        Trunk of ``fcn.FCN``.
    dropout : float
        After fc6 and fc7, in [0, 1).
    epochs, batch_size : int
    learning_rate : float
        Peak of the one-cycle schedule.
    """

    score_names: ClassVar[tuple[str, ...]] = metrics.STATISTICS
    dataset: str = "scenes"
    images: int = 0
    objects: int = 0
    size: int = 64
    network: str = "narrow"
    dropout: float = 0.2
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dataset:
            raise ValueError("dataset must be scenes, a name or a folder of photographs, got ''")
        if self.dataset not in ("scenes", *voc.OFFICIAL):  # one folder, however it is written
            object.__setattr__(self, "dataset", str(voc.locate(self.dataset)))
        for name in ("images", "objects"):
            if (self.dataset == "scenes") != (checks.count(name, getattr(self, name), least=0) > 0):
                raise ValueError(
                    f"scenes, and only they, need a number of {name}; got "
                    f"dataset={self.dataset!r}, {name}={getattr(self, name)}"
                )
        checks.choice("network", self.network, fcn.TRUNKS)
        checks.fraction("dropout", self.dropout, high_open=True)
        for name in ("size", "epochs", "batch_size"):
            checks.count(name, getattr(self, name))
        stride = fcn.TRUNKS[self.network].stride
        if self.size % stride:
            raise ValueError(
                f"size must be a multiple of {stride} with network={self.network!r}, "
                f"got {self.size}"
            )
        checks.finite("learning_rate", self.learning_rate, above=0)

    def data_fingerprint(self) -> str:
        if self.dataset == "scenes":
            return fingerprint(self.images, size=self.size, objects=(1, self.objects))
        return voc.fingerprint(self.dataset, self.size)

    def check_data(self) -> None:
        if self.dataset != "scenes":
            voc.require(self.dataset)


@dataclass(frozen=True)
class ObservedMasks:
    """The masks of a training, and what selects.

    Attributes
    ----------
    data : Segmented
        The images that train and select, without validation images.
    labels : (U,) int64 array
        Observed labels of their units.
    masks : (N, H, W) integer array
        Observed labels, 255 for void.
    true : (N, H, W) integer array
        True labels.
    held_out : (N,) bool array
        Images kept for selection.
    classes : int
        K + 1.
    """

    data: Segmented
    labels: np.ndarray
    masks: np.ndarray
    true: np.ndarray
    held_out: np.ndarray
    classes: int


def load(run: PixelRun) -> Segmented:
    """Return the data set of a run."""
    if run.dataset == "scenes":
        return data.scenes(run.images, size=run.size, objects=(1, run.objects))
    return data.folder(run.dataset, size=run.size)


def fit(
    model: fcn.FCN,
    run: PixelRun,
    pictures: np.ndarray,
    labels: np.ndarray | None,
    loss: losses.Loss,
    *,
    epochs: int,
    weight_ratio: float | None = None,
    device: str = "cpu",
    **options,
) -> train.History:
    """Train a network on pictures and their masks, shifted and mirrored alike.

    Parameters
    ----------
    model : fcn.FCN
    run : PixelRun
    pictures : (N, H, W, 3) uint8 array
    labels : (N, H, W) masks, (N, K) image-level labels, or None for a reconstruction
    loss : Loss
    epochs : int
    weight_ratio : float, optional
    device : str
    **options
        Of ``train.fit``.
    """
    return train.fit(
        model,
        Images(shared(pictures).to(device)),
        None if labels is None else torch.from_numpy(labels)[None].to(device),
        loss,
        epochs=epochs,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        schedule="one_cycle",
        weight_ratio=None if weight_ratio is None else torch.tensor([weight_ratio], device=device),
        **options,
    )


@torch.no_grad()
def predict(model: fcn.FCN, pixels: np.ndarray, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return what a network says of images as they are.

    Parameters
    ----------
    model : fcn.FCN
    pixels : (N, H, W, 3) uint8 array
    step : int
        Answer every ``step``-th pixel either way only.

    Returns
    -------
    predicted : (N, h, w) uint8 array
        The likeliest class.
    positive : (N, h, w) float32 array
        1 - p_0, the probability of any positive.
    """
    model.eval()
    images = Images(shared(pixels).to(next(model.parameters()).device))
    predicted, positive = [], []
    with repeatable():
        for start in range(0, len(pixels), EVALUATION_BATCH):
            logits = model(images.plain(slice(start, start + EVALUATION_BATCH))[None])[0]
            logits = logits[..., ::step, ::step].float()
            predicted.append(logits.argmax(1).to(torch.uint8))
            positive.append(1 - logits.softmax(1)[:, 0])
    return tuple(torch.cat(parts).cpu().numpy() for parts in (predicted, positive))


def prior(masks: np.ndarray) -> float:
    """Return the share of positives among the pixels that are not void."""
    return float((masks[masks != VOID] > 0).mean())


def image_priors(masks: np.ndarray) -> np.ndarray:
    """Return that share image by image, (N,) float32; 0 for an image of void alone."""
    known = masks != VOID
    positive = (known & (masks > 0)).sum((1, 2))
    return (positive / np.maximum(known.sum((1, 2)), 1)).astype(np.float32)


def weight_ratio(loss: str, balance: str, kept: float, masks: np.ndarray) -> float | None:
    """Return ``losses.weight_ratio`` with the labelled and unlabelled pixels of a training.

    Parameters
    ----------
    loss, balance, kept
        As there.
    masks : (N, H, W) integer array
        Observed labels.

    Raises
    ------
    ValueError
        If the rule weighs unlabelled pixels and there are none.
    """
    labelled, unlabelled = ((masks > 0) & (masks != VOID)).sum(), (masks == 0).sum()
    balanced = float(labelled / unlabelled) if unlabelled else math.inf
    ratio = losses.weight_ratio(loss, balance, kept=kept, balanced=balanced)
    if ratio == math.inf:
        raise ValueError(f"balance={balance!r} weighs unlabelled pixels, and there are none")
    return ratio


def confusions(
    model: fcn.FCN, pixels: np.ndarray, true: np.ndarray, num_classes: int
) -> np.ndarray:
    """Return the confusion matrices of what a network says, (N, C, C), one an image.

    Parameters
    ----------
    model : fcn.FCN
    pixels : (N, H, W, 3) uint8 array
    true : (N, H, W) integer array
        255 for void.
    num_classes : int
    """
    predicted, _ = predict(model, pixels)
    return metrics.image_confusions(true, predicted, num_classes)


def measures(confusion: np.ndarray) -> dict[str, float]:
    """Return the four measures of one confusion matrix."""
    return {name: float(value) for name, value in metrics.segmentation(confusion).items()}


def constant_answers(records: Sequence[Mapping]) -> dict[str, float]:
    """Return the mean IU of two answers that need no network, NaN without a record.

    Parameters
    ----------
    records : sequence of results
        Of foreground against background, on the same validation images.
    """
    counts = sum((np.sum(record["confusion"], axis=1) for record in records), np.zeros(2))
    share = counts[1] / counts.sum() if len(records) else np.nan
    return {"background everywhere": (1 - share) / 2, "foreground everywhere": share / 2}


def with_intervals(per_image: np.ndarray, seed: int) -> dict[str, float]:
    """Return the four measures with the 95 % interval of a bootstrap over the images."""
    found = measures(per_image.sum(0))
    for name in metrics.STATISTICS:
        low, high = metrics.bootstrap(per_image, name, rng=rng.generator(seed, "bootstrap", name))
        found |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def every(epochs: int, score: Callable[[], dict]) -> Callable[[int], dict | None]:
    """Return a callback for ``train.fit`` that scores ``EVALUATIONS`` of the epochs."""
    step = math.ceil(epochs / EVALUATIONS)
    return lambda epoch: None if (epochs - epoch) % step else {"epoch": epoch, **score()}


def result(
    history: train.History, per_image: np.ndarray, seed: int, selectors: Sequence[str] = ()
) -> dict:
    """Return the ``metrics`` and ``curves`` of a training as they are stored.

    Parameters
    ----------
    history : train.History
        With what ``every`` scored: ``confusion``, (C, C), and the selectors.
    per_image : (N, C, C) int array
        ``confusions`` of the validation images after the last epoch.
    seed : int
        Of the bootstrap.
    selectors : sequence of str
        What an epoch is selected by, next to the last one.
    """
    evaluated = [epoch for epoch in history.epochs if epoch is not None]
    scored = {name: np.stack([np.asarray(e[name]) for e in evaluated]) for name in evaluated[0]}
    chosen = {name: scored[name] for name in selectors}
    measured = metrics.segmentation(scored["confusion"])
    found = by_criterion(scored["epoch"], measured, chosen, "mean_iu")
    found["last"] |= with_intervals(per_image, seed)
    curves = {
        "loss": [float(loss[0]) for loss in history.losses],
        **{name: np.round(values, 4) for name, values in chosen.items()},
        "epoch": scored["epoch"],
        "mean_iu": np.round(measured["mean_iu"], 4),
    }
    return {"metrics": found, "curves": curves}


def curves(store: runs.Store, grid: Mapping[tuple, PixelRun], names: Sequence[str]) -> pd.DataFrame:
    """Return what the runs of a grid scored on their way.

    Returns
    -------
    DataFrame
        A row an evaluation: ``names``, ``epoch``, and ``mean_iu`` on the validation images; for an
        unfinished run one row without scores.
    """
    unfinished = {"curves": {"epoch": [np.nan], "mean_iu": [np.nan]}}
    parts = []
    for name, run in grid.items():
        seen = (store.load(run) or unfinished)["curves"]
        own = dict(zip(names, name, strict=True)) | {"epoch": seen["epoch"]}
        parts.append(pd.DataFrame(own | {"mean_iu": seen["mean_iu"]}))
    return pd.concat(parts, ignore_index=True)
