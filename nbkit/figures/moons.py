"""Points, their labels and what a network makes of the plane."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nbkit.figures.style import NEGATIVE, POSITIVE, grid


def moons_grid(panels: Sequence[dict]) -> Figure:
    """Figure 3 of the draft: a column a loss; marker size is the loss above, its slope below.

    Parameters
    ----------
    panels : sequence of dict
        ``title``, ``points`` (N, 2), ``observed`` (N,) labels, ``true`` (N,) labels, ``loss`` (N,),
        ``slope`` (N,), and ``probability``, a function of (M, 2) points.
    """
    figure, axes = grid(2, len(panels), (2.5 * len(panels), 5.0), sharex=True, sharey=True)
    for column, panel in enumerate(panels):
        for row, size in enumerate(("loss", "slope")):
            _moons_panel(axes[row, column], panel, panel[size])
        axes[0, column].set_title(panel["title"], fontsize=9)
    axes[0, 0].set_ylabel("marker size: loss")
    axes[1, 0].set_ylabel("marker size: derivative")
    names = "; ".join(panel["title"] for panel in panels)
    figure.set_label(f"What losses make of two moons: {names}")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3)
    return figure


def side_by_side(panels: Sequence[dict]) -> Figure:
    """Panels as in ``moons_grid`` (without ``loss`` and ``slope``), markers of one size."""
    figure, axes = grid(1, len(panels), (4.6 * len(panels), 3.6), sharex=True, sharey=True)
    for axis, panel in zip(axes[0], panels, strict=True):
        _moons_panel(axis, panel, np.zeros(len(panel["points"])))
        axis.set_title(panel["title"])
    narrow = {"fontsize": 8.5, "columnspacing": 1, "handletextpad": 0.2}  # as one panel
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, **narrow)
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
        _marker("s", NEGATIVE, "negative, no label"),
        _marker("s", NEGATIVE, "hidden positive", edge="black"),
    ]


def _marker(marker: str, color: str, label: str, edge: str = "white") -> Line2D:
    style = {"markerfacecolor": color, "markeredgecolor": edge, "markersize": 7}
    return Line2D([], [], linestyle="", marker=marker, label=label, **style)
