"""Checks of the exercises: each says what is wrong, and keeps the answer to itself.

A check probes the behaviour of an answer (its value at special points, its effect on training), so
that reading this file gives less away than thinking does.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from nbkit import losses, rng, statistics
from nbkit.exercises.answers import (
    NotYetError,
    called,
    check,
    enough,
    given,
    number,
    numbers,
    tried,
)
from nbkit.experiments import moons


@check
def never_positive(answer: float | None) -> None:
    """01 warm-up: the labelled share at which unweighted Exponential stops finding positives."""
    kept = number(answer)
    if not 0 < kept < 1:
        raise NotYetError("a labelled share lies between 0 and 1")
    threshold = losses.threshold("exponential", kept=kept)
    if abs(threshold - 1) > 0.02:
        raise NotYetError(f"at {kept:.3f} the loss asks for a posterior of {threshold:.3f}, not 1")


@check
def unlabelled_gradient(answer: Callable | None) -> None:
    """01 core: derivative of 1 - p_0 by the K + 1 logits."""
    draw = rng.generator(0, "exercise")
    step = 1e-6
    for size in (2, 3, 5):
        z = draw.normal(size=size)
        slopes = numbers(called(answer, z.copy()), z.shape, "a gradient, one entry a logit")
        if abs(slopes.sum()) > 1e-8:
            raise NotYetError("adding a constant to all logits changes nothing: the sum is 0")
        for k in range(size):
            moved = z + step * np.eye(size)[k]
            slope = (_unlabelled_loss(moved) - _unlabelled_loss(z)) / step
            if abs(slope - slopes[k]) > 1e-4:
                raise NotYetError(
                    f"with {size} logits, entry {k} is off: a finite difference disagrees"
                )


def _unlabelled_loss(z: np.ndarray) -> float:
    p = np.exp(z - z.max())
    return float(1 - p[0] / p.sum())


@check
def misjudged_prior(answer: Callable | None) -> None:
    """01 open: balanced weights from labels alone, when part of U is positive."""
    for kept in (0.2, 0.5, 0.9):
        for prior in (0.1, 0.5, 0.8):
            ratio = number(called(answer, prior * kept / (1 - prior * kept), prior), "a ratio")
            reached = tried(losses.threshold, "weighted", kept=kept, weight_ratio=ratio)
            if abs(reached - 0.5) > 1e-6:
                raise NotYetError(
                    f"with prior {prior} and {kept:.0%} labelled your ratio decides at "
                    f"{reached:.3f}, not at 1/2"
                )


@check
def collapse(answer: float | None, frame: pd.DataFrame, row: str, level: float = 0.55) -> None:
    """02 warm-up: the smallest missing share at which the mean score falls below ``level``."""
    given(answer)
    own = frame[frame["row"] == row]
    enough(own["balanced_accuracy"].notna().all(), "nbkit sweep moons --preset laptop")
    means = own.groupby("missing")["balanced_accuracy"].mean()
    if not (means < level).any():
        raise NotYetError(f"{row} never falls below {level} in these runs: take preset laptop")
    missing = number(answer)
    if round(missing, 3) not in means.index.round(3):
        raise NotYetError(f"the sweep has the shares {means.index.tolist()}")
    reached = means[np.isclose(means.index, missing)].iloc[0]
    if reached >= level:
        raise NotYetError(f"at {missing:g} {row} still reaches {reached:.3f}")
    if (means[means.index < missing - 1e-9] < level).any():
        raise NotYetError("it has collapsed before that")


@check
def balanced(answer: Callable | None) -> None:
    """02 core: the balanced ratio w_U / w_P, from a vector of observed labels."""
    for positives, unlabelled in ((1, 1), (94, 306), (10, 390)):
        ratio = number(called(answer, np.repeat([1, 0], [positives, unlabelled])), "a ratio")
        if not np.isclose(unlabelled * ratio, positives):
            raise NotYetError(
                f"with {positives} P and {unlabelled} U, all of U weighs "
                f"{unlabelled * ratio / positives:.2f} times as much as all of P"
            )


@check
def rescue(answer: dict | None, *, kept: float = 0.2, level: float = 0.85, seeds: int = 10) -> None:
    """02 open: a run whose mean balanced accuracy reaches ``level`` with few labels left."""
    four = ("loss", "weight_ratio", "learning_rate", "epochs")
    if not isinstance(given(answer), dict) or not {*answer} <= {*four}:
        raise NotYetError(f"expected a dictionary of {', '.join(four)} alone")
    stack = [tried(moons.MoonsRun, kept=kept, seed=100 + seed, **answer) for seed in range(seeds)]
    results = tried(moons.compute, stack, "cpu")
    failed = [result for result in results if isinstance(result, Exception)]
    if failed:
        raise NotYetError(str(failed[0]))
    mean = np.mean([result["metrics"]["last"]["balanced_accuracy"] for result in results])
    if mean < level:
        raise NotYetError(f"it reaches {mean:.3f} over {seeds} new seeds, and {level} is wanted")


@check
def recall(answer: float | None, matrix: np.ndarray, category: int) -> None:
    """03 warm-up: the recall of one class, read off a confusion matrix."""
    value = number(answer)
    if not 0 <= value <= 1:
        raise NotYetError("a recall lies between 0 and 1")
    if abs(value * matrix[category].sum() - matrix[category, category]) > 0.5:
        column = matrix[:, category].sum()
        if column and abs(value * column - matrix[category, category]) <= 0.5:
            raise NotYetError("that is the precision: it divides by what was predicted")
        raise NotYetError("it does not give back the number of hits of that class")


@check
def proxy(answer: Callable | None) -> None:
    """03 core: accuracy from PU labels alone."""
    draw = rng.generator(1, "exercise")
    for kept, tolerance in ((1.0, 1e-9), (0.5, 0.02)):
        true = draw.integers(0, 4, 20000)
        predicted = np.where(draw.random(20000) < 0.7, true, draw.integers(0, 4, 20000))
        observed = np.where((true > 0) & (draw.random(20000) >= kept), 0, true)
        prior = float((true > 0).mean())
        estimate = number(called(answer, predicted, observed, prior), "an accuracy")
        gap = estimate - float((predicted == true).mean())
        if abs(gap) > tolerance:
            raise NotYetError(f"with {kept:.0%} of the positives labelled it is off by {gap:+.3f}")


@check
def price(answer: float | None, seen: pd.Series, true: pd.Series) -> None:
    """03 open: what choosing a row by its score on PU labels costs in true accuracy.

    Parameters
    ----------
    answer : float
    seen, true : Series
        Score by row that the choice is made by, and the accuracy that it gets.
    """
    cost = number(answer)
    if not 0 <= cost <= true.max() - true.min():
        raise NotYetError("it lies between 0 and what separates the best row from the worst")
    if abs(cost - (true.max() - true[seen.idxmax()])) > 1.5e-3:
        raise NotYetError("choose by the first column alone, and only then look at the second")


@check
def survivors(answer: float | None, p: list[float], level: float = 0.05) -> None:
    """04 warm-up: how many p-values stay below a level after Holm's correction."""
    count = number(answer)
    if count == (statistics.holm(np.array(p)) < level).sum():
        return
    if count == (len(p) * np.array(p) < level).sum():
        raise NotYetError(
            "multiplying each by their number is Bonferroni's rule, which is stricter"
        )
    products = np.sort(p) * np.arange(len(p), 0, -1)
    if count == (products < level).sum():
        raise NotYetError("right products; but after the first that fails, no larger p can hold")
    raise NotYetError("sort them; each is multiplied by how many are left, itself included")


