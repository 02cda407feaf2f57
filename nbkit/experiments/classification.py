"""The draft's section 5 on images: which loss learns when only some positives are labelled?

One protocol for all rows of Table 2: the same network, schedule, mask and held-out examples for a
seed, whatever the loss. A tenth of the noisy training set is held out for selection.
"""

from dataclasses import astuple, dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from nbkit import checks, data, losses, models, noise, presets, rng, runs, train
from nbkit.checks import VOID
from nbkit.data.split import Split
from nbkit.experiments.scoring import (
    DETECTION,
    FINAL,
    MACRO,
    ObservedLabels,
    Trained,
    results,
    scores,
)

STACK_LIMIT = 50  # networks trained at once
DATASETS = {"digits": data.digits}
# forward correction that is not told the share of labels: trained after a network that estimates it
ESTIMATED = "forward(kept='estimated')"


@dataclass(frozen=True, kw_only=True)
class ClassificationRun(runs.Run):
    """One classifier on one annotation of a data set.

    Parameters
    ----------
    dataset : {"digits"}
    annotation : {"Complete", "P+N", "P+U"}
        Every label; a share ``kept`` of all examples, rightly labelled; or all examples, the labels
        of a share 1 - ``kept`` of the positives missing.
    kept : float
        In (0, 1].
    loss : str
        Name, or name(key=value, ...), as in ``losses.parse``; ``kept`` (1 where no positive is
        unlabelled), ``prior`` and ``num_classes`` are the true ones unless the text says otherwise.
        Or ``ESTIMATED``.
    weight_ratio : float
        w_U / w_P, for the separable losses.
    fade_in : bool
        Whether cross-entropy fades into the loss (``losses.FadeIn``).
    dropout : float
        Share of hidden units dropped; the draft's DropoutReg is cross-entropy with more of it.
    epochs, batch_size : int
    learning_rate : float
        Peak of the one-cycle schedule.
    seed : int
        Draws annotation, held-out examples, initial weights, batches and dropout.
    """

    experiment: ClassVar[str] = "classification"
    version: ClassVar[int] = 2
    score_names: ClassVar[tuple[str, ...]] = (*MACRO, *DETECTION, *FINAL)
    free: ClassVar[tuple[str, ...]] = ("weight_ratio", "seed")
    datasets: ClassVar[tuple[str, ...]] = tuple(DATASETS)
    annotations: ClassVar[tuple[str, ...]] = ("Complete", "P+N", "P+U")
    dataset: str = "digits"
    annotation: str = "P+U"
    kept: float = 0.5
    loss: str = "cross_entropy"
    weight_ratio: float = 1.0
    fade_in: bool = False
    dropout: float = 0.1
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("dataset", self.dataset, self.datasets)
        checks.choice("annotation", self.annotation, self.annotations)
        checks.fraction("kept", self.kept, low_open=True)
        if self.annotation == "Complete":
            object.__setattr__(self, "kept", 1.0)  # one run, whatever it was given
        object.__setattr__(self, "loss", losses.canonical(self.loss))
        spec = "forward" if self.loss == ESTIMATED else self.loss
        losses.checked(spec, weight_ratio=self.weight_ratio)
        checks.fraction("dropout", self.dropout, high_open=True)
        checks.count("epochs", self.epochs)
        checks.count("batch_size", self.batch_size)
        checks.finite("learning_rate", self.learning_rate, above=0)

    def data_fingerprint(self) -> str:
        return load(self.dataset).fingerprint

    def stack(self) -> tuple:
        return astuple(self) if self.loss == ESTIMATED else super().stack()

    @property
    def labelled_share(self) -> float:
        """c, the share of the annotated positives that have their label: below 1 with P+U alone."""
        return self.kept if self.annotation == "P+U" else 1.0


def load(dataset: str) -> Split:
    """Return a data set by name."""
    return DATASETS[checks.choice("dataset", dataset, DATASETS)]()


@dataclass(frozen=True)
class Row:
    """A row of Table 2: what is annotated, and what is trained on it."""

    annotation: str = "P+U"
    loss: str = "cross_entropy"
    weight_ratio: float = 1.0
    fade_in: bool = False
    dropout: float = 0.1


