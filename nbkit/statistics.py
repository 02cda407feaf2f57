"""Differences between rows, seed by seed, with confidence intervals and Holm's correction."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from nbkit import checks

LEVEL = 0.95  # of confidence
VERDICTS = {1: "higher", -1: "lower", 0: "not told apart"}


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for how many there are, by Holm's step-down rule.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may fall below the one
    before it, nor exceed 1. Comparing them with alpha keeps the chance of any false discovery in
    the family below alpha. (S. Holm 1979, "A simple sequentially rejective multiple test
    procedure".)

    Parameters
    ----------
    p : (M,) float array
        In [0, 1]; a NaN is no test, does not count and stays NaN.

    Returns
    -------
    (M,) float array

    Raises
    ------
    ValueError
        For a p-value outside [0, 1].

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    if ((p < 0) | (p > 1)).any():
        raise ValueError(f"p-values must be in [0, 1], got {p.tolist()}")
    order = np.argsort(p)  # NaN last
    order = order[: np.isfinite(p).sum()]
    adjusted = np.full(p.shape, np.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def interval(differences: np.ndarray, level: float = LEVEL) -> tuple[float, float, float, float]:
    """Return mean, ends of its confidence interval, and two-sided p of a paired t-test.

    Parameters
    ----------
    differences : (N,) float array
        One a seed; n - 1 degrees of freedom. With fewer than two there is neither interval nor p,
        and of equal ones, which have no spread to measure, p is 0 (1 if they are 0).
    level : float
        Of confidence, in (0, 1).
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return (float(values.mean()) if len(values) else np.nan), np.nan, np.nan, np.nan
    mean, spread = values.mean(), values.std(ddof=1)
    half = half_width(spread, len(values), level)
    with np.errstate(divide="ignore", invalid="ignore"):  # where every seed agrees
        t = abs(mean) / (spread / np.sqrt(len(values)))
    p = 2 * stats.t.sf(t, len(values) - 1)
    return float(mean), float(mean - half), float(mean + half), 1.0 if mean == 0 else float(p)


def half_width(spread: float, n: int, level: float = LEVEL) -> float:
    """Return half the length of the confidence interval of a mean, by Student's t.

    Parameters
    ----------
    spread : float
        Standard deviation (ddof 1) of the values.
    n : int
        How many there are, at least 2.
    level : float
        In (0, 1).

    Raises
    ------
    ValueError
        If ``n`` is no whole number of at least 2, or the level is outside (0, 1).
    """
    checks.count("n", n, least=2)
    checks.fraction("level", level, low_open=True, high_open=True)
    return float(stats.t.ppf((1 + level) / 2, n - 1) * spread / np.sqrt(n))


def paired(
    frame: pd.DataFrame,
    *,
    by: str,
    value: str,
    reference: str,
    pair: Sequence[str] = ("seed",),
    unit: str | None = None,
) -> pd.DataFrame:
    """Compare every row with a reference row, pair by pair.

    Two runs of one seed share what does not differ between the rows: as a rule annotation, held-out
    examples, initial weights and batches. So their difference can be less noisy than that of two
    independent runs. Only pairs that both rows have count.

    Parameters
    ----------
    frame : DataFrame
        One row a run: ``by``, the columns of ``pair`` and ``value``; NaN where a run is not
        finished.
    reference : str
        The row that is subtracted.
    pair : sequence of str
        Columns that two runs of a pair have in common.
    unit : str, optional
        A column of ``pair`` whose groups count as one observation each, the mean of their
        differences: what is said then holds for other such groups too, not for these alone, as
        far as the groups are independent (folds that share training images are not quite).

    Returns
    -------
    DataFrame
        Indexed by the other rows, in their order: ``difference``, ends ``low`` and ``high`` of its
        95 % interval, ``n`` pairs or units, ``p`` (t-test), ``p_holm`` over all rows that have one,
        and ``verdict`` by ``p_holm``. The interval is of the one row, not corrected, and may lie
        off 0 where the verdict is "not told apart".

    Raises
    ------
    ValueError
        If the frame lacks a column or the reference, ``unit`` is not of the pair, or two runs have
        one row and pair.
    """
    checks.columns("by", [by, value], frame.columns)
    pair = checks.columns("pair", pair, frame.columns)
    if unit is not None:
        checks.choice("unit", unit, pair)
    if frame.duplicated([by, *pair]).any():
        raise ValueError(
            f"several runs have the same {by}, {', '.join(pair)}: take one selection criterion, as "
            "frame[frame['criterion'] == 'last'], and name in pair what else tells runs apart"
        )
    if reference not in set(frame[by]):
        there = ", ".join(map(str, frame[by].unique()))
        raise ValueError(f"the reference {reference!r} is no {by} of the frame; there is {there}")
    scores = frame.pivot(index=pair, columns=by, values=value)
    columns = ["difference", "low", "high", "n", "p"]
    rows = {}
    for name in dict.fromkeys(frame[by]):
        if name == reference:
            continue
        differences = (scores[name] - scores[reference]).dropna()
        if unit is not None:
            differences = differences.groupby(level=unit).mean()
        mean, low, high, p = interval(differences.to_numpy())
        rows[name] = mean, low, high, len(differences), p
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis(by)
    return judged(table)


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """Correct the p-values of comparisons for how many there are, and say what is told apart.

    Parameters
    ----------
    table : DataFrame
        Rows of one or several tables of ``paired``: ``difference``, ``n`` and ``p``.

    Returns
    -------
    DataFrame
        With ``p_holm`` and ``verdict`` over all of its rows, old ones replaced.
    """
    table = table.assign(p_holm=holm(table["p"].to_numpy()))
    sure = np.where(table["p_holm"] < 1 - LEVEL, np.sign(table["difference"]), 0)
    verdicts = [
        VERDICTS[int(sign)] if n > 1 else "too few seeds"
        for sign, n in zip(sure, table["n"], strict=True)
    ]
    return table.assign(verdict=verdicts)


