"""What is published beside what was run: numbers on a diagonal, and claims with their verdicts."""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nbkit.figures.style import grid, look

OUTCOMES = {
    "holds": "#8FC1E3",
    "the other way round": "#F2A57B",
    "not told apart": "#E4E4E4",
    "too few seeds": "#FFF1B8",
}
UNTESTED = "as published"  # a number without a verdict of ours


def parity(
    frame: pd.DataFrame, *, x: str, y: str, by: str, panel: str, labels: tuple[str, str, str]
) -> Figure:
    """Two sources of the same numbers against each other; on the diagonal they agree.

    Parameters
    ----------
    frame : DataFrame
        One row a number; NaN where a source lacks it.
    x, y : str
        Columns of the two sources.
    by, panel : str
        Columns: a colour a value of the first, a panel a value of the second.
    labels : tuple of str
        Of the axes, and the title.
    """
    parts = dict(list(frame.groupby(panel, sort=False)))
    columns = min(len(parts), 3)
    rows = -(-len(parts) // columns)
    size = (3.3 * columns, 1.1 + 3.3 * rows)
    figure, axes = grid(rows, columns, size, sharex=True, sharey=True)
    for axis in axes.flat[len(parts) :]:
        axis.set_axis_off()
    places, shown = {row: i for i, row in enumerate(frame[by].unique())}, {}
    for axis, (name, part) in zip(axes.flat, parts.items(), strict=False):
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, zorder=1)
        for row, own in part.groupby(by, sort=False):
            style = {kind: look(row, places[row])[kind] for kind in ("color", "marker")}
            shown[row] = axis.scatter(own[x], own[y], s=26, alpha=0.8, label=row, **style)
        axis.set(title=name, aspect="equal")
    low = min(frame[[x, y]].min().min(), 0.9)
    axes[0, 0].set(xlim=(low - 0.04, 1), ylim=(low - 0.04, 1))
    for axis in axes[:, 0]:
        axis.set_ylabel(labels[1])
    for axis in axes.flat[len(parts) - columns : len(parts)]:  # the lowest of each column
        axis.set_xlabel(labels[0])
        axis.tick_params(labelbottom=True)
    figure.suptitle(labels[2])
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=5, fontsize=8.5)
    return figure


def verdicts(parts: Mapping[str, pd.DataFrame], title: str) -> Figure:
    """A row a claim, a column a data set: by how much, and whether the claim holds.

    Parameters
    ----------
    parts : mapping
        Title of a panel -> frame with one row a claim and data set: ``claim``, ``data``, text in
        ``shown``, and in ``outcome`` a key of ``OUTCOMES`` or ``UNTESTED``; both None where
        nothing was run.
    title : str
    """
    heights = [frame["claim"].nunique() for frame in parts.values()]
    size = (9.4, 1.6 + 0.33 * sum(heights) + 0.5 * len(parts))
    figure, axes = grid(len(parts), 1, size, height_ratios=heights)
    codes = {outcome: code for code, outcome in enumerate((*OUTCOMES, UNTESTED))}
    colors = [*OUTCOMES.values(), "#FFFFFF"]
    options = {"cmap": ListedColormap(colors), "vmin": 0, "vmax": len(codes) - 1, "cbar": False}
    options |= {"linewidths": 2, "annot_kws": {"fontsize": 8.5, "color": "black"}}
    for axis, (name, frame) in zip(axes[:, 0], parts.items(), strict=True):
        table = frame.assign(code=frame["outcome"].map(codes).astype(float))
        table = table.pivot(index="claim", columns="data", values=["code", "shown"])
        table = table.loc[frame["claim"].unique()]
        code, text = (table[kind][frame["data"].unique()] for kind in ("code", "shown"))
        sns.heatmap(code.astype(float), annot=text.fillna(""), fmt="", ax=axis, **options)
        names = [column.replace(", ", ",\n") for column in code.columns]
        axis.set(title=name, xlabel="", ylabel="", xticklabels=names)
        axis.tick_params(length=0, labelsize=8.5)
        axis.tick_params(axis="x", rotation=0)
        axis.grid(visible=False)  # it shows in cells that were not run
    found = {outcome for frame in parts.values() for outcome in frame["outcome"]}
    keys = [Patch(facecolor=c, label=n) for n, c in OUTCOMES.items() if n in found]
    keys.append(Patch(facecolor="white", label="empty: no number"))
    for key in keys:
        key.set_edgecolor("#999999")
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=8.5)
    figure.suptitle(title, x=0.01, ha="left")
    return figure
