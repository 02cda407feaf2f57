"""The draft's section 5 on images: which loss learns when only some positives are labelled?

One protocol for all rows of Table 2: the same network, schedule, mask and held-out examples for a
seed, whatever the loss. A tenth of the noisy training set is held out for selection.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from nbkit import checks, data, losses, metrics, models, noise, rng, runs, train
from nbkit.checks import VOID
from nbkit.data.split import Split

CRITERIA = ("last", "last_3", "proxy_accuracy", "pu_auc", "oracle", "test")
HELD_OUT = 0.1
STACK_LIMIT = 50  # networks trained at once


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
        Name, or name(key=value, ...), as in ``losses.parse``; ``kept``, ``prior`` and
        ``num_classes`` are the true ones unless the text says otherwise.
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
    version: ClassVar[int] = 1
    datasets: ClassVar[tuple[str, ...]] = ("digits",)
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
        losses.parse(self.loss)
        checks.finite("weight_ratio", self.weight_ratio, above=0)
        checks.fraction("dropout", self.dropout, high_open=True)
        checks.count("epochs", self.epochs)
        checks.count("batch_size", self.batch_size)
        checks.finite("learning_rate", self.learning_rate, above=0)

    def data_fingerprint(self) -> str:
        return load(self.dataset).fingerprint

    def stack(self) -> tuple:
        free = ("annotation", "weight_ratio", "seed")
        return tuple(value for name, value in self.parameters.items() if name not in free)


def load(dataset: str) -> Split:
    """Return a data set by name."""
    checks.choice("dataset", dataset, ClassificationRun.datasets)
    return data.digits()


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
        "Exponential, r = 1": Row(loss="exponential"),
        "Exponential, r = 1, fade-in": Row(loss="exponential", fade_in=True),
        "Exponential, Bayes r": Row(loss="exponential", weight_ratio=bayes),
        "Exponential, fade-in": Row(loss="exponential", weight_ratio=balanced, fade_in=True),
        "BootstrapHard, as run": Row(loss="bootstrap_hard_as_run", weight_ratio=balanced),
        "BootstrapSoft": Row(loss="bootstrap_soft", weight_ratio=balanced),
        "EntropyMin": Row(loss="entropy_min", weight_ratio=balanced),
        "GCE, r = 1": Row(loss="gce"),
        "GCE": Row(loss="gce", weight_ratio=balanced),
        "SymmetricCE": Row(loss="symmetric_ce", weight_ratio=balanced),
        "Forward": Row(loss="forward"),
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


WEIGHTS = ("balanced", "bayes", "none")


def ratio(weights: str, loss: str, kept: float, prior: float) -> float:
    """Return the weight ratio w_U / w_P of a rule of balance for a loss.

    Parameters
    ----------
    weights : {"balanced", "bayes", "none"}
        Labelled over unlabelled; the ratio at which the loss decides at 1/2; or 1.
    loss : str
        As in ``losses.parse``. A PU risk is balanced by its prior and gets 1.
    kept, prior : float
    """
    checks.choice("weights", weights, WEIGHTS)
    name, _ = losses.parse(loss)
    if weights == "none" or issubclass(losses.LOSSES[name], losses.PURisk):
        return 1.0
    if weights == "bayes":
        return round(losses.bayes_ratio(name, kept), 4)
    return round(losses.balanced_ratio(prior, kept), 4)


def grid(preset: str) -> dict[tuple[str, int], ClassificationRun]:
    """Return the runs of the extended Table 2 by (row, seed): half of the positives labelled."""
    size = runs.sizes(preset, "classification")
    return {
        (name, seed): ClassificationRun(
            dataset=size["dataset"],
            kept=1.0 if row.annotation == "Complete" else 0.5,
            epochs=size["epochs"],
            seed=seed,
            **vars(row),
        )
        for name, row in rows().items()
        for seed in range(size["seeds"])
    }


@dataclass(frozen=True)
class Annotated:
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


def annotate(run: ClassificationRun, true: np.ndarray) -> Annotated:
    """Draw the observed labels and the held-out examples of a run from its seed."""
    draw = rng.generator(run.seed, "annotation")
    if run.annotation == "Complete" or run.kept == 1:
        transition = noise.transition_matrix(true, true, int(true.max()) + 1)
        observed = true
    elif run.annotation == "P+N":
        noisy = noise.subsample(true, run.kept, rng=draw)
        observed, transition = noisy.labels, noisy.transition
    else:
        noisy = noise.missing(true, 1 - run.kept, rng=draw)
        observed, transition = noisy.labels, noisy.transition
    return Annotated(observed, transition, hold_out(run.seed, len(true)))


def hold_out(seed: int, size: int) -> np.ndarray:
    """Draw the tenth of the examples that is kept for selection, (size,) bool."""
    order = rng.generator(seed, "held out").permutation(size)
    held_out = np.zeros(size, dtype=bool)
    held_out[order[: round(HELD_OUT * size)]] = True
    return held_out


@dataclass(frozen=True)
class Trained:
    """A stack of trained classifiers.

    Attributes
    ----------
    model : models.MLP or models.VGG8
    split : data.split.Split
    annotated : list of Annotated
    history : train.History
    loss : losses.Loss
    """

    model: nn.Module
    split: Split
    annotated: list[Annotated]
    history: train.History
    loss: losses.Loss


def fit(stack: list[ClassificationRun], device: str = "cpu") -> Trained:
    """Train runs that share ``stack()`` as one stack, scoring every epoch."""
    first, split = stack[0], load(stack[0].dataset)
    classes, true = len(split.classes), split.train_labels
    annotated = [annotate(run, true) for run in stack]
    held = np.stack([np.flatnonzero(part.held_out) for part in annotated])
    targets = np.stack([np.where(part.held_out, VOID, part.observed) for part in annotated])
    held_observed = np.stack([part.observed[i] for part, i in zip(annotated, held, strict=True)])
    inputs = torch.from_numpy(split.train_inputs).to(device)
    test_inputs = torch.from_numpy(split.test_inputs).to(device)
    held_inputs = inputs[torch.from_numpy(held).to(device)]
    sizes = (inputs.shape[1], 128, 64, classes)
    model = models.MLP(sizes, [run.seed for run in stack], dropout=first.dropout).to(device)
    loss = losses.build(first.loss, kept=first.kept, prior=split.prior, num_classes=classes)
    loss = (losses.FadeIn(loss) if first.fade_in else loss).to(device)

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
    inputs = torch.from_numpy(trained.split.test_inputs).to(device)
    return probabilities(trained.model, inputs.expand(len(trained.annotated), -1, -1))


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
        sample; ``proxy_accuracy`` and ``pu_auc``, which know its observed labels only.
    """
    guess = selection.argmax(-1)
    sample = observed == 0 if setting == "two_sample" else np.full(observed.shape, True)
    values = {
        "confusion": metrics.confusion_matrix(
            split.test_labels, test.argmax(-1), len(split.classes)
        ),
        "oracle": ((guess == true) & sample).sum(-1) / sample.sum(-1),
        "proxy_accuracy": metrics.proxy_accuracy(guess, observed, split.prior, setting=setting),
        "pu_auc": _pu_auc(selection, observed, split.prior, setting),
    }
    return {name: torch.as_tensor(value) for name, value in values.items()}


