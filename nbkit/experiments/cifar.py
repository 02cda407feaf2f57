"""The draft's Table 2 and Figure 5 on the real images, and the binary protocol of the PU papers.

Rows, annotation, criteria and scores are those of ``classification``; here are the network, the
images and the grids. A run is one VGG8, never a stack.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from nbkit import checks, data, losses, metrics, models, noise, paths, presets, rng, train
from nbkit.checks import VOID
from nbkit.data.cifar import check_images, fingerprint, require
from nbkit.data.split import Split
from nbkit.experiments import classification, joined, scoring
from nbkit.experiments.classification import ESTIMATED, TABLE_ROWS, ClassificationRun, Row
from nbkit.experiments.scoring import FAR, ObservedLabels, Trained, results, scores
from nbkit.images import Images, shared
from nbkit.precision import PRECISIONS, autocast, precision_on

STACK_LIMIT = 1
LESS_DROPOUT, DROPOUT, MORE_DROPOUT = 0.1, 0.5, 0.7  # DROPOUT: the author's; MORE: DropoutReg's
ESTIMATOR = "-estimator"  # of the share of labels: ends the name of its checkpoint
COPIES = 5  # of each labelled positive in the two-sample annotation: a tenth of a batch, not 2 %
FIGURE_ROWS = (*classification.DRAFT_ROWS[1:], "nnPU")
DROPOUT_ROWS = TABLE_ROWS[:-1]
LENGTH_ROWS = ("Exponential", "Weighted", "CrossEntropy", "Complete")
PRECISION_ROWS = ("P+N", "Complete", "Exponential")
EVALUATION_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class CifarRun(ClassificationRun):
    """One VGG8 on one annotation of the CIFAR images; see ``ClassificationRun`` for the rest.

    Parameters
    ----------
    dataset : {"cifar", "vehicles"}
        ``data.cifar(images)``, or ``data.vehicles()``, which is binary.
    annotation : {"Complete", "P+N", "P+U", "two-sample"}
        Two-sample: U is all of the images, and ``labelled`` positives are there once more, with
        their label. ``kept`` is then without meaning. An epoch shows each of them ``COPIES`` times
        with that share of its weight, so that every batch has some and no objective changes (the
        cross-entropy from which a PU risk is faded in counts every copy).
    images : int
        Training images of ``cifar`` in all, 0 for every one.
    labelled : int
        Labelled positives of the two-sample annotation.
    dropout : float
        Of ``models.VGG8``.
    precision : {"auto", "fp32", "bf16", "reference"}
        Of training and evaluation; ``auto`` is bf16 where the chip has it, and the result says
        which it was; ``reference`` is fp32 with PyTorch's own dropout.
    """

    experiment: ClassVar[str] = "cifar"
    version: ClassVar[int] = 1
    score_names: ClassVar[tuple[str, ...]] = (*ClassificationRun.score_names, *FAR)
    free: ClassVar[tuple[str, ...]] = ()
    datasets: ClassVar[tuple[str, ...]] = ("cifar", "vehicles")
    annotations: ClassVar[tuple[str, ...]] = (*ClassificationRun.annotations, "two-sample")
    dataset: str = "cifar"
    images: int = 0
    labelled: int = 0
    dropout: float = DROPOUT
    epochs: int = 30
    learning_rate: float = 1e-3
    precision: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_images(self.images)
        checks.count("labelled", self.labelled, least=0)
        checks.choice("precision", self.precision, PRECISIONS)
        if (self.annotation == "two-sample") != (self.labelled > 0):
            raise ValueError(
                f"the two-sample annotation, and only that, needs labelled positives; got "
                f"annotation={self.annotation!r}, labelled={self.labelled}"
            )
        object.__setattr__(self, "kept", CifarRun.kept if self.labelled else self.kept)  # one run
        if self.labelled and (self.loss == ESTIMATED or losses.takes(self.loss, "kept")):
            raise ValueError(f"{self.loss}: of two samples, write kept=, the share to correct for")
        if self.images and self.dataset != "cifar":
            raise ValueError(f"images is for dataset='cifar', got dataset={self.dataset!r}")

    def data_fingerprint(self) -> str:
        return fingerprint(self.dataset)

    def check_data(self) -> None:
        require(self.dataset)

    def checkpoints(self) -> tuple[str, ...]:
        return self.key, self.key + ESTIMATOR

    @property
    def setting(self) -> str:
        """Where the sample of the population comes from, as in ``metrics`` and ``losses``."""
        return "two_sample" if self.annotation == "two-sample" else "one_sample"


def load(run: CifarRun) -> Split:
    """Return the data set of a run."""
    return data.cifar(run.images) if run.dataset == "cifar" else data.vehicles()


def rows(kept: float = 0.5, epochs: int = CifarRun.epochs) -> dict[str, Row]:
    """Return the rows of Table 2, as ``classification.rows``, with the dropout of VGG8.

    Dist-PU warms up for half of the epochs, as in its paper.
    """
    table = classification.rows(kept, dropout=DROPOUT, more_dropout=MORE_DROPOUT)
    warm = replace(table["Dist-PU"], loss=f"dist_pu(warm_up={epochs // 2})")
    return table | {"Dist-PU": warm}


def table(preset: str) -> dict[tuple[str, int], CifarRun]:
    """Return the runs of Table 2 by (row, seed): half of the positives labelled."""
    seeds = presets.sizes(preset, "cifar")["seeds"]
    return {(row, seed): _run(preset, row, seed) for seed in range(seeds) for row in TABLE_ROWS}


def figure(preset: str) -> dict[tuple[str, float, int], CifarRun]:
    """Return the runs of Figure 5 by (row, kept, seed); all labels kept: annotated as Complete."""
    size = presets.sizes(preset, "cifar")
    return {
        (row, kept, seed): _run(preset, row, seed, kept)
        for seed in range(size["figure_seeds"])
        for kept in size["kept"]
        for row in FIGURE_ROWS
    }


def extended(preset: str) -> dict[tuple[str, int], CifarRun]:
    """Return the runs of the rows beyond Table 2 by (row, seed)."""
    seeds = presets.sizes(preset, "cifar")["extended_seeds"]
    more = [row for row in rows() if row not in TABLE_ROWS]
    return {(row, seed): _run(preset, row, seed) for seed in range(seeds) for row in more}


def binary(preset: str) -> dict[tuple[str, int], CifarRun]:
    """Return the runs of the binary protocol by (row, seed).

    Vehicles against animals of CIFAR-10, prior .4, 1,000 labelled positives, U all 50,000 images
    (Kiryo et al. 2017, whose learning rate is the low one). The Bayes ratio of n labelled and N
    unlabelled is n / (2 prior N) for cross-entropy and twice that for the exponential loss.
    """
    size = presets.sizes(preset, "cifar")
    bayes = round(1000 / (2 * 0.4 * 50_000), 4)
    two_sample = {"annotation": "two-sample", "labelled": 1000}
    kinds = {
        "Complete": {"annotation": "Complete"},
        "CrossEntropy": two_sample,
        "Weighted, Bayes r": two_sample | {"loss": "weighted", "weight_ratio": bayes},
        "Exponential, Bayes r": two_sample | {"loss": "exponential", "weight_ratio": 2 * bayes},
    }
    dist_pu = f"dist_pu(setting='two_sample', warm_up={size['epochs'] // 2})"
    risks = {"nnPU": "nnpu(setting='two_sample')", "VPU": "vpu(setting='two_sample')"}
    for row, loss in {**risks, "Dist-PU": dist_pu}.items():
        kinds[row] = two_sample | {"loss": loss}
        kinds[f"{row}, fade-in"] = kinds[row] | {"fade_in": True}
    kinds["nnPU, low rate"] = kinds["nnPU"] | {"learning_rate": size["learning_rate"] / 100}
    common = {"dataset": "vehicles"} | {name: size[name] for name in ("epochs", "learning_rate")}
    common["batch_size"] = 128  # about twelve labelled positives a batch
    return {
        (row, seed): CifarRun(seed=seed, **common | kind)
        for seed in range(size["binary_seeds"])
        for row, kind in kinds.items()
    }


def dropout(preset: str) -> dict[tuple[str, float, int], CifarRun]:
    """Return the sweep of dropout, of ``DROPOUT_ROWS``, by (row, dropout, seed).

    ``LESS_DROPOUT`` and ``DROPOUT`` have all seeds of Table 2, the other rates of the preset its
    ``dropout_seeds``; CrossEntropy with ``MORE_DROPOUT`` is DropoutReg.
    """
    size = presets.sizes(preset, "cifar")
    seeds = dict.fromkeys(size["dropout"], size["dropout_seeds"])
    seeds |= dict.fromkeys((LESS_DROPOUT, DROPOUT), size["seeds"])
    return {
        (row, rate, seed): replace(_run(preset, row, seed), dropout=rate)
        for seed in range(max(seeds.values()))
        for row in DROPOUT_ROWS
        for rate in seeds
        if seed < seeds[rate]
    }


def length(preset: str) -> dict[tuple[str, int, int], CifarRun]:
    """Return trainings of several lengths by (row, epochs, seed); the table's is among them."""
    size = presets.sizes(preset, "cifar")
    return {
        (row, epochs, seed): replace(_run(preset, row, seed), epochs=epochs)
        for seed in range(size["length_seeds"])
        for epochs in size["lengths"]
        for row in LENGTH_ROWS
    }


