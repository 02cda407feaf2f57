"""Label noise on units: what an annotator gets wrong, one whole image or instance at a time.

The draft's section 3 names three errors, and they are the verbs here: ``missing`` (k -> 0, the
draft's inexhaustive annotation), ``misannotated`` (0 -> k) and ``misclassified`` (i -> j). The
fourth, ``subsample``, annotates fewer units but each correctly (the draft's 50 % (P+N)). Every verb
takes a vector of unit labels, 0 for background, 1..K for the categories and 255 for void, and
draws its flips once: the result is the data set that a network is then trained on. ``paint`` turns
labelled instances back into a mask.
"""

from dataclasses import dataclass

import numpy as np

from nbkit import checks
from nbkit.checks import VOID
from nbkit.data.segmented import paint as paint


@dataclass(frozen=True)
class Noisy:
    """Labels after an annotation error.

    Attributes
    ----------
    labels : (N,) int64 array
        The observed labels: 0..K, or 255 for void.
    flipped : (N,) bool array
        Which units carry another label than before.
    transition : (C, C) float64 array
        The realised row-stochastic matrix, ``transition[i, j]`` = share of the units of class i
        that are now labelled j; void units count nowhere, and an absent class keeps its row of
        the identity.
    """

    labels: np.ndarray
    flipped: np.ndarray
    transition: np.ndarray


