"""Tables of the study: mean ± standard deviation over seeds, with n, from tidy frames."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from nbkit import checks, paths
from nbkit.runs import Store

UNFINISHED = "*No run of this table is finished yet.*"
CRITERIA = {  # as a reader knows them
    "last": "last epoch",
    "last_3": "mean of the last three",
    "proxy_accuracy": "best proxy accuracy",
    "pu_auc": "best PU-AUC",
    "peeking": "peeking",
}


def summary(frame: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Return mean, standard deviation (ddof 1) and n of each metric in each group.

    A run whose metrics are NaN is not finished: it does not count, and a group may have n = 0.

    Parameters
    ----------
    frame : DataFrame
        One row a run. Published means may bring deviations of their own, as ``accuracy_std``.
    by, metrics : sequences of str
        Columns; groups keep their order of appearance.

    Returns
    -------
    DataFrame
        Indexed by ``by``, columns (metric, mean | std) and (``n``, "").

    Raises
    ------
    ValueError
        If the frame lacks a column of ``by`` or ``metrics``, or has a run under several criteria.
    """
    by = checks.columns("by", by, frame.columns)
    metrics = checks.columns("metrics", metrics, frame.columns)
    if "criterion" in frame and "criterion" not in by and len(frame["criterion"].unique()) > 1:
        raise ValueError(
            "the frame has several selection criteria, and a run would count once under each: take "
            "one, as frame[frame['criterion'] == 'last'], or put 'criterion' into by"
        )
    groups = frame.groupby(by, sort=False)
    table = groups[metrics].agg(["mean", "std"])
    for name in metrics:
        if f"{name}_std" in frame:
            table[name, "std"] = table[name, "std"].fillna(groups[f"{name}_std"].first())
    table["n", ""] = groups[metrics[0]].count()
    return table


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a summary as text, ``mean ± std`` in one column a metric, and n.

    A single run has no ``± std``, and where there is none stands a dash.
    """
    metrics = [name for name in table.columns.get_level_values(0).unique() if name != "n"]
    text = pd.DataFrame(index=table.index)
    for name in metrics:
        mean, std = table[name, "mean"], table[name, "std"]
        text[name] = [number(m, s) for m, s in zip(mean, std, strict=True)]
    text["n"] = table["n"].to_numpy().ravel()
    return text


def number(mean: float, std: float = math.nan, digits: int = 3) -> str:
    """Return ``mean ± std`` as text, the mean alone without a deviation, a dash without a mean."""
    if mean != mean:
        return "–"
    text = f"{round(mean, digits) + 0.0:.{digits}f}"  # no "-0.000"
    return f"{text} ± {std:.{digits}f}" if std == std else text


def beside(
    sources: Mapping[str, pd.DataFrame], rows: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Return the summaries of several sources as text, row by row beside each other.

    Parameters
    ----------
    sources : mapping
        Name -> frame with a column ``row`` and the metrics, one row a run.
    rows, metrics : sequences of str

    Returns
    -------
    DataFrame
        Indexed by (row, source); a dash and n = 0 where a source has no run of a row.
    """
    parts = {name: printed(summary(frame, ["row"], metrics)) for name, frame in sources.items()}
    index = pd.MultiIndex.from_product([rows, sources], names=["row", "source"])
    table = pd.concat(parts, names=["source"]).swaplevel().reindex(index)
    table["n"] = table["n"].fillna(0).astype(int).astype(object)
    return table.fillna("–")


def by_fold(
    frame: pd.DataFrame, rows: Sequence[str], folds: Sequence[int], digits: int = 3
) -> pd.DataFrame:
    """Return mean IU as text, a column a fold, with the mean over the folds and n.

    Parameters
    ----------
    frame : DataFrame
        One row a run: ``row``, ``fold`` and ``mean_iu``, NaN where it is not finished. Published
        means may bring a ``mean_iu_std`` of their own.
    rows, folds : sequences
        What to show, a dash where there is nothing.

    Returns
    -------
    DataFrame
        Indexed by ``row``: ``fold 1``, ..., ``mean`` (a dash unless every fold has a run), ``n``.
    """
    groups = frame.groupby(["row", "fold"])
    mean, std = groups["mean_iu"].mean(), groups["mean_iu"].std()
    if "mean_iu_std" in frame:
        std = std.fillna(groups["mean_iu_std"].first())
    mean, std = (part.unstack().reindex(index=rows, columns=folds) for part in (mean, std))
    table = pd.DataFrame(index=mean.index)
    for fold in folds:
        pairs = zip(mean[fold], std[fold], strict=True)
        table[f"fold {fold}"] = [number(m, s, digits) for m, s in pairs]
    table["mean"] = [number(m, digits=digits) for m in mean.mean(axis=1, skipna=False)]
    table["n"] = frame.groupby("row")["mean_iu"].count().reindex(rows, fill_value=0)
    return table


