"""The threshold calculus, measured: train on PU labels of Gaussians whose posterior is known."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from nbkit import checks, data, losses, models, noise, presets, rng, runs, train


@dataclass(frozen=True, kw_only=True)
class ThresholdRun(runs.Run):
    """One network on one sample of two Gaussians with missing labels.

    Parameters
    ----------
    loss : str
        Name, or name(key=value, ...), as in ``losses.parse``.
    kept : float
        Share of positives that keep their label, in (0, 1].
    weight_ratio : float
        w_U / w_P, for the separable losses.
    prior : float
        Share of positives, in (0, 1).
    assumed_prior : float
        What a PU risk is told.
    examples, epochs : int
    seed : int
    """

    experiment: ClassVar[str] = "thresholds"
    version: ClassVar[int] = 1
    free: ClassVar[tuple[str, ...]] = ("weight_ratio", "seed")
    loss: str = "cross_entropy"
    kept: float = 0.5
    weight_ratio: float = 1.0
    prior: float = 0.5
    assumed_prior: float = 0.5
    examples: int = 40000
    epochs: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.fraction("kept", self.kept, low_open=True)
        loss = losses.checked(self.loss, weight_ratio=self.weight_ratio)
        object.__setattr__(self, "loss", loss)
        for name in ("prior", "assumed_prior"):
            checks.fraction(name, getattr(self, name), low_open=True, high_open=True)
        checks.count("examples", self.examples, least=100)
        checks.count("epochs", self.epochs)

    def data_fingerprint(self) -> str:
        return "gaussians-1"


STACK_LIMIT = 64
DISTANCE = 2.0
BATCH_SIZE = 4000  # Dist-PU compares means of a batch, and noise in them moves its threshold
KEPT = (0.5, 0.8)
# what uPU and nnPU are told of a prior of 1/2; above it the correction of nnPU wakes up
TOLD = (0.35, 0.4, 0.5)

# the risk of VPU leaves the scale of phi open; a light mixup fixes it without bending phi
LIGHT_VPU = "vpu(mixup_weight=0.006)"

# weight ratios that put the threshold of each loss inside the data, by labelled fraction
RATIOS = {
    ("cross_entropy", "gce", "symmetric_ce", "bootstrap_soft", "entropy_min"): {
        0.5: (0.2, 1 / 3, 0.5),
        0.8: (0.3, 2 / 3, 1.0),
    },
    ("exponential", "bootstrap_hard"): {0.5: (1 / 3, 2 / 3, 1.0), 0.8: (0.6, 4 / 3, 2.0)},
    ("bootstrap_hard_as_run",): {0.5: (0.2, 1 / 3, 0.5), 0.8: (0.3, 2 / 3, 1.0)},
    ("forward",): {0.5: (0.5, 1.0, 1.5), 0.8: (0.5, 1.0, 1.5)},
    ("backward",): {0.5: (1.0, 1.2, 1.5), 0.8: (1.0, 1.2, 1.5)},  # unbounded below 1
}


def grid(preset: str) -> dict[tuple[str, float, float, int], ThresholdRun]:
    """Return the runs by (loss, kept, weight ratio or assumed prior, seed).

    Those of ``limits``, where the calculus is not meant to hold, stand at the end.
    """
    kinds = {}
    for names, by_kept in RATIOS.items():
        for name, (kept, ratios) in itertools.product(names, by_kept.items()):
            for ratio in (round(ratio, 4) for ratio in ratios):
                kinds[name, kept, ratio] = {"loss": name, "weight_ratio": ratio}
    for name, kept, prior in itertools.product(("upu", "nnpu"), KEPT, TOLD):
        kinds[name, kept, prior] = {"loss": name, "assumed_prior": prior}
    specs = {"vpu": LIGHT_VPU, "dist_pu": "dist_pu"}
    for name, kept, prior in itertools.product(specs, KEPT, (0.3, 0.5, 0.7)):
        kinds[name, kept, prior] = {"loss": specs[name], "prior": prior, "assumed_prior": prior}
    return _runs(preset, kinds) | limits(preset)


def limits(preset: str) -> dict[tuple[str, float, float, int], ThresholdRun]:
    """Return runs of settings that leave what the calculus assumes, by the names of ``grid``."""
    kinds = {
        ("backward", 0.5, 0.5): {"loss": "backward", "weight_ratio": 0.5},
        ("nnpu", 0.5, 0.65): {"loss": "nnpu", "assumed_prior": 0.65},
        ("vpu(mixup_weight=0.03)", 0.5, 0.5): {"loss": "vpu"},
        ("vpu(mixup_weight=0.3)", 0.5, 0.5): {"loss": "vpu(mixup_weight=0.3)"},
    }
    return _runs(preset, kinds)


def _runs(preset: str, kinds: Mapping[tuple[str, float, float], dict]) -> dict[tuple, ThresholdRun]:
    size = presets.sizes(preset, "thresholds")
    return {
        (name, kept, value, seed): ThresholdRun(
            kept=kept, examples=size["examples"], epochs=size["epochs"], seed=seed, **kind
        )
        for seed in range(size["seeds"])
        for (name, kept, value), kind in kinds.items()
    }


def closed_form(run: ThresholdRun) -> float:
    """Return the threshold that the calculus gives a run."""
    name, hyper = losses.parse(run.loss)
    posterior = None
    if name in ("nnpu", "vpu", "dist_pu"):  # the ones that depend on the distribution
        draw = rng.generator(0, "calculus")
        drawn = data.gaussians(100_000, prior=run.prior, distance=DISTANCE, rng=draw)
        posterior = drawn.posterior
    return losses.threshold(
        name,
        kept=run.kept,
        weight_ratio=run.weight_ratio,
        assumed_kept=hyper.get("kept"),
        beta=hyper.get("beta", 0.5),
        prior=run.prior,
        assumed_prior=hyper.get("prior", run.assumed_prior),
        imbalanced=hyper.get("imbalanced", False),
        pooled=hyper.get("setting") != "two_sample",
        posterior=posterior,
    )


def compute(stack: list[ThresholdRun], device: str) -> list[dict | Exception]:
    """Train a stack and measure each network's threshold; see ``experiments.compute``."""
    first = stack[0]
    inputs, observed = [], []
    for run in stack:
        draw = rng.generator(run.seed, "points")
        drawn = data.gaussians(run.examples, prior=run.prior, distance=DISTANCE, rng=draw)
        mask = rng.generator(run.seed, "annotation")
        inputs.append(drawn.inputs[:, :1])
        observed.append(noise.missing(drawn.labels, 1 - run.kept, rng=mask).labels)
    # the second coordinate carries no information: without it the boundary is one point
    model = models.MLP((1, 16, 2), [run.seed for run in stack]).to(device)
    loss = losses.build(first.loss, kept=first.kept, prior=first.assumed_prior, num_classes=2)
    history = train.fit(
        model,
        torch.from_numpy(np.stack(inputs)).to(device),
        torch.from_numpy(np.stack(observed)).to(device),
        loss.to(device),
        epochs=first.epochs,
        batch_size=BATCH_SIZE,
        learning_rate=0.02,
        schedule="one_cycle",
        weight_ratio=torch.tensor([run.weight_ratio for run in stack], device=device),
    )
    posterior = (np.arange(1000) + 0.5) / 1000
    points = torch.from_numpy(np.stack([_place(posterior, run.prior) for run in stack]))
    with torch.no_grad():
        positive = (model(points.to(device)).argmax(-1) == 1).cpu().numpy()
    return [
        history.failure(i, loss)
        or {"metrics": {"last": {"threshold": best_cut(posterior, positive[i])}}}
        for i in range(len(stack))
    ]


