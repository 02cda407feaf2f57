"""The draft's Table 3: segmentation when instances are missing, so that class 0 is "unlabelled".

Foreground against background on images of a single instance, as the draft's caption says; and what
people really have: several instances, K categories, the hard ones missing.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from nbkit import checks, fcn, losses, metrics, noise, paths, presets, rng, train
from nbkit.checks import VOID
from nbkit.data.segmented import Segmented
from nbkit.experiments import joined, pixels
from nbkit.experiments.pixels import ObservedMasks, PixelRun

STACK_LIMIT = 1
INCOMPLETE = ("P+U", "P")  # instances are missing
ANNOTATIONS = ("Complete", "P+N", *INCOMPLETE)
SIZES = ("small", "medium", "large")
DROPOUT, MORE_DROPOUT = 0.2, 0.5


@dataclass(frozen=True, kw_only=True)
class SegmentationRun(PixelRun):
    """One network on masks of which instances are missing; see ``PixelRun`` for the rest.

    Parameters
    ----------
    target : {"foreground", "categories"}
        Any instance against background, or the K categories.
    annotation : {"Complete", "P+N", "P+U", "P"}
        Every instance; a share ``kept`` of the images, rightly labelled; all images, each instance
        labelled with probability ``kept``; or that without its unlabelled pixels, which are void.
    kept : float
        In (0, 1].
    hard : bool
        Whether the small instances and those at the border are the missing ones, instead of any.
    loss : str
        As in ``losses.parse``; ``kept``, ``prior`` (share of the pixels) and ``num_classes`` are
        the true ones unless the text says otherwise, and so are the priors of single images. The
        share ``kept`` is that of the instances, and 1 where none is missing; of the pixels of
        positives ``pixel_transition`` of the result tells how many kept their label, far more if
        the small instances are the missing ones.
    balance : {"none", "balanced", "half", "bayes"}
        See ``pixels.weight_ratio``. The number is kept with the result.
    fade_in : bool
        Whether cross-entropy fades into the loss.
    """

    experiment: ClassVar[str] = "segmentation"
    version: ClassVar[int] = 1
    score_names: ClassVar[tuple[str, ...]] = (
        *PixelRun.score_names,
        *("mean_iu_low", "mean_iu_high", "detection_precision", "detection_recall"),
        *("found", "found_small", "found_medium", "found_large"),
    )
    target: str = "foreground"
    annotation: str = "P+U"
    kept: float = 0.5
    hard: bool = False
    loss: str = "cross_entropy"
    balance: str = "none"
    fade_in: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("target", self.target, ("foreground", "categories"))
        checks.choice("annotation", self.annotation, ANNOTATIONS)
        checks.fraction("kept", self.kept, low_open=True)
        if self.annotation == "Complete":
            object.__setattr__(self, "kept", 1.0)  # one run, whatever it was given
        if self.hard and self.annotation not in INCOMPLETE:
            raise ValueError(
                f"hard says which instances are missing, and of {self.annotation} none is: use "
                f"annotation {' or '.join(INCOMPLETE)}"
            )
        loss = losses.checked(self.loss, balance=self.balance, per_image=True)
        object.__setattr__(self, "loss", loss)

    @property
    def labelled_share(self) -> float:
        """c, the share of the annotated instances that have their label."""
        return self.kept if self.annotation in INCOMPLETE else 1.0


@dataclass(frozen=True)
class Row:
    """A row of Table 3: what is annotated, and what is trained on it."""

    annotation: str = "P+U"
    loss: str = "cross_entropy"
    balance: str = "none"
    fade_in: bool = False
    dropout: float = DROPOUT


ROWS = {
    "Complete": Row("Complete"),
    "P+N": Row("P+N"),
    "CrossEntropy": Row(),
    "Weighted": Row(loss="weighted", balance="balanced"),
    "Exponential": Row(loss="exponential", balance="balanced"),
    "BootstrapHard": Row(loss="bootstrap_hard", balance="balanced"),
    "DropoutReg": Row(dropout=MORE_DROPOUT),
    "Weighted, Bayes r": Row(loss="weighted", balance="bayes"),
    "Exponential, r = 1": Row(loss="exponential"),
    "Exponential, Bayes r": Row(loss="exponential", balance="bayes"),
    "Exponential, fade-in": Row(loss="exponential", balance="balanced", fade_in=True),
    "Forward": Row(loss="forward"),
    "nnPU": Row(loss="nnpu"),
    "nnPU, fade-in": Row(loss="nnpu", fade_in=True),
    "nnPU, imbalanced": Row(loss="nnpu(imbalanced=True)"),
    "nnPU, prior per image": Row(loss="nnpu(imbalanced=True, per_image=True)"),
    "Ignore U": Row("P"),
}
DRAFT_ROWS = tuple(ROWS)[:7]


def single(preset: str) -> dict[tuple[str, int], SegmentationRun]:
    """Return the runs of Table 3 by (row, seed): one instance an image, half of them missing."""
    size = presets.sizes(preset, "segmentation")
    return _case(size, size["single"], ROWS, size["seeds"])


def several(preset: str) -> dict[tuple[str, str, int], SegmentationRun]:
    """Return the runs of what people really have by (case, row, seed).

    ``several``: foreground, several instances an image; ``categories``: K categories, on the data
    set that the preset names for them; ``hard``: as ``several``, and the small instances and those
    at the border are missing (rows where none is missing are those of ``several``).
    """
    size = presets.sizes(preset, "segmentation")
    cases = {
        "several": (size["several"], "foreground"),
        "categories": (size["categories"], "categories"),
        "hard": (size["several"], "foreground"),
    }
    where = f"presets.toml, [{preset}.segmentation]: several_rows"
    rows = {name: ROWS[checks.choice(where, name, ROWS)] for name in size["several_rows"]}
    return {
        (case, *key): replace(
            run, target=target, hard=case == "hard" and run.annotation in INCOMPLETE
        )
        for case, (data, target) in cases.items()
        for key, run in _case(size, data, rows, size["several_seeds"]).items()
    }


def _case(
    size: dict, data: dict, rows: dict[str, Row], seeds: int
) -> dict[tuple[str, int], SegmentationRun]:
    return {
        (name, seed): SegmentationRun(
            **data,
            **size["network"],
            seed=seed,
            **vars(row),
        )
        for seed in range(seeds)
        for name, row in rows.items()
    }


PARTS = {"single": single, "several": several}


def grid(preset: str) -> dict[tuple, SegmentationRun]:
    """Return every run of a preset by (part, ...), in the order in which they are worth having."""
    return joined(PARTS, preset)


def annotate(run: SegmentationRun) -> ObservedMasks:
    """Draw the masks that a run is given, from its seed."""
    whole = pixels.load(run)
    train_set = whole.select(~whole.validation)
    true = _labels(run, train_set)
    classes = 2 if run.target == "foreground" else len(whole.classes)
    draw, observed = rng.generator(run.seed, "annotation"), true
    if run.annotation in INCOMPLETE:
        difficulty = train_set.difficulty() if run.hard else None
        observed = noise.missing(true, 1 - run.kept, rng=draw, difficulty=difficulty).labels
    masks, whole_masks = train_set.masks(observed), train_set.masks(true)
    if run.annotation == "P+N":
        masks[draw.random(len(masks)) >= run.kept] = VOID
    held_out = checks.selectable(masks, rng.held_out(run.seed, len(masks)))
    if run.annotation == "P":
        masks[(masks == 0) & ~held_out[:, None, None]] = VOID  # selection needs the population
    return ObservedMasks(train_set, observed, masks, whole_masks, held_out, classes)


@dataclass(frozen=True)
class Segmenter:
    """A trained network with what it was given.

    Attributes
    ----------
    model : fcn.FCN
    observed : ObservedMasks
    validation : Segmented
        The images that it is scored on.
    history : train.History
    weight_ratio : float or None
        Of the class weights; None for a loss that takes none.
    """

    model: fcn.FCN
    observed: ObservedMasks
    validation: Segmented
    history: train.History
    weight_ratio: float | None


def fit(run: SegmentationRun, device: str = "cpu", checkpoint: Path | None = None) -> Segmenter:
    """Train a run, scoring up to ``pixels.EVALUATIONS`` of its epochs."""
    observed = annotate(run)
    used = ~observed.held_out & (observed.masks != VOID).any((1, 2))  # void images teach nothing
    validation = pixels.load(run)
    validation = validation.select(validation.validation)
    model = fcn.FCN(observed.classes, [run.seed], trunk=run.network, dropout=run.dropout).to(device)
    loss = losses.build(
        run.loss,
        kept=run.labelled_share,
        prior=pixels.prior(observed.true),
        num_classes=observed.classes,
        fade_in=run.fade_in,
    ).to(device)
    ratio = pixels.weight_ratio(run.loss, run.balance, run.labelled_share, observed.masks[used])
    own = torch.from_numpy(pixels.image_priors(observed.true[used])).to(device)
    true = validation.masks(_labels(run, validation))

    def score() -> dict[str, torch.Tensor]:
        found = pixels.confusions(model, validation.images, true, observed.classes)
        return {"confusion": torch.from_numpy(found.sum(0)), **_selectors(model, observed)}

    history = pixels.fit(
        model,
        run,
        observed.data.images[used],
        observed.masks[used],
        loss,
        epochs=run.epochs,
        weight_ratio=ratio,
        priors=own if loss.per_image else None,
        device=device,
        on_epoch=pixels.every(run.epochs, score),
        checkpoint=checkpoint,
    )
    return Segmenter(model, observed, validation, history, ratio)


def _selectors(model: fcn.FCN, observed: ObservedMasks) -> dict[str, torch.Tensor]:
    """What an epoch is selected by, on the held-out images; the proxy knows the true prior."""
    held = observed.held_out
    guess, _ = pixels.predict(model, observed.data.images[held], pixels.PROXY_STEP)
    clean, seen = _grid(observed.true[held]), _grid(observed.masks[held])
    oracle = metrics.image_confusions(clean, guess, observed.classes).sum(0)
    proxy = metrics.proxy_accuracy(guess.ravel(), seen.ravel(), pixels.prior(observed.true))
    return {
        "oracle": torch.tensor(pixels.measures(oracle)["mean_iu"]),
        "proxy_accuracy": torch.tensor(float(proxy)),
    }


def recovery(run: SegmentationRun, trained: Segmenter) -> dict[str, float]:
    """Return how well the posterior finds the missing instances again among the unlabelled pixels.

    Returns
    -------
    dict
        Average precision of the pixels of the missing instances against the true background, for
        all of them (``found``) and by the instance's size (``found_small``, ``found_medium``,
        ``found_large``: thirds of the missing instances); empty if none is missing.
    """
    _, positive = pixels.predict(trained.model, trained.observed.data.images, pixels.PROXY_STEP)
    return {
        name: float(average_precision_score(hit[either], positive[either]))
        for name, (hit, either) in _missing(run, trained.observed).items()
    }


def chance(run: SegmentationRun) -> dict[str, float]:
    """Return what ``recovery`` gives a ranking by chance: the share of pixels to be found."""
    groups = _missing(run, annotate(run))
    return {name: float(hit[either].mean()) for name, (hit, either) in groups.items()}


def _missing(
    run: SegmentationRun, observed: ObservedMasks
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels of the missing instances by their size, and those with the true background."""
    data, groups = observed.data, {}
    gone = (observed.labels == 0) & (_labels(run, data) > 0)
    if not gone.any():
        return groups
    cut = np.quantile(data.areas()[gone], [1 / 3, 2 / 3])
    third = np.searchsorted(cut, data.areas())
    units = {"found": gone}
    units |= {f"found_{size}": gone & (third == i) for i, size in enumerate(SIZES)}
    background = _grid(observed.true) == 0
    for name, chosen in units.items():
        hit = _grid(data.masks(np.where(chosen, 1, 0))) == 1
        if hit.any():
            groups[name] = hit, hit | background
    return groups