def precision(preset: str) -> dict[tuple[str, str, int], CifarRun]:
    """Return twins of runs of the table by (row, precision, seed): does a short cut change it?"""
    drawn = table(preset)
    kinds = [*((row, "fp32") for row in PRECISION_ROWS), (PRECISION_ROWS[0], "reference")]
    return {
        (row, kind, seed): replace(drawn[row, seed], precision=kind)
        for row, kind in kinds
        for seed in dict.fromkeys(seed for _, seed in drawn)
    }


_PARTS = (table, figure, extended, binary, dropout, length, precision)
PARTS = {part.__name__: part for part in _PARTS}


def grid(preset: str) -> dict[tuple, CifarRun]:
    """Return every run of a preset by (part, ...), in the order in which they are worth having."""
    return joined(PARTS, preset)


def _run(preset: str, row: str, seed: int, kept: float = 0.5) -> CifarRun:
    size = presets.sizes(preset, "cifar")
    chosen = rows(kept, size["epochs"])[row]
    if kept == 1:
        chosen = replace(chosen, annotation="Complete")
    common = {name: size[name] for name in ("images", "epochs", "batch_size", "learning_rate")}
    return CifarRun(kept=kept, seed=seed, **common, **vars(chosen))


def annotate(run: CifarRun, true: np.ndarray) -> tuple[np.ndarray, ObservedLabels]:
    """Draw which images a run is given, some of them twice, and how they are annotated.

    Returns
    -------
    rows : (M,) int64 array
        The image of each example.
    annotated : ObservedLabels
        Of the examples.

    Raises
    ------
    ValueError
        For more labelled positives than there are, or an annotation with nothing to select by.
    """
    images = np.arange(len(true))
    if run.annotation != "two-sample":
        return images, classification.annotate(run, true)
    positives = np.flatnonzero(true > 0)
    if run.labelled > len(positives):
        raise ValueError(f"labelled must be at most {len(positives)}, got {run.labelled}")
    draw = rng.generator(run.seed, "annotation")
    twice = np.sort(draw.choice(positives, run.labelled, replace=False))
    observed = np.concatenate([np.zeros_like(true), true[twice]])
    chosen = np.concatenate([images, twice])
    transition = noise.transition_matrix(true[chosen], observed, int(true.max()) + 1)
    held_out = rng.held_out(run.seed, len(true))[chosen]  # by image: some are two examples
    return chosen, ObservedLabels(observed, transition, checks.selectable(observed, held_out))


