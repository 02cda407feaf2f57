"""Images under what is said of their pixels: masks, and probabilities."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nbkit.checks import VOID
from nbkit.figures.style import POSITIVE, grid

BACKGROUND, OUTLINE = "#B8B8B8", "#FFD400"
SHADES = 16  # of a probability: smooth ones take three times the bytes


def pixel_rows(
    images: np.ndarray,
    rows: Mapping[str, np.ndarray],
    *,
    title: str,
    outlined: np.ndarray | None = None,
    level: float = 0.5,
) -> Figure:
    """A column an image; the first row bare, then one for each mask or probability of its pixels.

    Masks are red where positive, grey where 0 and white where void; probabilities go from black to
    white, with a line where they reach ``level``.

    Parameters
    ----------
    images : (N, H, W, 3) uint8 array
    rows : mapping
        Name -> (N, H, W) integer masks, or floats in [0, 1].
    title : str
        Of the figure.
    outlined : (N, H, W) bool array, optional
        What gets a dashed outline in every row but the first.
    level : float
        In [0, 1].
    """
    figure, axes = grid(1 + len(rows), len(images), (1.6 + len(images), 1.05 * len(rows) + 1.5))
    for axis, image in zip(axes[0], images, strict=True):
        axis.imshow(image, interpolation="nearest")
    for line, values in zip(axes[1:], rows.values(), strict=True):
        for i, axis in enumerate(line):
            _draw(axis, values[i], level)
            if outlined is not None and outlined[i].any():
                axis.contour(outlined[i], [0.5], colors=OUTLINE, linestyles="--", linewidths=1.2)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
    label = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 9}
    for axis, name in zip(axes[:, 0], ("image", *rows), strict=True):
        axis.set_ylabel(name, **label)
    figure.suptitle(title)
    return figure


def _draw(axis: Axes, values: np.ndarray, level: float) -> None:
    if values.dtype.kind == "f":
        shades = colormaps["gray"].resampled(SHADES)
        axis.imshow(values, cmap=shades, vmin=0, vmax=1, interpolation="nearest")
        if values.min() < level < values.max():
            axis.contour(values, [level], colors=POSITIVE, linewidths=1.6)
        return
    kinds = np.where(values == VOID, 2, np.minimum(values, 1))
    colors = ListedColormap([BACKGROUND, POSITIVE, "white"])  # flat: a photo takes far more bytes
    axis.imshow(kinds, cmap=colors, vmin=0, vmax=2, interpolation="nearest")
