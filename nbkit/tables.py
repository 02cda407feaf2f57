"""Tables of the study: mean ± standard deviation over seeds, with n, from tidy frames."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nbkit import checks, paths


def summary(frame: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Return mean, standard deviation (ddof 1) and n of each metric in each group.

    Parameters
    ----------
    frame : DataFrame
        One row a run.
    by, metrics : sequences of str
        Columns; groups keep their order of appearance.

    Returns
    -------
    DataFrame
        Indexed by ``by``, columns (metric, mean | std) and (``n``, "").
    """
    lost = [name for name in (*by, *metrics) if name not in frame]
    if lost:
        raise ValueError(f"the frame has no column {', '.join(lost)}")
    groups = frame.groupby(list(by), sort=False)
    table = groups[list(metrics)].agg(["mean", "std"])
    table["n"] = groups.size()
    return table


def printed(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Return a summary as text, ``mean ± std`` in one column a metric, and n."""
    checks.count("digits", digits, least=0)
    metrics = [name for name in table.columns.get_level_values(0).unique() if name != "n"]
    text = pd.DataFrame(index=table.index)
    for name in metrics:
        mean, std = table[name, "mean"], table[name, "std"]
        text[name] = [
            f"{m:.{digits}f} ± {s:.{digits}f}" if s == s else f"{m:.{digits}f}"
            for m, s in zip(mean, std, strict=True)
        ]
    text["n"] = table["n"].to_numpy().ravel()
    return text


def wide(values: pd.Series) -> pd.DataFrame:
    """Turn a column with a two-level index into a table: a row a first, a column a second level."""
    first, second = values.index.names
    table = values.rename("value").reset_index()
    rows, columns = table[first].unique(), table[second].unique()
    table = table.pivot_table(index=first, columns=second, values="value", aggfunc="first")
    return table.loc[rows, columns]


def published(name: str) -> pd.DataFrame:
    """Return numbers of the draft or of the author's logs, ``data/published/<name>.csv``."""
    return pd.read_csv(paths.ROOT / "data" / "published" / f"{name}.csv")


def fill(text: str) -> str:
    """Renew the tables of a Markdown text from the exported CSV files.

    A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` and is made of
    ``figures/NAME.csv``.
    """

    def renew(match: re.Match) -> str:
        frame = pd.read_csv(paths.ROOT / "figures" / f"{match[1]}.csv", dtype=str).fillna("")
        rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"<!-- table: {match[1]} -->\n{lines}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", renew, text, flags=re.S)


def save(table: pd.DataFrame, name: str) -> Path | None:
    """Export a table as ``<name>.csv`` if the runner asked for exports (``NBKIT_FIGURES``)."""
    if "NBKIT_FIGURES" not in os.environ:
        return None
    path = paths.figures() / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path)
    return path