def panel(drawn: data.Gaussians, observed: np.ndarray, spec: str, title: str) -> dict:
    """Train one 2-8-8-2 network on PU labels of Gaussians and return it for ``figures``.

    Parameters
    ----------
    drawn : data.Gaussians
    observed : (N,) int64 array
        PU labels.
    spec, title : str
        The loss, and the heading of the panel.
    """
    model = models.MLP((2, 8, 8, 2), [0])
    loss = losses.build(spec, kept=0.5, prior=0.5, num_classes=2)
    train.fit(
        model,
        torch.from_numpy(drawn.inputs),
        torch.from_numpy(observed)[None],
        loss,
        epochs=200,
        batch_size=100,
        learning_rate=5e-3,
    )
    return {
        "title": title,
        "points": drawn.inputs,
        "observed": observed,
        "true": drawn.labels,
        "probability": lambda points: models.positive_probability(model, points)[0],
    }


def _place(posterior: np.ndarray, prior: float) -> np.ndarray:
    """Return the points, (N, 1) float32, that have the given posteriors."""
    logit = np.log(posterior / (1 - posterior)) - np.log(prior / (1 - prior))
    return (logit / DISTANCE).astype(np.float32)[:, None]


def best_cut(posterior: np.ndarray, positive: np.ndarray) -> float:
    """Return the cut t for which "posterior >= t" agrees best with the decisions.

    Parameters
    ----------
    posterior : (N,) float array
    positive : (N,) bool array

    Returns
    -------
    float
        The middle of the best interval between two neighbours, 0 and 1 being neighbours too.
    """
    order = np.argsort(posterior)
    value, decision = posterior[order], positive[order].astype(int)
    wrong_below = np.concatenate([[0], np.cumsum(decision)])
    wrong_above = (1 - decision).sum() - np.concatenate([[0], np.cumsum(1 - decision)])
    best = int(np.argmin(wrong_below + wrong_above))
    edges = np.concatenate([[0.0], value, [1.0]])
    return float((edges[best] + edges[best + 1]) / 2)