@check
def paired_interval(answer: Callable | None) -> None:
    """04 core: confidence interval of a paired difference."""
    draw = rng.generator(2, "exercise")
    for seeds in (3, 5, 12):
        base = draw.normal(0.7, 0.1, seeds)
        first, second = base + draw.normal(0.01, 0.01, seeds), base
        low, high = numbers(called(answer, first, second), (2,), "both ends of the interval")
        mean, *ends, _ = statistics.interval(first - second)
        if low > high:
            raise NotYetError("the low end comes first")
        if not np.isclose((low + high) / 2, mean):
            raise NotYetError("the middle of the interval is the mean difference")
        if not np.allclose((low, high), ends):
            share = (high - low) / (ends[1] - ends[0])
            raise NotYetError(
                f"with {seeds} seeds your interval is {share:.2f} times as wide as it should be"
            )


@check
def enough_seeds(answer: float | None, differences: pd.Series, half: float) -> None:
    """04 open: a number of seeds that makes an interval narrow enough, and not much narrower."""
    given(answer)
    spread = float(np.std(differences, ddof=1))
    enough(np.isfinite(spread), "nbkit sweep classification --preset laptop")
    seeds = number(answer)
    if seeds < 2 or seeds != int(seeds):
        raise NotYetError("an interval needs a whole number of seeds, at least two")
    reached = statistics.half_width(spread, int(seeds))
    if reached > half:
        raise NotYetError(f"with {seeds:.0f} seeds it reaches ± {reached:.4f}, wanted is ± {half}")
    if seeds > 3 and statistics.half_width(spread, int(seeds) // 2) <= half:
        raise NotYetError("half as many would do")