def fit(run: CifarRun, device: str = "cpu", checkpoint: Path | None = None) -> Trained:
    """Train a run, scoring every epoch; with a checkpoint it goes on where it was interrupted."""
    if run.loss == ESTIMATED:
        before = checkpoint and checkpoint.with_stem(checkpoint.stem + ESTIMATOR)
        run = classification.told(run, fit(classification.estimator(run), device, before))
    split = load(run)
    chosen, annotated = annotate(run, split.train_labels)
    true, observed, held = split.train_labels[chosen], annotated.observed, annotated.held_out
    copies = COPIES if run.annotation == "two-sample" else 1
    used = np.flatnonzero(~held & (observed != VOID))  # void costs its time and teaches nothing
    used = np.repeat(used, np.where(observed[used] > 0, copies, 1))
    pixels = shared(split.train_inputs).to(device)
    inputs, selection = (
        Images(pixels, torch.from_numpy(chosen[part]).to(device)) for part in (used, held)
    )
    test = Images(shared(split.test_inputs).to(device))
    classes = len(split.classes)
    reference = run.precision == "reference"
    model = models.VGG8(classes, [run.seed], dropout=run.dropout, reference=reference).to(device)
    true_values = {"kept": run.labelled_share, "prior": split.prior, "setting": run.setting}
    loss = losses.build(run.loss, num_classes=classes, fade_in=run.fade_in, **true_values)
    loss.to(device)

    def score(epoch: int) -> dict[str, torch.Tensor]:
        return scores(
            split,
            probabilities(model, test, run.precision),
            probabilities(model, selection, run.precision),
            true[None, held],
            observed[None, held],
            run.setting,
        )

    history = train.fit(
        model,
        inputs,
        torch.from_numpy(observed[None, used]).to(device),
        loss,
        epochs=run.epochs,
        batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        schedule="one_cycle",
        precision=run.precision,
        weight_ratio=torch.tensor([run.weight_ratio * copies], device=device),
        on_epoch=score,
        checkpoint=checkpoint,
    )
    return Trained(model, split, [annotated], history, loss)


