"""Scores of runs: over epochs, over labelled shares, by class, by row."""

import itertools
import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from nbkit.figures.style import absent, grid, legend_beside, trace

FEW = 3  # runs a point: so many are shown one by one, as a deviation of them says little


def lines(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    by: str,
    labels: tuple[str, str, str],
    panel: str | None = None,
    each: str | None = None,
    levels: Mapping[str, float] | None = None,
    logarithmic: bool = False,
) -> Figure:
    """Mean of ``y`` over ``x``, a line a group, with its standard deviation or its single runs.

    A band is one standard deviation; where no point has more than ``FEW`` runs, dots are runs.

    Parameters
    ----------
    frame : DataFrame
        One row a run.
    x, y, by : str
        Columns.
    labels : tuple of str
        Of the axes, and the title.
    panel : str, optional
        A column; each of its values gets a panel, with its name as the title.
    each : str, optional
        A column; each of its values gets a thin line of its own in place of mean and band.
    levels : mapping, optional
        Name -> height of a broken line to compare with.
    logarithmic : bool
        Whether ``x`` grows by factors; its values are the ticks.
    """
    places = {name: place for place, name in enumerate(frame[by].unique())}  # in all panels
    if panel is None:
        figure, axes = grid(1, 1, (8.6, 4.0))
        _lines(axes[0, 0], frame, x, y, by, places, each, levels or {}, logarithmic)
        axes[0, 0].set(xlabel=labels[0], ylabel=labels[1], title=labels[2])
        legend_beside(axes[0, 0])
        return figure
    parts = dict(list(frame.groupby(panel, sort=False)))
    columns = min(len(parts), 4)
    rows, wide = -(-len(parts) // columns), 4.6 if columns < 4 else 2.6
    size = (wide * columns, 4.6 if rows == 1 else 1.2 + 2.2 * rows)
    figure, axes = grid(rows, columns, size, sharex=True, sharey=True)
    shown = {}
    for axis, (name, part) in itertools.zip_longest(axes.flat, parts.items(), fillvalue=("", None)):
        if part is None:
            axis.set_axis_off()
            continue
        _lines(axis, part, x, y, by, places, each, levels or {}, logarithmic)
        axis.set(xlabel=labels[0], title=name)
        axis.label_outer()
        shown |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    for axis in axes[:, 0]:
        axis.set_ylabel(labels[1])
    last = {name: shown.pop(name) for name in levels or {} if name in shown}
    shown = last if panel == by else shown | last  # a panel's title names its line
    figure.suptitle(labels[2])
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=4)
    return figure


def _lines(
    axis: mpl.axes.Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    places: Mapping[str, int],
    each: str | None,
    levels: Mapping[str, float],
    logarithmic: bool,
) -> None:
    for name, part in frame.groupby(by, sort=False):
        if each is not None:
            runs = part.pivot(index=x, columns=each, values=y).dropna(how="all")
            thin = {"linestyle": "-", "linewidth": 0.9, "alpha": 0.8, "markersize": 3}
            for i, run in enumerate(runs):
                label = None if i else name
                trace(axis, runs.index, runs[run], name, places[name], label=label, **thin)
            continue
        stats = part.groupby(x)[y].agg(["mean", "std", "count"]).dropna(subset="mean")
        color = trace(axis, stats.index, stats["mean"], name, places[name]).get_color()
        if stats["count"].max() > FEW:
            low, high = stats["mean"] - stats["std"], stats["mean"] + stats["std"]
            axis.fill_between(stats.index, low, high, color=color, alpha=0.12)
        elif stats["count"].max() > 1:
            axis.plot(part[x], part[y], ".", color=color, alpha=0.45, markersize=4)
    for style, (name, level) in zip(itertools.cycle(("--", ":", "-.")), levels.items()):
        axis.axhline(level, label=name, color="#777777", linewidth=1.3, linestyle=style)
    if logarithmic:
        ticks = sorted(frame[x].unique())
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    if frame[y].isna().all():
        absent(axis)


def series(x: np.ndarray, values: Mapping[str, np.ndarray], labels: tuple[str, str, str]) -> Figure:
    """One line a name over the same ``x``; labels of the axes, and the title."""
    figure, axes = grid(1, 1, (7.0, 3.6))
    for place, (name, line) in enumerate(values.items()):
        trace(axes[0, 0], x, line, name, place)
    axes[0, 0].set(xlabel=labels[0], ylabel=labels[1], title=labels[2])
    axes[0, 0].legend()
    return figure


