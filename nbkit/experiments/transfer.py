"""The draft's Table 1 and Figures 1 and 2: do wrong labels make bad features?

A network is pre-trained on the images without the classes of a fold, with labels that are wrong in
a chosen way; its trunk is copied, and the network learns the classes of the fold from clean labels.
How well it then does is what its features were worth.
"""

import functools
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from nbkit import annotations, checks, fcn, losses, metrics, paths, rng, runs, train
from nbkit.checks import VOID
from nbkit.data.segmented import Segmented, fold
from nbkit.experiments import pixels
from nbkit.experiments.pixels import PixelRun

STACK_LIMIT = 20  # fine-tunings of one pre-trained network
VERBS = ("missing", "misclassified", "misannotated")
RATED = (*VERBS, "missing_hard")
UNTRAINED = ("scratch", "imagenet")
# SingleCategory by section 3 of the draft: all other objects are taken for the target category.
# Its labels are then those of PixelObjectness, and one run stands under both names.
TABLE = {
    "ImageNetModel": "imagenet",
    "CompleteCategory": "complete",
    "SingleCategory": "objectness",
    "PixelObjectness": "objectness",
    "OneCategory": "one_category",
    "RandomCategory": "random",
    "Autoencoder": "autoencoder",
    "ImageLabels": "image_labels",
    "FromScratch": "scratch",
}


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
        How many layers of the trunk are copied, 0..7 from the first.
    frozen : bool
        Whether the copied layers stay as they are. From scratch: as they were drawn.
    target_images : int
        Images of the fine-tuning, 0 for all of them.
    epochs : int
        Of the fine-tuning.
    """

    experiment: ClassVar[str] = "transfer"
    version: ClassVar[int] = 1
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
        sources = (*annotations.ANNOTATIONS, "autoencoder", "image_labels", *UNTRAINED)
        checks.choice("source", self.source, sources)
        checks.fraction("rate", self.rate)
        losses.parse(self.loss)
        checks.choice("balance", self.balance, pixels.BALANCES)
        for name, least in (("folds", 2), ("fold", 1), ("source_epochs", 1), ("source_images", 0)):
            checks.count(name, getattr(self, name), least=least)
        for name in ("target_images", "layers", "groups", "distractors"):
            checks.count(name, getattr(self, name), least=0)
        if self.fold > self.folds or self.layers > len(fcn.TRUNK_LAYERS):
            raise ValueError(
                f"fold must be in 1..{self.folds} and layers in 0..{len(fcn.TRUNK_LAYERS)}, "
                f"got fold={self.fold}, layers={self.layers}"
            )
        for name, sources in (("rate", RATED), ("groups", ("groups",))):
            if (getattr(self, name) > 0) != (self.source in sources):
                raise ValueError(
                    f"{name} is for source {' or '.join(sources)} and greater than 0 there; got "
                    f"source={self.source!r}, {name}={getattr(self, name)}"
                )

    def stack(self) -> tuple:
        """Runs of one pre-training are computed together, so that it is done once."""
        own = ("layers", "frozen", "target_images", "epochs")
        return tuple(value for name, value in self.parameters.items() if name not in own)


def table(preset: str) -> dict[tuple[str, int, int], TransferRun]:
    """Return the runs of Table 1 by (initialisation, fold, seed)."""
    size = runs.sizes(preset, "transfer")
    return {
        (name, fold, seed): _run(size, fold, seed, source)
        for seed in range(size["seeds"])
        for fold in range(1, size["folds"] + 1)
        for name, source in TABLE.items()
        if source != "imagenet" or size["imagenet"]
    }


def categories(preset: str) -> dict[tuple[str, int, int], TransferRun]:
    """Return the runs of Figure 2 by (number of categories, fold, seed).

    The number is a text: 1, 2, 4, ..., ``all`` and ``instance``.
    """
    size = runs.sizes(preset, "transfer")
    wanted = {str(n): {"source": "groups", "groups": n} for n in size["groups"]}
    wanted |= {"all": {"source": "complete"}, "instance": {"source": "instance"}}
    return {
        (name, fold, seed): replace(_run(size, fold, seed), **changes)
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for name, changes in wanted.items()
    }


def rates(preset: str) -> dict[tuple[str, float, int, int], TransferRun]:
    """Return the runs of the rate curves by (verb, rate, fold, seed)."""
    size = runs.sizes(preset, "transfer")
    return {
        (verb, rate, fold, seed): replace(
            _run(size, fold, seed),
            source=verb if rate else "complete",
            rate=rate,
            distractors=size["distractors"] if verb == "misannotated" else 0,
        )
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for verb in VERBS
        for rate in size["rates"]
    }


def layers(preset: str) -> dict[tuple[str, int, bool, int, int], TransferRun]:
    """Return the runs layer by layer by (initialisation, layers copied, frozen, fold, seed).

    After Yosinski et al. 2014; FromScratch with frozen layers is the control of random features.
    """
    size = runs.sizes(preset, "transfer")
    return {
        (name, count, frozen, fold, seed): replace(
            _run(size, fold, seed, TABLE[name]), layers=count, frozen=frozen
        )
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"][:1]
        for name in ("CompleteCategory", "RandomCategory", "FromScratch")
        for frozen in (False, True)
        for count in range(1, len(fcn.TRUNK_LAYERS) + 1)
        if frozen or name != "FromScratch"
    }


def worth(preset: str) -> dict[tuple[str, int, int, int], TransferRun]:
    """Return the runs with fewer or more clean images by (initialisation, images, fold, seed)."""
    size = runs.sizes(preset, "transfer")
    return {
        (name, images, fold, seed): replace(
            _run(size, fold, seed, TABLE[name]), target_images=images
        )
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for images in size["worth_images"]
        for name in ("CompleteCategory", "PixelObjectness", "RandomCategory", "FromScratch")
    }


def missing(preset: str) -> dict[tuple[str, int, int], TransferRun]:
    """Return the runs pre-trained with half of the instances missing by (loss, fold, seed).

    The thesis's question: do the features of a PU loss transfer better than cross-entropy's?
    """
    size = runs.sizes(preset, "transfer")
    wanted = {
        "CrossEntropy": {},
        "Weighted": {"loss": "weighted", "balance": "balanced"},
        "Exponential, fade-in": {"loss": "exponential", "balance": "balanced", "fade_in": True},
        "nnPU, fade-in": {"loss": "nnpu", "fade_in": True},
    }
    return {
        (name, fold, seed): replace(_run(size, fold, seed), source="missing", rate=0.5, **changes)
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for name, changes in wanted.items()
    }


def grid(preset: str) -> dict[tuple, TransferRun]:
    """Return every run of a preset by (part, ...), in the order in which they are worth having."""
    parts = {
        "table": table,
        "rates": rates,
        "categories": categories,
        "missing": missing,
        "layers": layers,
        "worth": worth,
    }
    return {
        (part, *name): run for part, make in parts.items() for name, run in make(preset).items()
    }


def divide(run: TransferRun) -> tuple[Segmented, Segmented]:
    """Return the images to pre-train on and those with the classes of the fold; see ``fold``."""
    source, target = fold(pixels.load(run), run.fold - 1, run.folds)
    if not run.distractors:
        return source, target
    targets = len(source.classes) - run.distractors
    mapping = [k if k < targets else 0 for k in range(len(source.classes))]
    return source.relabel(mapping, source.classes[:targets]), target


def some(data: Segmented, seed: int, images: int, stream: str) -> Segmented:
    """Draw training images, 0 for all of them; every class keeps at least one if it can.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    train_images = np.flatnonzero(~data.validation)
    if images > len(train_images):
        raise ValueError(f"{data.name} has {len(train_images)} training images, not {images}")
    order = rng.generator(seed, stream).permutation(train_images)
    return data.select(np.sort(order[: images or None]))