DRAFT_ROWS = (
    "Complete",
    "P+N",
    "CrossEntropy",
    "Weighted",
    "Exponential",
    "BootstrapHard",
    "DropoutReg",
)
UNWEIGHTED = "Exponential, r = 1"  # the draft's loss as two of the three runs of its row had it
TABLE_ROWS = (*DRAFT_ROWS[:5], UNWEIGHTED, *DRAFT_ROWS[5:])


def rows(
    kept: float = 0.5, prior: float = 0.5, *, dropout: float = 0.1, more_dropout: float = 0.5
) -> dict[str, Row]:
    """Return the rows of the extended Table 2; the first seven are the draft's.

    Every row that weighs its classes at all uses the balanced ratio labelled / unlabelled =
    prior kept / (1 - prior kept), unless its name says otherwise.

    Parameters
    ----------
    kept, prior : float
        Labelled share of the positives, and their share of all examples.
    dropout, more_dropout : float
        Of every row, and of DropoutReg.
    """
    balanced = round(losses.balanced_ratio(prior, kept), 4)
    bayes = round(losses.bayes_ratio("exponential", kept), 4)
    table = {
        "Complete": Row("Complete"),
        "P+N": Row("P+N"),
        "CrossEntropy": Row(),
        "Weighted": Row(loss="weighted", weight_ratio=balanced),
        "Exponential": Row(loss="exponential", weight_ratio=balanced),
        "BootstrapHard": Row(loss="bootstrap_hard", weight_ratio=balanced),
        "DropoutReg": Row(),
        "Weighted, half": Row(loss="weighted", weight_ratio=balanced / 2),
        UNWEIGHTED: Row(loss="exponential"),
        "Exponential, r = 1, fade-in": Row(loss="exponential", fade_in=True),
        "Exponential, Bayes r": Row(loss="exponential", weight_ratio=bayes),
        "Exponential, fade-in": Row(loss="exponential", weight_ratio=balanced, fade_in=True),
        "BootstrapHard, as run": Row(loss="bootstrap_hard_as_run", weight_ratio=balanced),
        "BootstrapHard, as run, fade-in": Row(
            loss="bootstrap_hard_as_run", weight_ratio=balanced, fade_in=True
        ),
        "BootstrapSoft": Row(loss="bootstrap_soft", weight_ratio=balanced),
        "EntropyMin": Row(loss="entropy_min", weight_ratio=balanced),
        "GCE, r = 1": Row(loss="gce"),
        "GCE": Row(loss="gce", weight_ratio=balanced),
        "SymmetricCE": Row(loss="symmetric_ce", weight_ratio=balanced),
        "Forward": Row(loss="forward"),
        "Forward, estimated": Row(loss=ESTIMATED),
        "Backward": Row(loss="backward"),
        "NoiseLayer": Row(loss="noise_layer"),
        "uPU": Row(loss="upu"),
        "nnPU": Row(loss="nnpu"),
        "VPU": Row(loss="vpu"),
        "Dist-PU": Row(loss="dist_pu"),
    }
    return {
        name: replace(row, dropout=more_dropout if name == "DropoutReg" else dropout)
        for name, row in table.items()
    }


def balance(run: ClassificationRun, rule: str, prior: float) -> ClassificationRun:
    """Return a run with the class weights of a rule of ``losses.weight_ratio``.

    Parameters
    ----------
    run : ClassificationRun
        A PU risk is balanced by its prior and gets the ratio 1.
    rule : {"none", "balanced", "half", "bayes"}
    prior : float
    """
    kept = run.labelled_share
    balanced = losses.balanced_ratio(prior, kept)
    spec = "forward" if run.loss == ESTIMATED else run.loss
    ratio = losses.weight_ratio(spec, rule, kept=kept, balanced=balanced)
    return replace(run, weight_ratio=1.0 if ratio is None else round(ratio, 4))


def grid(preset: str) -> dict[tuple[str, int], ClassificationRun]:
    """Return the runs of the extended Table 2 by (row, seed): half of the positives labelled."""
    size = presets.sizes(preset, "classification")
    dataset = size["dataset"]
    prior = 0.5 if dataset == "digits" else load(dataset).prior  # that of digits is .503
    return {
        (name, seed): ClassificationRun(
            dataset=dataset,
            epochs=size["epochs"],
            seed=seed,
            **vars(row),
        )
        for name, row in rows(prior=prior).items()
        for seed in range(size["seeds"])
    }


