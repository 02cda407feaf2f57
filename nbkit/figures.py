"""Every plot of the study, from tidy frames and arrays, in one style.

Functions return a closed matplotlib figure: a notebook shows it by naming it last in a cell.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nbkit import losses, paths

POSITIVE, NEGATIVE = "#C8102E", "#1F5FA8"
COLORS = {
    "CrossEntropy": "#555555",
    "Balanced CE": "#56B4E9",
    "Weighted": "#0072B2",
    "Exponential": "#D55E00",
    "BootstrapHard": "#009E73",
}


def use_style() -> None:
    """Set the study's style, and let a notebook show figures as PNG."""
    mpl.style.use(Path(__file__).parent / "nbkit.mplstyle")
    shell = get_ipython()
    if shell is not None:
        shell.display_formatter.formatters["image/png"].for_type(Figure, png)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save(figure: Figure, name: str) -> Figure:
    """Export a figure as PNG and SVG if the runner asked for it (``NBKIT_FIGURES``); return it."""
    if "NBKIT_FIGURES" in os.environ:
        folder = paths.figures()
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", metadata={"Software": None})
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return figure


def _axes(
    rows: int, columns: int, size: tuple[float, float], **kwargs
) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def loss_curves(
    curves: Mapping[str, np.ndarray], slopes: Mapping[str, np.ndarray], f: np.ndarray
) -> Figure:
    """Figure 4 of the draft: losses, and their derivatives by the positive logit.

    Parameters
    ----------
    curves, slopes : mapping of str to (N,) array
    f : (N,) array
        The logits are (-f, f).
    """
    figure, axes = _axes(1, 2, (9, 3.4))
    styles = ["-", "-", "--", "-"]
    colors = [POSITIVE, "#555555", COLORS["Weighted"], COLORS["Exponential"]]
    for axis, group, label in zip(
        axes[0], (curves, slopes), ("loss", "derivative by the positive logit"), strict=True
    ):
        for (name, values), style, color in zip(group.items(), styles, colors, strict=True):
            axis.plot(f, values, style, color=color, label=name)
        axis.set(xlabel="output f, logits (-f, f)", ylabel=label)
    axes[0, 0].set(ylim=(-0.2, 6), title="The loss of one example")
    axes[0, 1].set_title("Only the exponential lets go on the right")
    axes[0, 0].legend(loc="upper center")
    return figure


def pulls(probability: np.ndarray, pull: Mapping[str, np.ndarray]) -> Figure:
    """How hard each loss pulls an unlabelled example towards "negative"."""
    figure, axes = _axes(1, 1, (6.4, 3.6))
    for name, values in pull.items():
        axes[0, 0].plot(probability, values, label=name)
    axes[0, 0].set(
        xlabel="predicted probability that the unlabelled example is positive",
        ylabel="pull towards negative",
        title="Who keeps pulling when the network is sure?",
    )
    axes[0, 0].legend()
    return figure


def labelling(posterior: np.ndarray, kept: float, thresholds: Mapping[str, float]) -> Figure:
    """The posterior of two Gaussians, what is left of it when labels go missing, and thresholds.

    Parameters
    ----------
    posterior : (N,) array
        At the points ``numpy.linspace(-4, 4, N)``.
    kept : float
    thresholds : mapping of str to float
        A posterior for each loss; those above 1 are listed as "never".
    """
    x = np.linspace(-4, 4, len(posterior))
    figure, axes = _axes(1, 1, (7.2, 3.6))
    axis = axes[0, 0]
    axis.plot(x, posterior, color=POSITIVE, label="P(positive | x)")
    axis.plot(x, kept * posterior, color="#555555", label="P(labelled | x)")
    for i, (name, threshold) in enumerate(thresholds.items()):
        color = f"C{i}"
        if threshold < posterior.max():
            place = np.interp(threshold, posterior, x)
            axis.axvline(place, color=color, linestyle="--", linewidth=1.2)
            label = f"{name}: positive from {threshold:.2f}"
        else:
            label = f"{name}: never positive (needs {threshold:.2f})"
        axis.plot([], [], color=color, linestyle="--", label=label)
    axis.set(xlabel="x", ylabel="probability", ylim=(0, 1.02), title="Where each loss decides")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8.5)
    return figure