@dataclass(frozen=True)
class Source:
    """A pre-trained trunk.

    Attributes
    ----------
    state : dict of tensors
    scores : dict
        On the source's validation images; empty where there is nothing to score.
    transition, pixel_transition : (C, C) arrays or None
        Realised from true to observed labels.
    """

    state: dict[str, torch.Tensor]
    scores: dict[str, float]
    transition: np.ndarray | None = None
    pixel_transition: np.ndarray | None = None


def _run(size: dict, fold: int, seed: int, source: str = "complete") -> TransferRun:
    return TransferRun(
        **size["data"], **size["network"], folds=size["folds"], fold=fold, seed=seed, source=source
    )


def pretrain(run: TransferRun, device: str = "cpu") -> Source:
    """Train the trunk that a run copies; see ``TransferRun``."""
    if run.source == "scratch":
        return Source({}, {})
    if run.source == "imagenet":
        return Source(fcn.imagenet_state(), {})
    whole, _ = divide(run)
    chosen = some(whole, run.seed, run.source_images, "source images")
    checkpoint = paths.checkpoint(_source_key(run))
    fit = functools.partial(
        pixels.fit, run=run, epochs=run.source_epochs, device=device, checkpoint=checkpoint
    )
    network = functools.partial(fcn.FCN, seeds=[run.seed], trunk=run.network, dropout=run.dropout)
    if run.source == "autoencoder":
        model = network(2, head="reconstruction").to(device)
        fit(model, pictures=chosen.images, labels=None, loss=losses.base.SquaredError())
        return Source(model.state_dict(), {})
    if run.source == "image_labels":
        model = network(len(chosen.classes), head="image").to(device)
        fit(
            model,
            pictures=chosen.images,
            labels=present(chosen),
            loss=losses.create("cross_entropy"),
        )
        return Source(model.state_dict(), {})
    noisy = annotations.annotate(
        chosen, run.source, rate=run.rate, groups=max(1, run.groups), seed=run.seed
    )
    masks = chosen.masks(noisy.labels)
    prior = pixels.prior(chosen.masks())
    model = network(noisy.num_classes).to(device)
    kept = 1 - run.rate if run.source.startswith("missing") else 1.0
    loss = losses.build(run.loss, kept=kept, prior=prior, num_classes=noisy.num_classes)
    loss = (losses.FadeIn(loss) if run.fade_in else loss).to(device)
    ratio = pixels.weight_ratio(run.loss, run.balance, kept, masks)
    fit(model, pictures=chosen.images, labels=masks, loss=loss, weight_ratio=ratio)
    return Source(model.state_dict(), {}, noisy.transition, noisy.pixel_transition)