def compute(stack: list[SegmentationRun], device: str) -> list[dict | Exception]:
    """Train a run and score it under every selection criterion; see ``experiments.compute``."""
    (run,) = stack
    trained = fit(run, device, paths.checkpoint(run.key))
    observed, validation = trained.observed, trained.validation
    true = validation.masks(_labels(run, validation))
    per_image = pixels.confusions(trained.model, validation.images, true, observed.classes)
    confusion = per_image.sum(0)
    result = pixels.result(trained.history, per_image, run.seed, ("proxy_accuracy", "oracle"))
    detected = {name: float(value) for name, value in metrics.detection(confusion).items()}
    result["metrics"]["last"] |= recovery(run, trained) | detected
    return [
        {
            **result,
            "confusion": confusion,
            "weight_ratio": trained.weight_ratio,
            "prior": pixels.prior(observed.true),
            "transition": noise.transition_matrix(
                _labels(run, observed.data), observed.labels, observed.classes
            ),
            "pixel_transition": noise.transition_matrix(
                observed.true.ravel(), observed.masks.ravel(), observed.classes
            ),
        }
    ]


def _labels(run: SegmentationRun, data: Segmented) -> np.ndarray:
    """The true classes of the units in the sense of the run's target."""
    return np.minimum(data.unit_labels, 1) if run.target == "foreground" else data.unit_labels


def _grid(masks: np.ndarray) -> np.ndarray:
    return masks[:, :: pixels.PROXY_STEP, :: pixels.PROXY_STEP]