def regret(
    frame: pd.DataFrame,
    by: Sequence[str],
    value: str = "accuracy",
    criteria: Sequence[str] = ("last", "last_3", "proxy_accuracy", "pu_auc"),
) -> pd.DataFrame:
    """Return what each selection criterion loses against the oracle, run by run.

    Parameters
    ----------
    frame : DataFrame
        One row a run and ``criterion``.
    by : sequence of str
        Columns that name a run.
    value : str
        Test score under a criterion.
    criteria : sequence of str
        The honest ones.

    Returns
    -------
    DataFrame
        The columns of ``by``; one for each of the criteria: score of the
        oracle (the epoch that is best on clean held-out labels) minus score of the criterion; and
        ``peeking``: what choosing the epoch on the test set adds to the oracle.
    """
    scores = frame.pivot(index=list(by), columns="criterion", values=value)
    order = frame.set_index(list(by)).index.unique()
    columns = [*criteria, "oracle", "test"]  # of unfinished runs there is "last" alone
    scores = scores.reindex(index=order, columns=columns)
    table = -scores[list(criteria)].sub(scores["oracle"], axis=0)
    table["peeking"] = scores["test"] - scores["oracle"]
    return table.rename_axis(columns=None).reset_index()


def progress(store: Store, parts: Mapping[str, Callable], preset: str) -> pd.DataFrame:
    """Return how many runs each part of an experiment has, finished and missing.

    Parameters
    ----------
    store : runs.Store
    parts : mapping
        Name -> function of the preset, which returns runs by names.
    preset : str

    Returns
    -------
    DataFrame
        A row a part, and ``all``, where a run that stands in several parts counts once.
    """
    wanted = {name: {*make(preset).values()} for name, make in parts.items()}
    wanted["all"] = set().union(*wanted.values())
    table = pd.DataFrame({"runs": {name: len(runs) for name, runs in wanted.items()}})
    table["missing"] = [len(store.missing(runs)) for runs in wanted.values()]
    table.insert(1, "finished", table["runs"] - table["missing"])
    return table.rename_axis("part")


def pu_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose positives are partly unlabelled: all but Complete and P+N."""
    return frame[~frame["row"].isin(["Complete", "P+N"])]


def caption(frame: pd.DataFrame, criterion: str, *commands: str) -> str:
    """Return a caption: how many runs are finished, the criterion, the devices, how to get them.

    Parameters
    ----------
    frame : DataFrame
        From ``runs.Store.grid_frame``.
    criterion : str
        What was measured, and under which selection criterion.
    *commands : str
        That compute the runs, a line each.
    """
    runs = frame.drop_duplicates("key")
    done = runs["device"] != ""
    devices = ", ".join(sorted(set(runs.loc[done, "device"]))) or "nothing trained yet"
    counted = f"{done.sum()} of {len(runs)} runs finished; {criterion}; {devices}"
    return "\n".join([counted, *dict.fromkeys(commands)])


def wide(values: pd.Series) -> pd.DataFrame:
    """Turn a column with a two-level index into a table: a row a first, a column a second level."""
    rows, columns = (values.index.get_level_values(level).unique() for level in (0, 1))
    return values.unstack().reindex(index=rows, columns=columns)  # in their order


def published(name: str) -> pd.DataFrame:
    """Return numbers of the draft or of the author's logs, ``data/published/<name>.csv``."""
    return pd.read_csv(paths.ROOT / "data" / "published" / f"{name}.csv")


def as_published(agrees: bool) -> None:
    """Raise AssertionError unless the numbers of a notebook agree with what is published.

    Raises
    ------
    AssertionError
        With what it may mean.
    """
    if not agrees:
        raise AssertionError(
            "these are not the published numbers: to be expected if you changed a preset, a loss, "
            "a training or the data (then delete this check), and a fault if you did not"
        )


def fill(text: str) -> str:
    """Renew the tables of a Markdown text from the exported CSV files.

    A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` and is made of
    ``figures/NAME.csv``; one without rows becomes a sentence.
    """

    def renew(match: re.Match) -> str:
        frame = pd.read_csv(paths.ROOT / "figures" / f"{match[1]}.csv", dtype=str).fillna("")
        rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
        lines = UNFINISHED if frame.empty else "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"<!-- table: {match[1]} -->\n{lines}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", renew, text, flags=re.S)


def save(table: pd.DataFrame, name: str) -> Path | None:
    """Export a table as ``<name>.csv`` if the runner asked for exports (``NBKIT_FIGURES``)."""
    folder = paths.exports()
    if folder is None:
        return None
    path = folder / f"{name}.csv"
    with paths.exporting(path) as partial:
        table.to_csv(partial)
    return path