def contrasts(
    frame: pd.DataFrame, pairs: Mapping[str, tuple[str, str]], *, by: str, **given: object
) -> pd.DataFrame:
    """Compare named pairs of rows, the second subtracted from the first, corrected together.

    Parameters
    ----------
    frame : DataFrame
        As in ``paired``.
    pairs : mapping
        Name -> two rows; left out if the frame lacks one of them.
    by, **given
        As in ``paired``.

    Returns
    -------
    DataFrame
        The columns of ``paired``, indexed by ``name``, in the order of the pairs.

    Raises
    ------
    ValueError
        If the frame lacks a row of every pair, and as in ``paired``.
    """
    found = {
        name: paired(frame[frame[by].isin([first, second])], by=by, reference=second, **given)
        for name, (first, second) in pairs.items()
        if {first, second} <= set(frame[by])
    }
    if not found:
        raise ValueError(f"the frame has both rows of none of the pairs: {', '.join(pairs)}")
    return judged(pd.concat(found, names=["name"]).droplevel(by))


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of ``paired`` as text, a dash where there are too few seeds."""

    def text(form: str, *values: float) -> str:
        return "–" if np.isnan(values).any() else form.format(*values)

    return pd.DataFrame(
        {
            "difference": [text("{:+.3f}", value) for value in table["difference"]],
            "interval": [
                text("{:+.3f} .. {:+.3f}", *ends)
                for ends in zip(table["low"], table["high"], strict=True)
            ],
            "n": table["n"],
            "p, Holm": [
                "< 0.001" if value < 0.001 else text("{:.3f}", value) for value in table["p_holm"]
            ],
            "verdict": table["verdict"],
        },
        index=table.index,
    )


def told(table: pd.DataFrame, value: str, reference: str) -> list[str]:
    """Return a sentence a row of ``paired``: by how much, how surely, from how many pairs.

    Parameters
    ----------
    value, reference : str
        What was compared, and with which row.
    """
    sentences = []
    for name, row in table.iterrows():
        if row["n"] < 2:
            sentences.append(f"{name}: too few finished runs to compare with {reference}.")
            continue
        side = "above" if row["difference"] > 0 else "below"
        ends = f"95 % interval {row['low']:+.3f} .. {row['high']:+.3f}, {row['n']} pairs"
        sentences.append(
            f"{name}: {value} {abs(row['difference']):.3f} {side} {reference} ({ends}): "
            f"{row['verdict']}."
        )
    return sentences


def levelled(frame: pd.DataFrame, *, value: str, group: str, by: Sequence[str]) -> pd.DataFrame:
    """Take the differences between groups, such as folds, out of a score.

    Every group is shifted to the mean of all, over the M settings that each of them has, so that
    the spread left in a setting is not that of the groups' difficulty. A shift estimated from M
    settings takes 1 / M of the other variance with it, which is given back. (D. Cousineau 2005,
    "Confidence intervals in within-subject designs"; R. Morey 2008, its correction.)

    Parameters
    ----------
    frame : DataFrame
        One row a run; NaN where a run is not finished.
    value, group : str
        Columns.
    by : sequence of str
        Columns that name a setting.

    Returns
    -------
    DataFrame
        The frame with ``value`` shifted, the mean of a setting that has as many runs in every group
        unchanged; as it was unless there are two settings that every group has.
    """
    means = frame.pivot_table(index=list(by), columns=group, values=value).dropna()
    if len(means) < 2:
        return frame
    shift = means.mean() - means.mean().mean()
    level = frame[value] - frame[group].map(shift)
    center = level.groupby([frame[name] for name in by]).transform("mean")
    given_back = np.sqrt(len(means) / (len(means) - 1))
    return frame.assign(**{value: center + given_back * (level - center)})


def crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Return where a curve first reaches a level, by straight lines between its points.

    Parameters
    ----------
    x, y : (N,) float arrays
        The points, x rising.
    level : float

    Returns
    -------
    float
        The first x where y is ``level`` or more; NaN if it stays below, minus infinity if it
        starts above.

    Examples
    --------
    >>> crossing(np.array([0.0, 10.0]), np.array([0.25, 0.75]), 0.5)
    5.0
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    reached = np.flatnonzero(y >= level)
    if not reached.size:
        return float("nan")
    i = reached[0]
    if i == 0:
        return float("-inf") if y[0] > level else float(x[0])
    return float(x[i - 1] + (x[i] - x[i - 1]) * (level - y[i - 1]) / (y[i] - y[i - 1]))