def compute(stack: list[ClassificationRun], device: str) -> list[dict | Exception]:
    """Train a stack and score it under every selection criterion; see ``experiments.compute``."""
    trained = fit(stack, device)
    return results(trained, test_probabilities(trained))


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
        if i in trained.history.diverged:
            epoch = trained.history.diverged[i]
            outcomes.append(train.TrainingError(train.divergence(epoch, trained.loss)))
        else:
            own = {name: values[i] for name, values in series.items()}
            outcomes.append(_result(own, final[i], trained.split, annotated))
    return outcomes


def _result(series: dict, final: np.ndarray, split: Split, annotated: Annotated) -> dict:
    """Metrics by criterion, curves and the rest of one run, from its series over epochs."""
    confusion = series["confusion"]
    test = metrics.classification(confusion) | metrics.detection(confusion)
    picks = {
        "last": [len(confusion) - 1],
        "last_3": list(range(max(0, len(confusion) - 3), len(confusion))),
        "proxy_accuracy": [int(series["proxy_accuracy"].argmax())],
        "pu_auc": [int(series["pu_auc"].argmax())],
        "oracle": [int(series["oracle"].argmax())],
        "test": [int(test["accuracy"].argmax())],
    }
    by_criterion = {
        criterion: {name: float(values[epochs].mean()) for name, values in test.items()}
        | {"epoch": epochs[-1] + 1}
        for criterion, epochs in picks.items()
    }
    correct = final.argmax(-1) == split.test_labels
    by_criterion["last"] |= {
        "auc": float(metrics.auc(1 - final[:, 0], split.test_labels > 0)),
        "calibration_error": metrics.calibration_error(final.max(-1), correct),
    }
    names = ("loss", "proxy_accuracy", "pu_auc", "oracle")
    return {
        "metrics": by_criterion,
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