@torch.no_grad()
def probabilities(model: models.VGG8, images: Images, precision: str = "fp32") -> np.ndarray:
    """Return the class probabilities of images as they are, (1, N, C) float64."""
    parts = []
    for start in range(0, len(images), EVALUATION_BATCH):
        with autocast(images.device, precision):
            logits = model(images.plain(slice(start, start + EVALUATION_BATCH))[None])
        parts.append(logits.double().softmax(-1))
    return torch.cat(parts, 1).cpu().numpy()


def compute(stack: list[CifarRun], device: str) -> list[dict | Exception]:
    """Train a run and score it under every selection criterion; see ``experiments.compute``."""
    (run,) = stack
    trained = fit(run, device, paths.checkpoint(run.key))
    split = trained.split

    def said(inputs: np.ndarray) -> np.ndarray:
        images = Images(shared(inputs).to(device))
        return probabilities(trained.model, images, run.precision)[0]

    final = said(split.test_inputs)
    (result,) = results(trained, final[None])
    result["precision"] = precision_on(device, run.precision)
    if run.loss == ESTIMATED:
        result["kept"] = trained.loss.bare.kept
    predicted, labels = final.argmax(-1), split.test_labels
    result["reliability"] = metrics.reliability(final.max(-1), predicted == labels)
    if run.dataset == "cifar":
        far, rates = scoring.near_and_far(split, predicted)
        result["metrics"]["last"] |= far
        result["called_positive"] = rates
    elif losses.parse(run.loss)[0] == "vpu":  # cut as its authors do
        positive = final[:, 1] >= said(split.train_inputs)[:, 1].max() / 2
        result["metrics"]["last"]["rescaled_accuracy"] = float(np.mean(positive == labels))
    result["false_positives"] = scoring.surest_false_positives(final, labels)
    return [result]
