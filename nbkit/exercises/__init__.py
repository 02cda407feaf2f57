"""Checks of the exercises: each says what is wrong, and keeps the answer to itself.

A check probes the behaviour of an answer (its value at special points, its effect on training), so
that reading this file gives less away than thinking does.
"""

from collections.abc import Callable

import numpy as np

from nbkit import losses, rng, statistics
from nbkit.experiments import moons

Answer = Callable | float | str | dict | None
TODO = "Not answered yet: fill in the cell above and run both again."


def verdict(problem: str | None) -> None:
    """Print whether an answer holds, or what is wrong with it."""
    print("Right." if problem is None else f"Not yet: {problem}")


def check_number(answer: float | None, wrong: Callable[[float], str | None]) -> None:
    """Check a number by a function that returns what is wrong with it, or None."""
    if answer is None or answer is ...:
        print(TODO)
    elif isinstance(answer, bool) or not isinstance(answer, (int, float, np.number)):
        verdict(f"expected a number, got {type(answer).__name__}")
    else:
        verdict(wrong(float(answer)))


def never_positive(answer: float | None) -> None:
    """01 warm-up: the labelled share at which unweighted Exponential stops finding positives."""

    def wrong(kept: float) -> str | None:
        if not 0 < kept < 1:
            return "a labelled share lies between 0 and 1"
        threshold = losses.threshold("exponential", kept=kept)
        if abs(threshold - 1) > 0.005:
            return f"at {kept:.3f} the loss asks for a posterior of {threshold:.3f}, not of 1"
        return None

    check_number(answer, wrong)


def unlabelled_gradient(answer: Callable | None) -> None:
    """01 core: derivative of 1 - p_0 by the K + 1 logits."""
    draw = rng.generator(0, "exercise")
    step = 1e-6
    for size in (2, 3, 5):
        z = draw.normal(size=size)
        given = answer(z) if callable(answer) else None
        if given is None or given is ...:
            print(TODO)
            return
        given = np.asarray(given, dtype=float)
        if given.shape != z.shape:
            verdict(f"for {size} logits the gradient has {size} entries, got shape {given.shape}")
            return
        if abs(given.sum()) > 1e-8:
            verdict("adding a constant to all logits changes nothing, so the entries sum to 0")
            return
        for k in range(size):
            moved = z + step * np.eye(size)[k]
            slope = (_unlabelled_loss(moved) - _unlabelled_loss(z)) / step
            if abs(slope - given[k]) > 1e-4:
                verdict(f"with {size} logits, entry {k} is off: a finite difference disagrees")
                return
    verdict(None)


def _unlabelled_loss(z: np.ndarray) -> float:
    p = np.exp(z - z.max())
    return float(1 - p[0] / p.sum())


def misjudged_prior(answer: Callable | None) -> None:
    """01 open: balanced weights from labels alone, when part of U is positive."""
    for kept in (0.2, 0.5, 0.9):
        for prior in (0.1, 0.5, 0.8):
            ratio = answer(prior * kept / (1 - prior * kept), prior) if callable(answer) else None
            if ratio is None or ratio is ...:
                print(TODO)
                return
            reached = losses.threshold("weighted", kept=kept, weight_ratio=float(ratio))
            if abs(reached - 0.5) > 1e-6:
                verdict(
                    f"with prior {prior} and {kept:.0%} labelled your ratio decides at "
                    f"{reached:.3f}, not at 1/2"
                )
                return
    verdict(None)


def collapse(answer: float | None, frame, row: str, level: float = 0.55) -> None:
    """02 warm-up: the smallest missing share at which the mean score falls below ``level``."""

    def wrong(missing: float) -> str | None:
        means = frame[frame["row"] == row].groupby("missing")["balanced_accuracy"].mean()
        if round(missing, 3) not in means.index.round(3):
            return f"the sweep has the shares {means.index.tolist()}"
        reached = means[np.isclose(means.index, missing)].iloc[0]
        if reached >= level:
            return f"at {missing:g} {row} still reaches {reached:.3f}"
        if (means[means.index < missing - 1e-9] < level).any():
            return "it has collapsed before that"
        return None

    check_number(answer, wrong)


def balanced(answer: Callable | None) -> None:
    """02 core: the balanced ratio w_U / w_P, from a vector of observed labels."""
    for positives, unlabelled in ((1, 1), (94, 306), (10, 390)):
        observed = np.repeat([1, 0], [positives, unlabelled])
        ratio = answer(observed) if callable(answer) else None
        if ratio is None or ratio is ...:
            print(TODO)
            return
        total = unlabelled * float(ratio), positives
        if not np.isclose(*total):
            verdict(
                f"with {positives} P and {unlabelled} U, all of U weighs {total[0] / total[1]:.2f} "
                "times as much as all of P"
            )
            return
    verdict(None)


