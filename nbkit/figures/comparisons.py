"""Rows beside rows: scores with their spread, and how often a category is called positive."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from nbkit.figures.style import absent, grid, legend_beside

MARKERS = "osD^vP"


def dots(
    values: pd.DataFrame,
    spread: pd.DataFrame | None = None,
    *,
    label: str,
    title: str,
    line: float | None = None,
    hollow: tuple[str, pd.DataFrame] | None = None,
) -> Figure:
    """A line a row, a marker a column; a row without any value says so.

    Parameters
    ----------
    values : DataFrame
        Rows by what is compared; NaN where there is nothing.
    spread : DataFrame, optional
        Half the length of a bar through a marker, for some of the columns; NaN for none.
    label, title : str
        Of the value axis, and of the figure.
    line : float, optional
        A value to be marked.
    hollow : tuple, optional
        What an empty marker means, and where it stands: booleans like ``values``.
    """
    figure, axes = grid(1, 1, (8.2, 1.0 + 0.26 * len(values)))
    axis = axes[0, 0]
    places = np.arange(len(values))
    shifts = 0.16 * (np.arange(len(values.columns)) - (len(values.columns) - 1) / 2)
    for column, marker, shift in zip(values, itertools.cycle(MARKERS), shifts):
        half = None if spread is None or column not in spread else spread[column]
        (drawn, *_) = axis.errorbar(
            values[column],
            places + shift,
            xerr=half,
            fmt=marker,
            markersize=5,
            linewidth=1.2,
            label=column,
        )
        if hollow is not None:
            empty = hollow[1][column].to_numpy(dtype=bool)
            style = {"markersize": 5, "markerfacecolor": "white", "color": drawn.get_color()}
            axis.plot(values[column][empty], (places + shift)[empty], marker, zorder=3, **style)
    for place in places[values.isna().all(axis=1)]:
        absent(axis, place)
    if line is not None:
        axis.axvline(line, color="black", linewidth=1, zorder=1)
    handles, names = axis.get_legend_handles_labels()
    if hollow is not None and (hollow[1] & values.notna()).any(axis=None):
        style = {"markerfacecolor": "white", "color": "#777777", "markersize": 5}
        handles, names = [*handles, *axis.plot([], [], "o", **style)], [*names, hollow[0]]
    axis.set(yticks=places, yticklabels=values.index, xlabel=label, title=title)
    axis.set_ylim(len(values) - 0.5, -0.5)
    if len(handles) > 1 or hollow is not None:
        legend_beside(axis, handles, names)
    return figure


def differences(compared: Mapping[str, pd.DataFrame], *, label: str, title: str) -> Figure:
    """Differences of rows from one of them with their intervals, and a line at 0.

    A marker is filled if the verdict, corrected for all rows, tells its row apart; the legend says
    how many pairs there are.

    Parameters
    ----------
    compared : mapping
        Name -> frame with a row a difference: ``difference``, ``low``, ``high``, ``n`` and
        ``verdict``, as from ``statistics.paired``. The first has all rows; NaN where nothing is.
    label, title : str
        Of the value axis, and of the figure.
    """
    first = next(iter(compared.values()))
    compared = {f"{name} ({_span(one['n'])})": one for name, one in compared.items()}
    values = {name: one["difference"] for name, one in compared.items()}
    halves = {name: (one["high"] - one["low"]) / 2 for name, one in compared.items()}
    values, halves = (
        pd.DataFrame(part).reindex(first.index).astype(float) for part in (values, halves)
    )
    apart = {name: one["verdict"].reindex(first.index) for name, one in compared.items()}
    unsure = ~pd.DataFrame(apart).isin(["higher", "lower"])
    unsure = ("not told apart after Holm", unsure)
    return dots(values, halves, label=label, title=title, line=0, hollow=unsure)


def _span(n: pd.Series) -> str:
    low, high = int(n[n > 0].min() if (n > 0).any() else 0), int(n.max())
    return f"n = {high}" if low == high else f"n = {low} to {high}"


def rates(table: pd.DataFrame, *, label: str, title: str) -> Figure:
    """A heat map of shares between 0 and 1, written into its cells; NaN stays empty.

    Parameters
    ----------
    table : DataFrame
    label, title : str
        Of the columns' axis, and of the figure.
    """
    figure, axes = grid(1, 1, (2.6 + 0.62 * len(table.columns), 1.6 + 0.3 * max(1, len(table))))
    axis = axes[0, 0]
    if table.isna().all(axis=None):
        absent(axis)
        axis.set(xticks=[], yticks=[])
    else:
        options = {"cmap": "Reds", "vmin": 0, "vmax": 1, "annot_kws": {"fontsize": 8}}
        sns.heatmap(table, annot=True, fmt=".2f", cbar=False, ax=axis, **options)
        for text in axis.texts:  # white on a middling red is hard to read
            text.set_color("white" if float(text.get_text()) > 0.6 else "black")
        axis.tick_params(axis="x", rotation=90)
    axis.set(xlabel=label, ylabel="", title=title)
    return figure


def wall(images: np.ndarray, captions: Sequence[Sequence[str]], names: Sequence[str]) -> Figure:
    """Rows of small images with captions, a name beside each row.

    Parameters
    ----------
    images : (R, N, H, W, 3) uint8 array
    captions : R sequences of N str
    names : sequence of R str
    """
    rows, columns = images.shape[:2]
    figure, axes = grid(rows, columns, (1.6 + 0.8 * columns, 1.1 * rows))
    for row in range(rows):
        for column in range(columns):
            axis = axes[row, column]
            axis.imshow(images[row, column], interpolation="nearest")  # a third of the bytes
            axis.set(xticks=[], yticks=[])
            axis.set_title(captions[row][column], fontsize=7.5, loc="center", fontweight="normal")
        label = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9}
        axes[row, 0].set_ylabel(names[row], **label)
    figure.set_label(f"Rows of small images: {'; '.join(names)}")
    return figure
