"""The draft's Figure 3 and the author's sweep: a 2-8-8-2 network on two moons."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from nbkit import checks, data, losses, metrics, models, noise, presets, rng, runs, train
from nbkit.data.split import Split
from nbkit.data.toys import MOONS


@dataclass(frozen=True, kw_only=True)
class MoonsRun(runs.Run):
    """One network on one draw of the moons.

    Parameters
    ----------
    loss : str
        Name, or name(key=value, ...), as in ``losses.parse``.
    kept : float
        Share of positives that keep their label, in (0, 1].
    weight_ratio : float
        w_U / w_P.
    fade_in : bool
        Whether cross-entropy fades into the loss (``losses.FadeIn``).
    noise : float
        Standard deviation of the points.
    epochs : int
    learning_rate : float
    seed : int
        Draws points, mask, initial weights and batches.
    """

    experiment: ClassVar[str] = "moons"
    version: ClassVar[int] = 1
    loss: str = "cross_entropy"
    kept: float = 0.5
    weight_ratio: float = 1.0
    fade_in: bool = False
    noise: float = 0.2
    epochs: int = 200
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.fraction("kept", self.kept, low_open=True)
        loss = losses.checked(self.loss, weight_ratio=self.weight_ratio)
        object.__setattr__(self, "loss", loss)
        checks.finite("noise", self.noise, least=0)
        checks.count("epochs", self.epochs)
        checks.finite("learning_rate", self.learning_rate, above=0)

    def data_fingerprint(self) -> str:
        return MOONS

    def stack(self) -> tuple:
        told = self.kept if losses.takes(self.loss, "kept") else None
        return self.loss, told, self.fade_in, self.epochs, self.learning_rate


STACK_LIMIT = 255  # networks trained at once: the arithmetic then outweighs the overhead of a step
BATCH_SIZE = 100
SIZES = (2, 8, 8, 2)

# the author's sweep (file train_moons.py of 2017-06-19): loss, weighting, learning rate, epochs
PROTOCOL = {
    "CrossEntropy": ("cross_entropy", None, 5e-3, 100),
    "Balanced CE": ("cross_entropy", 1.0, 5e-3, 100),
    "Weighted": ("weighted", 0.5, 5e-3, 100),
    "BootstrapHard": ("bootstrap_hard", 1.0, 1e-2, 200),
    "Exponential": ("exponential", None, 5e-3, 200),
}


@dataclass(frozen=True)
class TrainedMoons:
    """A stack of trained networks with what each was given.

    Attributes
    ----------
    model : models.MLP
    splits : list of Split
        The data of each network.
    observed : (S, N) int64 tensor
        The labels it saw.
    loss : losses.Loss
    history : train.History
    """

    model: models.MLP
    splits: list[Split]
    observed: torch.Tensor
    loss: losses.Loss
    history: train.History


def named(row: str, *, kept: float, seed: int = 0, epoch_share: float = 1.0) -> MoonsRun:
    """Return a run of the author's protocol; ``row`` is a key of ``PROTOCOL``."""
    checks.choice("row", row, PROTOCOL)
    loss, balance, learning_rate, epochs = PROTOCOL[row]
    return MoonsRun(
        loss=loss,
        kept=kept,
        weight_ratio=_ratio(balance, kept),
        learning_rate=learning_rate,
        epochs=max(1, round(epoch_share * epochs)),
        seed=seed,
    )


def _ratio(balance: float | None, kept: float) -> float:
    """A share of the balanced weight ratio, or none at all."""
    return 1.0 if balance is None else round(balance * losses.balanced_ratio(0.5, kept), 4)


def grid(preset: str) -> dict[tuple[str, float, int], MoonsRun]:
    """Return the runs of the sweep by (row, kept, seed)."""
    size = presets.sizes(preset, "moons")
    return {
        (row, kept, seed): named(row, kept=kept, seed=seed, epoch_share=size["epoch_share"])
        for row in PROTOCOL
        for kept in size["kept"]
        for seed in range(size["repeats"])
    }


def explanations(preset: str) -> dict[str, dict[tuple[str, float, int], MoonsRun]]:
    """Return variants of the sweep that may explain the author's means, each a grid as above."""
    size = presets.sizes(preset, "moons")
    shorter = {
        key: named(key[0], kept=key[1], seed=key[2], epoch_share=size["epoch_share"] / 2)
        for key in grid(preset)
        if key[0] == "Balanced CE"
    }
    heavier = {
        key: replace(run, weight_ratio=round(1.5 * run.weight_ratio, 4))
        for key, run in grid(preset).items()
        if key[0] == "Balanced CE"
    }
    return {"half of the epochs": shorter, "U weighs 1.5 times as much": heavier}