def rescue(answer: dict | None, *, kept: float = 0.2, level: float = 0.85, seeds: int = 10) -> None:
    """02 open: a run whose mean balanced accuracy reaches ``level`` with few labels left."""
    if answer is None or answer is ...:
        print(TODO)
        return
    try:
        stack = [moons.MoonsRun(kept=kept, seed=100 + seed, **answer) for seed in range(seeds)]
        results = moons.compute(stack, "cpu")
    except (TypeError, ValueError) as error:
        verdict(str(error))
        return
    failed = [result for result in results if isinstance(result, Exception)]
    if failed:
        verdict(str(failed[0]))
        return
    scores = [result["metrics"]["last"]["balanced_accuracy"] for result in results]
    mean = float(np.mean(scores))
    short = f"it reaches {mean:.3f} over {seeds} new seeds, and {level} is wanted"
    verdict(None if mean >= level else short)


def recall(answer: float | None, matrix: np.ndarray, category: int) -> None:
    """03 warm-up: the recall of one class, read off a confusion matrix."""

    def wrong(value: float) -> str | None:
        if not 0 <= value <= 1:
            return "a recall lies between 0 and 1"
        if abs(value * matrix[category].sum() - matrix[category, category]) > 0.5:
            column = matrix[:, category].sum()
            if column and abs(value * column - matrix[category, category]) <= 0.5:
                return "that is the precision: it divides by what was predicted"
            return "it does not give back the number of hits of that class"
        return None

    check_number(answer, wrong)


def proxy(answer: Callable | None) -> None:
    """03 core: accuracy from PU labels alone."""
    draw = rng.generator(1, "exercise")
    for kept, tolerance in ((1.0, 1e-9), (0.5, 0.02)):
        true = draw.integers(0, 4, 20000)
        predicted = np.where(draw.random(20000) < 0.7, true, draw.integers(0, 4, 20000))
        observed = np.where((true > 0) & (draw.random(20000) >= kept), 0, true)
        given = answer(predicted, observed, float((true > 0).mean())) if callable(answer) else None
        if given is None or given is ...:
            print(TODO)
            return
        gap = float(given) - float((predicted == true).mean())
        if abs(gap) > tolerance:
            verdict(f"with {kept:.0%} of the positives labelled it is off by {gap:+.3f}")
            return
    verdict(None)


def choose(answer: str | None, frame, criterion: str = "proxy_accuracy") -> None:
    """03 open: the row a practitioner with PU labels alone would have chosen."""
    if answer is None or answer is ...:
        print(TODO)
        return
    rows = frame[(frame["annotation"] == "P+U") & (frame["criterion"] == criterion)]
    if answer not in set(rows["row"]):
        verdict(f"expected one of {', '.join(dict.fromkeys(rows['row']))}")
        return
    means = rows.groupby("row")["accuracy"].mean().sort_values(ascending=False)
    better = list(means.index).index(answer)
    verdict(None if better < 3 else f"{better} other rows do better, selected by {criterion}")


def survivors(answer: float | None, p: list[float], level: float = 0.05) -> None:
    """04 warm-up: how many p-values stay below a level after Holm's correction."""

    def wrong(count: float) -> str | None:
        if count == (statistics.holm(np.array(p)) < level).sum():
            return None
        if count == (len(p) * np.array(p) < level).sum():
            return (
                "multiplying each of them by their number is Bonferroni's rule, which is stricter"
            )
        return "sort them; each is multiplied by how many are left, itself included"

    check_number(answer, wrong)


def paired_interval(answer: Callable | None) -> None:
    """04 core: confidence interval of a paired difference."""
    draw = rng.generator(2, "exercise")
    for seeds in (3, 5, 12):
        base = draw.normal(0.7, 0.1, seeds)
        first, second = base + draw.normal(0.01, 0.01, seeds), base
        given = answer(first, second) if callable(answer) else None
        if given is None or given is ...:
            print(TODO)
            return
        low, high = (float(end) for end in given)
        mean, *ends, _ = statistics.interval(first - second)
        if not np.isclose((low + high) / 2, mean):
            verdict("the middle of the interval is the mean difference")
            return
        if not np.allclose((low, high), ends):
            share = (high - low) / (ends[1] - ends[0])
            verdict(
                f"with {seeds} seeds your interval is {share:.2f} times as wide as it should be"
            )
            return
    verdict(None)


def enough_seeds(answer: float | None, differences, half: float) -> None:
    """04 open: a number of seeds that makes an interval narrow enough, and not much narrower."""
    spread = float(np.std(differences, ddof=1))

    def wrong(seeds: float) -> str | None:
        if seeds < 2 or seeds != int(seeds):
            return "an interval needs a whole number of seeds, at least two"
        reached = statistics.half_width(spread, int(seeds))
        if reached > half:
            return f"with {seeds:.0f} seeds it reaches ± {reached:.4f}, and ± {half} is wanted"
        if seeds > 3 and statistics.half_width(spread, int(seeds) // 2) <= half:
            return "half as many would do"
        return None

    check_number(answer, wrong)