def _source_key(run: TransferRun) -> str:
    """What names the checkpoint of a pre-training."""
    first = replace(run, layers=0, frozen=False, target_images=0, epochs=1)
    return f"{first.key}-source"


def present(data: Segmented) -> np.ndarray:
    """Return which categories an image shows, (N, K) int64: its image-level labels."""
    shown = np.zeros((len(data.images), len(data.classes)), dtype=np.int64)
    known = data.unit_labels != VOID
    shown[data.unit_image[known], data.unit_labels[known]] = 1
    return shown[:, 1:]


def finetune(run: TransferRun, source: Source, device: str = "cpu") -> tuple[fcn.FCN, dict]:
    """Copy the trunk, learn the classes of the fold from clean labels, and score every epoch.

    Returns
    -------
    model : fcn.FCN
    result : dict
        As ``experiments.compute`` wants it.
    """
    _, whole = divide(run)
    validation = whole.select(whole.validation)
    chosen = some(whole, run.seed, run.target_images, "target images")
    classes = len(whole.classes)
    model = fcn.FCN(classes, [run.seed], trunk=run.network, dropout=run.dropout)
    state = source.state or model.state_dict()
    fcn.transfer(model, state, run.layers, freeze=run.frozen)
    model = model.to(device)
    true = validation.masks()

    def score() -> dict[str, torch.Tensor]:
        predicted, _ = pixels.predict(model, validation.images)
        return {
            "confusion": torch.from_numpy(metrics.image_confusions(true, predicted, classes).sum(0))
        }

    history = pixels.fit(
        model,
        run,
        chosen.images,
        chosen.masks(),
        losses.create("cross_entropy"),
        epochs=run.epochs,
        device=device,
        on_epoch=pixels.every(run.epochs, score),
        checkpoint=paths.checkpoint(run.key),
    )
    series = pixels.series(history)
    confusion = series["confusion"]
    scored = pixels.by_criterion(series["epoch"], confusion, {})
    predicted, _ = pixels.predict(model, validation.images)
    per_image = metrics.image_confusions(true, predicted, classes)
    scored["last"] |= pixels.with_intervals(per_image, run.seed)
    mean_iu = metrics.segmentation(confusion)["mean_iu"]
    result = {
        "metrics": scored,
        "curves": {
            "loss": [float(loss[0]) for loss in history.losses],
            "epoch": series["epoch"],
            "mean_iu": np.round(mean_iu, 4),
        },
        "class_iu": np.nan_to_num(metrics.class_iu(confusion[-1]), nan=-1),
        "images": {"target": len(chosen.images), "validation": len(validation.images)},
    }
    return model, result


def compute(stack: list[TransferRun], device: str) -> list[dict | Exception]:
    """Pre-train once and fine-tune each run of a stack; see ``experiments.compute``."""
    source = pretrain(stack[0], device)
    results = []
    for run in stack:
        try:
            _, result = finetune(run, source, device)
        except (train.TrainingError, ValueError) as error:
            results.append(error)
            continue
        filters = source.state.get("features.0.weight")
        if run.seed == 0 and run.fold == 1 and filters is not None:
            result["filters"] = np.round(filters.cpu().numpy(), 3)
        for name in ("transition", "pixel_transition"):
            if getattr(source, name) is not None and len(getattr(source, name)) <= 32:
                result[name] = np.round(getattr(source, name), 4)
        results.append(result)
    paths.checkpoint(_source_key(stack[0])).unlink(missing_ok=True)
    return results