def measured_thresholds(frame: pd.DataFrame) -> Figure:
    """Measured against closed-form thresholds.

    Parameters
    ----------
    frame : DataFrame
        Columns ``loss``, ``closed_form``, ``threshold``; one row a run.
    """
    figure, axes = _axes(1, 1, (5.6, 4.6))
    axis = axes[0, 0]
    axis.plot([0.2, 0.85], [0.2, 0.85], color="#999999", linewidth=1, zorder=0)
    groups = frame.groupby(["loss", "closed_form"], sort=False)["threshold"].agg(["mean", "std"])
    markers = "osD^vP*Xhd<>8p"
    names = groups.index.get_level_values("loss").unique()
    for i, name in enumerate(names):
        part = groups.loc[name]
        axis.errorbar(
            part.index,
            part["mean"],
            part["std"],
            fmt=markers[i % len(markers)],
            color=f"C{i % 7}",
            markersize=5,
            linewidth=1,
            label=name,
        )
    axis.set(
        xlabel="threshold by the calculus",
        ylabel="threshold of trained networks",
        title="The calculus predicts the decision",
    )
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8.5)
    return figure


def moons_grid(panels: Sequence[dict]) -> Figure:
    """Figure 3 of the draft: a column a loss; marker size is the loss above, its slope below.

    Parameters
    ----------
    panels : sequence of dict
        ``title``, ``points`` (N, 2), ``observed`` (N,) labels, ``true`` (N,) labels, ``loss`` (N,),
        ``slope`` (N,), and ``probability``, a function of (M, 2) points.
    """
    figure, axes = _axes(2, len(panels), (2.5 * len(panels), 5.0), sharex=True, sharey=True)
    for column, panel in enumerate(panels):
        for row, size in enumerate(("loss", "slope")):
            _moons_panel(axes[row, column], panel, panel[size])
        axes[0, column].set_title(panel["title"], fontsize=9)
    axes[0, 0].set_ylabel("marker size: loss")
    axes[1, 0].set_ylabel("marker size: derivative")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3)
    return figure


def side_by_side(panels: Sequence[dict]) -> Figure:
    """Panels as in ``moons_grid`` (without ``loss`` and ``slope``), markers of one size."""
    figure, axes = _axes(1, len(panels), (4.6 * len(panels), 3.6), sharex=True, sharey=True)
    for axis, panel in zip(axes[0], panels, strict=True):
        _moons_panel(axis, panel, np.zeros(len(panel["points"])))
        axis.set_title(panel["title"])
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3)
    return figure


def _moons_panel(axis: mpl.axes.Axes, panel: dict, size: np.ndarray) -> None:
    low, high = panel["points"].min(0) - 0.4, panel["points"].max(0) + 0.4
    x, y = np.meshgrid(np.linspace(low[0], high[0], 90), np.linspace(low[1], high[1], 90))
    p = panel["probability"](np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape)
    axis.contourf(x, y, p, np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
    axis.contour(x, y, p, [0.5], colors="black", linewidths=1)
    for label, marker, color in ((0, "s", NEGATIVE), (1, "o", POSITIVE)):
        own = panel["observed"] == label
        if not own.any():
            continue
        spread = np.ptp(size[own]) or 1.0
        area = 10 + 60 * (size[own] - size[own].min()) / spread
        hidden = panel["true"][own] != label
        edges = np.where(hidden, "black", "white")
        points = panel["points"][own]
        axis.scatter(*points.T, s=area, c=color, marker=marker, edgecolors=edges, linewidths=0.6)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)


def _legend() -> list[Line2D]:
    return [
        _marker("o", POSITIVE, "labelled positive"),
        _marker("s", NEGATIVE, "labelled negative"),
        _marker("s", NEGATIVE, "hidden positive", edge="black"),
    ]


def _marker(marker: str, color: str, label: str, edge: str = "white") -> Line2D:
    style = {"markerfacecolor": color, "markeredgecolor": edge, "markersize": 7}
    return Line2D([], [], linestyle="", marker=marker, label=label, **style)


def lines(frame: pd.DataFrame, *, x: str, y: str, by: str, labels: tuple[str, str, str]) -> Figure:
    """Mean and standard deviation of ``y`` over ``x``, a line a group.

    Parameters
    ----------
    frame : DataFrame
        One row a run.
    x, y, by : str
        Columns.
    labels : tuple of str
        Of the axes, and the title.
    """
    figure, axes = _axes(1, 1, (7.0, 4.0))
    for name, part in frame.groupby(by, sort=False):
        stats = part.groupby(x)[y].agg(["mean", "std"])
        (line,) = axes[0, 0].plot(
            stats.index, stats["mean"], marker="o", markersize=4, label=name, color=COLORS.get(name)
        )
        low, high = stats["mean"] - stats["std"], stats["mean"] + stats["std"]
        axes[0, 0].fill_between(stats.index, low, high, color=line.get_color(), alpha=0.12)
    axes[0, 0].set(xlabel=labels[0], ylabel=labels[1], title=labels[2])
    axes[0, 0].legend(title=None)
    return figure