def transition_matrix(before: np.ndarray, after: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the realised transition matrix between two labellings of the same units.

    Parameters
    ----------
    before, after : (N,) integer arrays
        Labels 0..num_classes-1, or 255 for void; a unit that is void in either counts nowhere.
    num_classes : int
        C = K + 1, background included.

    Returns
    -------
    (C, C) float64 array
        Rows sum to one; the row of a class without units is that of the identity.

    Raises
    ------
    ValueError
        If the two differ in length or are empty, for another shape or dtype, a label outside its
        range, or ``num_classes`` outside 2..255.
    """
    before, after = checks.labels(before, num_classes), checks.labels(after, num_classes)
    if before.shape != after.shape:
        raise ValueError(f"before and after differ in length: {before.size} and {after.size}")
    both = (before != VOID) & (after != VOID)
    pairs = before[both].astype(np.int64) * num_classes + after[both]
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return row_stochastic(counts)


def row_stochastic(counts: np.ndarray) -> np.ndarray:
    """Divide a table of counts, (C, C') by true and observed class, by the sums of its rows.

    An empty row becomes that of the identity, or, if there is no observed class of its number, says
    class 0.
    """
    same = np.eye(*counts.shape)
    same[counts.shape[1] :, 0] = 1
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.where(totals > 0, totals, 1), same)


def missing(
    labels: np.ndarray,
    rate: float,
    *,
    rng: np.random.Generator,
    difficulty: np.ndarray | None = None,
) -> Noisy:
    """Leave positives unlabelled: k -> 0 (the draft's inexhaustive annotation).

    Parameters
    ----------
    labels : (N,) integer array
        Unit labels, 0..K or 255.
    rate : float
        Share of the positives that lose their label, in [0, 1); 1 - rate is ``kept``.
    rng : numpy.random.Generator
    difficulty : (N,) float array, optional
        Larger is harder to annotate. Without it every positive goes missing independently with
        probability ``rate`` (selected completely at random, SCAR). With it the hardest
        ``round(rate * positives)`` go missing, ties broken at random.

    Raises
    ------
    ValueError
        If there is no positive, or none would keep its label.

    Examples
    --------
    >>> noisy = missing(np.array([0, 1, 2, 1, 255]), 0.5, rng=np.random.default_rng(0))
    >>> noisy.labels.tolist(), noisy.flipped.tolist()
    ([0, 1, 0, 0, 255], [False, False, True, True, False])
    """
    before, rng = checks.labels(labels), checks.numpy_generator(rng)
    rate = checks.fraction("rate", rate)
    positives = np.flatnonzero((before > 0) & (before != VOID))
    if positives.size == 0:
        raise ValueError("labels hold no positive (1..K): nothing can go missing")
    if difficulty is None:
        lost = positives[rng.random(positives.size) < rate]
    else:
        difficulty = _per_unit("difficulty", difficulty, before, "f")
        order = np.lexsort((rng.random(positives.size), -difficulty[positives]))
        lost = positives[order[: round(rate * positives.size)]]
    if lost.size == positives.size:
        raise ValueError(
            f"rate {rate:g} dropped all {positives.size} positives; choose a smaller rate (or a "
            "larger kept): nothing can be learned without a labelled positive"
        )
    after = before.astype(np.int64)
    after[lost] = 0
    return _noisy(before, after, _classes(before))


def misclassified(
    labels: np.ndarray, rate: float, num_classes: int, *, rng: np.random.Generator
) -> Noisy:
    """Give positives another category: i -> j, j uniform over the other categories.

    Parameters
    ----------
    labels : (N,) integer array
        Unit labels, 0..num_classes-1 or 255.
    rate : float
        Probability that a positive changes its category, in [0, 1]. A completely random category
        (the draft's RandomCategory) is rate (K - 1) / K.
    num_classes : int
        K + 1, at least 3: one category alone cannot be confused.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        For labels of another shape or dtype, none at all or one outside its range, a rate outside
        [0, 1], ``num_classes`` outside 3..255, or an ``rng`` that is no NumPy generator.
    """
    checks.classes(num_classes, least=3)
    before, rng = checks.labels(labels, num_classes), checks.numpy_generator(rng)
    rate = checks.fraction("rate", rate)
    positive = (before > 0) & (before != VOID)
    flip = positive & (rng.random(before.size) < rate)
    shift = rng.integers(1, num_classes - 1, size=before.size)  # 1..K-1 steps round the categories
    after = before.astype(np.int64)
    after[flip] = (after[flip] - 1 + shift[flip]) % (num_classes - 1) + 1
    return _noisy(before, after, num_classes)


def misannotated(
    labels: np.ndarray,
    rate: float,
    num_classes: int,
    *,
    rng: np.random.Generator,
    candidates: np.ndarray | None = None,
) -> Noisy:
    """Annotate non-targets as targets: 0 -> k, k uniform over the categories.

    Parameters
    ----------
    labels : (N,) integer array
        Unit labels, 0..num_classes-1 or 255.
    rate : float
        Probability that a candidate is annotated, in [0, 1].
    num_classes : int
        K + 1.
    rng : numpy.random.Generator
    candidates : (N,) bool array, optional
        The class-0 units that an annotator may take for a target (distractors); all by default.

    Raises
    ------
    ValueError
        For labels or candidates of another shape or dtype, no label or one outside its range, a
        rate outside [0, 1], ``num_classes`` outside 2..255, or an ``rng`` that is no NumPy
        generator.
    """
    checks.classes(num_classes)
    before, rng = checks.labels(labels, num_classes), checks.numpy_generator(rng)
    rate = checks.fraction("rate", rate)
    may = before == 0
    if candidates is not None:
        may &= _per_unit("candidates", candidates, before, "b")
    flip = may & (rng.random(before.size) < rate)
    category = rng.integers(1, num_classes, size=before.size)
    after = np.where(flip, category, before.astype(np.int64))
    return _noisy(before, after, num_classes)


def subsample(labels: np.ndarray, kept: float, *, rng: np.random.Generator) -> Noisy:
    """Annotate only a share of the units, each correctly; the others become void (255).

    Parameters
    ----------
    labels : (N,) integer array
        Unit labels, 0..K or 255.
    kept : float
        Probability that a unit, positive or negative, is annotated at all, in (0, 1].
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If a class that was there has no unit left.
    """
    before, rng = checks.labels(labels), checks.numpy_generator(rng)
    kept = checks.fraction("kept", kept, low_open=True)
    after = np.where(rng.random(before.size) < kept, before.astype(np.int64), VOID)
    gone = np.setdiff1d(before, np.append(after, VOID))
    if gone.size:
        raise ValueError(f"kept {kept:g} left class(es) {gone.tolist()} empty; keep more units")
    return _noisy(before, after, _classes(before))


def _noisy(before: np.ndarray, after: np.ndarray, num_classes: int) -> Noisy:
    return Noisy(after, after != before, transition_matrix(before, after, num_classes))


def _classes(labels: np.ndarray) -> int:
    known = labels[labels != VOID]
    return max(2, int(known.max(initial=0)) + 1)


def _per_unit(name: str, values: np.ndarray, units: np.ndarray, kind: str) -> np.ndarray:
    array = np.asarray(values)
    if kind == "f":
        array = array.astype(float)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite numbers")
    if array.shape != units.shape or array.dtype.kind != kind:
        raise ValueError(
            f"{name} must be one value a unit, {units.shape}, got {array.dtype} {array.shape}"
        )
    return array