def learning_curves(curves: Mapping[str, np.ndarray], chosen: Mapping[str, int]) -> Figure:
    """Test accuracy of a run, what PU labels show of it, and the epoch each criterion picks.

    Parameters
    ----------
    curves : mapping
        ``accuracy``, ``proxy_accuracy``, ``oracle``, ``pu_auc``: one value an epoch.
    chosen : mapping
        Criterion -> epoch.
    """
    figure, axes = grid(1, 1, (9.0, 3.8))
    axis = axes[0, 0]
    epochs = np.arange(1, len(curves["accuracy"]) + 1)
    # its markers are the epochs that are picked
    axis.plot(epochs, curves["accuracy"], color="black", label="test accuracy (true labels)")
    watched = {
        "proxy_accuracy": "proxy accuracy (PU labels)",
        "pu_auc": "PU-AUC (PU labels)",
        "oracle": "held-out accuracy (true labels)",
    }
    for place, (name, label) in enumerate(watched.items()):
        trace(axis, epochs, curves[name], label, place, linewidth=1, alpha=0.8)
    at: dict[int, list[str]] = {}
    for criterion, epoch in chosen.items():
        at.setdefault(epoch, []).append(criterion)
    for step, (epoch, criteria) in enumerate(sorted(at.items())):
        score = curves["accuracy"][epoch - 1]
        axis.plot(epoch, score, "o", color="black", markersize=5, zorder=5)
        axis.annotate(
            " = ".join(criteria),
            (epoch, score),
            xytext=(epoch, 0.42 - 0.1 * (step % 4)),
            ha="left" if epoch < 0.7 * len(epochs) else "right",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "linewidth": 0.8, "color": "#777777"},
        )
    axis.set(xlabel="epoch", ylabel="score", title="Which epoch would you keep?", ylim=(0, 1.15))
    legend_beside(axis)
    return figure


def reliability(frame: pd.DataFrame, title: str) -> Figure:
    """Accuracy over confidence, a line a row, beside the diagonal of a calibrated network.

    Parameters
    ----------
    frame : DataFrame
        ``row``, ``confidence`` and ``accuracy``; a line a bin.
    title : str
    """
    figure, axes = grid(1, 1, (6.6, 4.4))
    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], color="#777777", linewidth=1, linestyle=":", label="calibrated")
    for place, (name, part) in enumerate(frame.groupby("row", sort=False)):
        trace(axis, part["confidence"], part["accuracy"], name, place)
    if frame.empty:
        absent(axis)
    axis.set(xlabel="confidence (probability of the predicted class)", ylabel="share correct")
    axis.set(title=title, xlim=(0, 1), ylim=(0, 1))
    legend_beside(axis)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: colours are shares of the true class, numbers are counts."""
    figure, axes = grid(1, 1, (1.6 + 0.62 * len(classes), 1.2 + 0.5 * len(classes)))
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    sns.heatmap(
        share,
        annot=matrix,
        fmt="d",
        cmap="Blues",
        vmin=0,
        vmax=1,
        cbar=False,
        ax=axes[0, 0],
        xticklabels=classes,
        yticklabels=classes,
        square=True,
    )
    axes[0, 0].set(xlabel="predicted", ylabel="true", title=title)
    figure.set_label(f"Confusion matrix: {title}")
    return figure


def gallery(
    images: Sequence[np.ndarray], captions: Sequence[str], title: str, columns: int = 8
) -> Figure:
    """A wall of small images with captions.

    Parameters
    ----------
    images : sequence of N arrays
        (H, W), (H, W, 3), or (F,): features are shown as a square or a strip.
    captions : sequence of N str
    """
    count = max(1, len(images))
    rows = -(-count // columns)
    figure, axes = grid(rows, columns, (1.15 * columns, 1.45 * rows + 0.4))
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, image, caption in zip(axes.ravel(), images, captions, strict=False):
        axis.imshow(_picture(image), cmap="gray_r")
        axis.set_title(caption, fontsize=8, loc="center", fontweight="normal")
    figure.suptitle(title)
    return figure


def _picture(image: np.ndarray) -> np.ndarray:
    if image.ndim > 1:
        return image
    side = math.isqrt(image.size)
    return image.reshape(side if side**2 == image.size else 1, -1)


def ranking(
    frame: pd.DataFrame,
    *,
    value: str,
    by: str,
    label: str,
    title: str,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """A dot a run and the mean of each group, in the order of the frame; one without says so.

    Parameters
    ----------
    frame : DataFrame
        One row a run; columns ``value`` and ``by``.
    label, title : str
        Of the value axis, and of the figure.
    levels : mapping, optional
        Name -> place of a broken line to compare with; one without a name has no legend.
    """
    names = list(dict.fromkeys(frame[by]))
    figure, axes = grid(1, 1, (7.2, 0.6 + 0.27 * len(names)))
    axis = axes[0, 0]
    for i, name in enumerate(names):
        values = frame.loc[frame[by] == name, value].dropna()
        if values.empty:
            absent(axis, i)
        axis.plot(values, np.full(len(values), i), "o", color="C0", alpha=0.3, markersize=4)
        axis.plot(values.mean(), i, "|", color="black", markersize=13, markeredgewidth=2)
    for style, (name, level) in zip(itertools.cycle((":", "--")), (levels or {}).items()):
        axis.axvline(level, label=name, color="#777777", linewidth=1.2, linestyle=style, zorder=1)
    if any(levels or {}):
        legend_beside(axis)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=label, title=title)
    axis.set_ylim(len(names) - 0.5, -0.5)
    return figure
