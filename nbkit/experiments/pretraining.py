"""The first half of a transfer: a network pre-trained with labels that may be wrong."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nbkit import annotations, checks, fcn, losses, rng
from nbkit.checks import VOID
from nbkit.data.segmented import Segmented, fold, require_training_instances
from nbkit.experiments import pixels
from nbkit.experiments.pixels import PixelRun

VERBS = ("missing", "misclassified", "misannotated")
RATED = (*VERBS, "missing_hard")
UNTAUGHT = ("autoencoder", "image_labels", "scratch", "imagenet")  # without masks
UNSET = ("cross_entropy", "none", False)  # loss, balance and fade_in of a run that has no choice
# parameters that a pre-training does not know, and what stands for them in its name
FINE_TUNING = {"layers": 0, "frozen": False, "target_images": 0, "epochs": 1}


@dataclass(frozen=True, kw_only=True)
class TransferRun(PixelRun):
    """One pre-training and one fine-tuning; see ``PixelRun`` for the rest.

    Parameters
    ----------
    fold, folds : int
        The classes are cut into ``folds`` groups; group ``fold`` (from 1) is learned last.
    source : str
        Labels of the pre-training: one of ``annotations.ANNOTATIONS``; ``autoencoder`` and
        ``image_labels``, which see no masks; ``imagenet``, torchvision's weights; or ``scratch``,
        none at all.
    rate : float
        How often an error strikes a unit, for a source that has one; else 0.
    groups : int
        Into how many categories ``source="groups"`` merges; else 0.
    distractors : int
        How many of the source's last categories are no targets: class 0, unless misannotated.
    loss : str
        Of the pre-training, as in ``losses.parse``.
    balance : {"none", "balanced", "half", "bayes"}
        Of the pre-training; see ``pixels.weight_ratio``.
    fade_in : bool
        Whether cross-entropy fades into the loss of the pre-training.
    source_epochs, source_images : int
        Of the pre-training; 0 images is all of them.
    layers : int
        How many layers of the trunk are copied, 0..7 from the first; of ``imagenet``, whose fc6 and
        fc7 are wider, at most five.
    frozen : bool
        Whether the copied layers stay as they are. From scratch: as they were drawn.
    target_images : int
        Images of the fine-tuning, 0 for all of them.
    epochs : int
        Of the fine-tuning.
    """

    experiment: ClassVar[str] = "transfer"
    version: ClassVar[int] = 1
    free: ClassVar[tuple[str, ...]] = tuple(FINE_TUNING)  # one pre-training is done once
    fold: int = 1
    folds: int = 4
    source: str = "complete"
    rate: float = 0.0
    groups: int = 0
    distractors: int = 0
    loss: str = "cross_entropy"
    balance: str = "none"
    fade_in: bool = False
    source_epochs: int = 20
    source_images: int = 0
    layers: int = 7
    frozen: bool = False
    target_images: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("source", self.source, (*annotations.ANNOTATIONS, *UNTAUGHT))
        checks.fraction("rate", self.rate)
        loss = losses.checked(self.loss, balance=self.balance)
        object.__setattr__(self, "loss", loss)
        for name, least in (("folds", 2), ("fold", 1), ("source_epochs", 1), ("source_images", 0)):
            checks.count(name, getattr(self, name), least=least)
        for name in ("target_images", "layers", "groups", "distractors"):
            checks.count(name, getattr(self, name), least=0)
        if self.fold > self.folds or self.layers > len(fcn.TRUNK_LAYERS):
            raise ValueError(
                f"fold must be in 1..{self.folds} and layers in 0..{len(fcn.TRUNK_LAYERS)}, "
                f"got fold={self.fold}, layers={self.layers}"
            )
        if self.source == "imagenet" and (self.network, self.layers > 5) != ("alexnet", False):
            raise ValueError(
                "ImageNet's weights fit conv1 to conv5 of network='alexnet': give it, and layers "
                f"of at most 5; got network={self.network!r}, layers={self.layers}"
            )
        if self.source in UNTAUGHT and (self.loss, self.balance, self.fade_in) != UNSET:
            raise ValueError(
                f"a pre-training with source={self.source!r} has no masks, and so no choice of "
                f"loss, balance or fade_in; got loss={self.loss!r}, balance={self.balance!r}, "
                f"fade_in={self.fade_in}"
            )
        for name, sources in (("rate", RATED), ("groups", ("groups",))):
            if (getattr(self, name) > 0) != (self.source in sources):
                raise ValueError(
                    f"{name} is for source {' or '.join(sources)} and greater than 0 there; got "
                    f"source={self.source!r}, {name}={getattr(self, name)}"
                )

    def checkpoints(self) -> tuple[str, str]:
        """Return the names of its own checkpoint and of that of the pre-training that it shares."""
        return self.key, f"{replace(self, **FINE_TUNING).key}-source"


def divide(run: TransferRun) -> tuple[Segmented, Segmented]:
    """Return the images to pre-train on and those with the classes of the fold; see ``fold``.

    Raises
    ------
    ValueError
        As in ``fold``, if no category is left beside the distractors, or if the canvas is too
        small for the data set.
    DataError
        As in ``data.folder``.
    """
    source, target = fold(pixels.load(run), run.fold - 1, run.folds)
    if not run.distractors:
        return source, target
    targets = len(source.classes) - run.distractors
    if targets < 2:
        raise ValueError(
            f"distractors must be below {len(source.classes) - 1}, the categories that are left to "
            f"pre-train on in fold {run.fold} of {run.folds}; got {run.distractors}"
        )
    mapping = [k if k < targets else 0 for k in range(len(source.classes))]
    return source.relabel(mapping, source.classes[:targets]), target


def draw_images(data: Segmented, seed: int, images: int, stream: str) -> Segmented:
    """Draw training images, 0 for all of them.

    Raises
    ------
    ValueError
        If there are fewer, or a class has no instance in those drawn.
    """
    train_images = np.flatnonzero(~data.validation)
    if images > len(train_images):
        raise ValueError(
            f"{stream.replace(' ', '_')} must be at most {len(train_images)}, which are all that "
            f"{data.name} has, or 0 for them; got {images}"
        )
    order = rng.generator(seed, stream).permutation(train_images)
    drawn = data.select(np.sort(order[: images or None]))
    return require_training_instances(drawn, f"{images} {stream}, seed {seed}") if images else drawn


@dataclass(frozen=True)
class Source:
    """A pre-trained trunk.

    Attributes
    ----------
    state : dict of tensors
        Empty for a network as it is drawn.
    transition, pixel_transition : (C, C') arrays or None
        Realised from true to observed labels, which may be other classes.
    """

    state: dict[str, torch.Tensor]
    transition: np.ndarray | None = None
    pixel_transition: np.ndarray | None = None


def pretrain(run: TransferRun, device: str = "cpu", checkpoint: Path | None = None) -> Source:
    """Train the trunk that a run copies, see ``TransferRun``; with a checkpoint it goes on."""
    if run.source == "scratch":
        return Source({})
    if run.source == "imagenet":
        return Source(fcn.imagenet_state())
    whole, _ = divide(run)
    chosen = draw_images(whole, run.seed, run.source_images, "source images")
    fit = functools.partial(
        pixels.fit, run=run, epochs=run.source_epochs, device=device, checkpoint=checkpoint
    )
    network = functools.partial(fcn.FCN, seeds=[run.seed], trunk=run.network, dropout=run.dropout)
    if run.source == "autoencoder":
        model = network(2, head="reconstruction").to(device)
        fit(model, pictures=chosen.images, labels=None, loss=losses.SquaredError())
        return Source(model.state_dict())
    if run.source == "image_labels":
        model = network(len(chosen.classes), head="image").to(device)
        fit(
            model,
            pictures=chosen.images,
            labels=present(chosen),
            loss=losses.create("cross_entropy"),
        )
        return Source(model.state_dict())
    noisy = annotations.annotate(
        chosen, run.source, rate=run.rate, groups=max(1, run.groups), seed=run.seed
    )
    masks = chosen.masks(noisy.labels)
    # all other categories of "one_category" are negative, not unlabelled
    prior = pixels.prior(masks if run.source == "one_category" else chosen.masks())
    model = network(noisy.num_classes).to(device)
    kept = 1 - run.rate if run.source.startswith("missing") else 1.0
    loss = losses.build(
        run.loss, kept=kept, prior=prior, num_classes=noisy.num_classes, fade_in=run.fade_in
    ).to(device)
    ratio = pixels.weight_ratio(run.loss, run.balance, kept, masks)
    fit(model, pictures=chosen.images, labels=masks, loss=loss, weight_ratio=ratio)
    return Source(model.state_dict(), noisy.transition, noisy.pixel_transition)


def present(data: Segmented) -> np.ndarray:
    """Return which categories an image shows, (N, K) int64: its image-level labels."""
    shown = np.zeros((len(data.images), len(data.classes)), dtype=np.int64)
    known = data.unit_labels != VOID
    shown[data.unit_image[known], data.unit_labels[known]] = 1
    return shown[:, 1:]