def series(values: Mapping[str, np.ndarray], labels: tuple[str, str, str]) -> Figure:
    """One line a name over epochs 1, 2, ...; labels of the axes, and the title."""
    figure, axes = _axes(1, 1, (7.0, 3.6))
    for name, line in values.items():
        axes[0, 0].plot(np.arange(1, len(line) + 1), line, label=name)
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
    figure, axes = _axes(1, 1, (7.4, 3.8))
    axis = axes[0, 0]
    epochs = np.arange(1, len(curves["accuracy"]) + 1)
    axis.plot(epochs, curves["accuracy"], color="black", label="test accuracy (true labels)")
    for name, label in (
        ("proxy_accuracy", "proxy accuracy (PU labels)"),
        ("pu_auc", "PU-AUC (PU labels)"),
        ("oracle", "held-out accuracy (true labels)"),
    ):
        axis.plot(epochs, curves[name], linewidth=1, alpha=0.8, label=label)
    at: dict[int, list[str]] = {}
    for criterion, epoch in chosen.items():
        at.setdefault(epoch, []).append(criterion)
    for epoch, criteria in at.items():
        axis.plot(epoch, curves["accuracy"][epoch - 1], "o", color="black", markersize=5)
        axis.annotate(
            "\n".join(criteria),
            (epoch, curves["accuracy"][epoch - 1]),
            xytext=(0, -8),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
        )
    axis.set(xlabel="epoch", ylabel="score", title="Which epoch would you keep?", ylim=(0, 1.05))
    axis.legend(loc="lower right", fontsize=8.5)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A confusion matrix: colours are shares of the true class, numbers are counts."""
    figure, axes = _axes(1, 1, (1.6 + 0.62 * len(classes), 1.2 + 0.5 * len(classes)))
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
    return figure


def gallery(images: np.ndarray, captions: Sequence[str], title: str, columns: int = 8) -> Figure:
    """A wall of small images with captions.

    Parameters
    ----------
    images : (N, H, W) or (N, H, W, 3) array
    captions : sequence of N str
    """
    count = max(1, len(images))
    rows = -(-count // columns)
    figure, axes = _axes(rows, columns, (1.15 * columns, 1.45 * rows + 0.4))
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, image, caption in zip(axes.ravel(), images, captions, strict=False):
        axis.imshow(image, cmap="gray_r")
        axis.set_title(caption, fontsize=8, loc="center", fontweight="normal")
    figure.suptitle(title, fontsize=10.5, fontweight="bold")
    return figure


def ranking(frame: pd.DataFrame, *, value: str, by: str, label: str, title: str) -> Figure:
    """A dot a run and the mean of each group, in the order of the frame.

    Parameters
    ----------
    frame : DataFrame
        One row a run; columns ``value`` and ``by``.
    label, title : str
        Of the value axis, and of the figure.
    """
    names = list(dict.fromkeys(frame[by]))
    figure, axes = _axes(1, 1, (7.2, 0.6 + 0.27 * len(names)))
    axis = axes[0, 0]
    for i, name in enumerate(names):
        values = frame.loc[frame[by] == name, value]
        axis.plot(values, np.full(len(values), i), "o", color="C0", alpha=0.3, markersize=4)
        axis.plot(values.mean(), i, "|", color="black", markersize=13, markeredgewidth=2)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=label, title=title)
    axis.invert_yaxis()
    return figure


def balance(kept: float) -> Figure:
    """Thresholds of balanced weights over the prior: right for one prior only."""
    prior = np.linspace(0.02, 0.9, 100)
    figure, axes = _axes(1, 1, (6.4, 3.6))
    for name, label in (("weighted", "Weighted"), ("exponential", "Exponential")):
        values = [
            losses.threshold(name, kept=kept, weight_ratio=losses.balanced_ratio(p, kept))
            for p in prior
        ]
        axes[0, 0].plot(prior, values, color=COLORS[label], label=f"{label}, balanced weights")
    axes[0, 0].axhline(0.5, color="#999999", linewidth=1, label="Bayes")
    axes[0, 0].set(
        xlabel="share of positives (prior)",
        ylabel="decision threshold",
        ylim=(0, 1),
        title="Balanced weights are right only where two errors cancel",
    )
    axes[0, 0].legend()
    return figure
