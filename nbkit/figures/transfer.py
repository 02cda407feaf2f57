"""First-layer filters of networks, and rows of images."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from nbkit.figures.style import absent, grid

WIDE = 8  # filters beside each other
PANELS = 4  # networks beside each other


def filters(layers: Mapping[str, np.ndarray], title: str) -> Figure:
    """Filters as colour tiles, a panel a network; tiles at one place started as the same filter.

    Parameters
    ----------
    layers : mapping
        Name -> (F, 3, k, k) float array, the weights of a first layer. Each filter is stretched to
        the whole range of colours. It may be empty.
    title : str
    """
    rows = max(1, math.ceil(len(layers) / PANELS))
    figure, axes = grid(rows, PANELS, (2.3 * PANELS, 0.45 + 1.05 * rows))
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, (name, weights) in zip(axes.ravel(), layers.items(), strict=False):
        axis.imshow(tiles(weights), interpolation="nearest")
        axis.set_title(name, fontsize=9)
    if not layers:
        absent(axes[0, 0])
    figure.suptitle(title)
    return figure


def tiles(weights: np.ndarray) -> np.ndarray:
    """Return filters side by side, eight a row and a white pixel between them.

    Parameters
    ----------
    weights : (F, 3, k, k) float array

    Returns
    -------
    (H, W, 3) float array in [0, 1]
    """
    low = weights.min(axis=(1, 2, 3), keepdims=True)
    span = weights.max(axis=(1, 2, 3), keepdims=True) - low
    stretched = (weights - low) / np.where(span > 0, span, 1)
    count, side = len(weights), weights.shape[-1]
    rows = math.ceil(count / WIDE)
    sheet = np.ones((rows * (side + 1) - 1, WIDE * (side + 1) - 1, 3))
    for i, tile in enumerate(stretched.transpose(0, 2, 3, 1)):
        top, left = (side + 1) * (i // WIDE), (side + 1) * (i % WIDE)
        sheet[top : top + side, left : left + side] = tile
    return sheet


def strips(rows: Mapping[str, np.ndarray]) -> Figure:
    """Small images side by side, a row a name.

    Parameters
    ----------
    rows : mapping
        Name -> (N, H, W, 3) uint8 array, all of one shape.
    """
    count = len(next(iter(rows.values())))
    figure, axes = grid(len(rows), 1, (1.6 + 0.8 * count, 0.85 * len(rows)))
    for axis, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        framed = np.pad(images, ((0, 0), (0, 0), (2, 2), (0, 0)), constant_values=255)
        axis.imshow(np.concatenate(list(framed), axis=1), interpolation="nearest")
        axis.set_anchor("E")  # room for the names
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.set_label(f"Rows of small images: {'; '.join(rows)}")
    return figure