def annotate(run: ClassificationRun, true: np.ndarray) -> ObservedLabels:
    """Draw the observed labels and the held-out examples of a run from its seed."""
    draw = rng.generator(run.seed, "annotation")
    if run.annotation == "P+N":
        noisy = noise.subsample(true, run.kept, rng=draw)
    else:  # with "Complete" all are kept
        noisy = noise.missing(true, 1 - run.kept, rng=draw)
    held_out = checks.selectable(noisy.labels, rng.held_out(run.seed, len(true)))
    return ObservedLabels(noisy.labels, noisy.transition, held_out)


def estimator(run: ClassificationRun) -> ClassificationRun:
    """Return the run whose network estimates the share of labels for an ``ESTIMATED`` one."""
    return replace(run, loss="cross_entropy", weight_ratio=1.0, fade_in=False)


def told(run: ClassificationRun, estimating: Trained) -> ClassificationRun:
    """Return an ``ESTIMATED`` run with the share that the trained estimator found."""
    share = float(estimating.history.epochs[-1]["labelled_share"][0])
    return replace(run, loss=f"forward(kept={share:.4f})")


def fit(stack: list[ClassificationRun], device: str = "cpu") -> Trained:
    """Train runs that share ``stack()`` as one stack, scoring every epoch."""
    if stack[0].loss == ESTIMATED:  # alone in its stack
        stack = [told(stack[0], fit([estimator(stack[0])], device))]
    first, split = stack[0], load(stack[0].dataset)
    classes, true = len(split.classes), split.train_labels
    annotated = [annotate(run, true) for run in stack]
    held = np.stack([np.flatnonzero(part.held_out) for part in annotated])
    targets = np.stack([np.where(part.held_out, VOID, part.observed) for part in annotated])
    held_observed = np.stack([part.observed[i] for part, i in zip(annotated, held, strict=True)])
    inputs = torch.tensor(split.train_inputs).to(device)
    test_inputs = torch.tensor(split.test_inputs).to(device)
    held_inputs = inputs[torch.from_numpy(held).to(device)]
    sizes = (inputs.shape[1], 128, 64, classes)
    model = models.MLP(sizes, [run.seed for run in stack], dropout=first.dropout).to(device)
    share = first.labelled_share
    loss = losses.build(
        first.loss, kept=share, prior=split.prior, num_classes=classes, fade_in=first.fade_in
    ).to(device)

    def score(epoch: int) -> dict[str, torch.Tensor]:
        test = probabilities(model, test_inputs.expand(len(stack), -1, -1))
        return scores(split, test, probabilities(model, held_inputs), true[held], held_observed)

    history = train.fit(
        model,
        inputs,
        torch.from_numpy(targets).to(device),
        loss,
        epochs=first.epochs,
        batch_size=first.batch_size,
        learning_rate=first.learning_rate,
        schedule="one_cycle",
        weight_ratio=torch.tensor([run.weight_ratio for run in stack], device=device),
        on_epoch=score,
    )
    return Trained(model, split, annotated, history, loss)


@torch.no_grad()
def probabilities(model: models.MLP, inputs: torch.Tensor) -> np.ndarray:
    """Return the class probabilities, (S, N, C) float64, of (S, N, F) inputs."""
    return model(inputs).double().softmax(-1).cpu().numpy()


def test_probabilities(trained: Trained) -> np.ndarray:
    """Return the class probabilities of the test examples, (S, N, C) float64, after training."""
    device = next(trained.model.parameters()).device
    inputs = torch.tensor(trained.split.test_inputs).to(device)
    return probabilities(trained.model, inputs.expand(len(trained.annotated), -1, -1))


def compute(stack: list[ClassificationRun], device: str) -> list[dict | Exception]:
    """Train a stack and score it under every selection criterion; see ``experiments.compute``."""
    trained = fit(stack, device)
    outcomes = results(trained, test_probabilities(trained))
    if stack[0].loss == ESTIMATED:
        outcomes[0]["kept"] = trained.loss.bare.kept
    return outcomes