def fit(stack: list[MoonsRun], device: str = "cpu", *, watch: bool = False) -> TrainedMoons:
    """Train runs that share ``stack()`` as one stack.

    With ``watch``, ``history.epochs`` holds the share of the training points that each network
    calls positive, (S,) an epoch.
    """
    first = stack[0]
    splits = [data.moons(run.seed, noise=run.noise) for run in stack]
    observed = np.stack([_observe(run, split) for run, split in zip(stack, splits, strict=True)])
    targets = torch.from_numpy(observed).to(device)
    inputs = torch.from_numpy(np.stack([split.train_inputs for split in splits])).to(device)
    model = models.MLP(SIZES, [run.seed for run in stack], bias_std=1.0).to(device)
    loss = losses.build(
        first.loss, kept=first.kept, prior=0.5, num_classes=2, fade_in=first.fade_in
    ).to(device)
    ratio = torch.tensor([run.weight_ratio for run in stack], device=device)
    history = train.fit(
        model,
        inputs,
        targets,
        loss,
        epochs=first.epochs,
        batch_size=BATCH_SIZE,
        learning_rate=first.learning_rate,
        weight_ratio=ratio,
        on_epoch=(lambda epoch: (model(inputs).argmax(-1) == 1).float().mean(1)) if watch else None,
    )
    return TrainedMoons(model, splits, targets, loss, history)


# Figure 3 of the draft (notebook of 2017-07): kept, loss, share of the balanced ratio, rate
FIGURE3 = {
    "complete, cross-entropy": (1.0, "cross_entropy", None, 5e-3),
    "half labelled, cross-entropy": (0.5, "cross_entropy", None, 2e-2),
    "half labelled, weighted": (0.5, "weighted", 0.5, 1e-2),
    "half labelled, exponential": (0.5, "exponential", 1.0, 5e-2),
    "half labelled, bootstrap hard": (0.5, "bootstrap_hard", 1.0, 1e-2),
}


def figure3(title: str) -> dict:
    """Train the network of one column of Figure 3 and return its panel for ``figures``."""
    kept, loss, balance, learning_rate = FIGURE3[checks.choice("title", title, FIGURE3)]
    ratio = _ratio(balance, kept)
    run = MoonsRun(loss=loss, kept=kept, weight_ratio=ratio, learning_rate=learning_rate)
    return panel(run, title)


def panel(run: MoonsRun, title: str) -> dict:
    """Train a run and return what ``figures.moons_grid`` draws.

    The size of a marker is the weighted loss of its example, or the absolute derivative of the loss
    by the logit of the observed label.
    """
    trained = fit([run])
    inputs = torch.tensor(trained.splits[0].train_inputs)
    logits = trained.model(inputs[None])[0].detach().requires_grad_()
    loss = losses.with_balance(trained.loss, run.weight_ratio)
    values = loss.per_example(logits, trained.observed[0])
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    return {
        "title": title,
        "points": inputs.numpy(),
        "observed": trained.observed[0].numpy(),
        "true": trained.splits[0].train_labels,
        "loss": values.detach().numpy(),
        "slope": gradient.gather(1, trained.observed[0][:, None])[:, 0].abs().numpy(),
        "probability": lambda points: models.positive_probability(trained.model, points)[0],
    }


def compute(stack: list[MoonsRun], device: str) -> list[dict | Exception]:
    """Train a stack and score every network on its test points; see ``experiments.compute``."""
    trained = fit(stack, device)
    inputs = np.stack([split.test_inputs for split in trained.splits])
    true = np.stack([split.test_labels for split in trained.splits])
    with torch.no_grad():
        logits = trained.model(torch.from_numpy(inputs).to(device)).cpu().double().numpy()
    results = []
    for i in range(len(stack)):
        failed = trained.history.failure(i, trained.loss)
        if failed:
            results.append(failed)
            continue
        predicted = logits[i].argmax(-1)
        scores = metrics.detection(metrics.confusion_matrix(true[i], predicted, 2))
        scores["auc"] = metrics.auc(logits[i, :, 1] - logits[i, :, 0], true[i] == 1)
        results.append({"metrics": {"last": scores}})
    return results


def _observe(run: MoonsRun, split: Split) -> np.ndarray:
    mask = rng.generator(run.seed, "annotation")
    return noise.missing(split.train_labels, 1 - run.kept, rng=mask).labels
