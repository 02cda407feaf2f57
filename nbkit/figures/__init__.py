"""Every plot of the study, from tidy frames and arrays, in one style.

Functions return a closed matplotlib figure: a notebook shows it by naming it last in a cell.
"""

from nbkit.figures.claims import parity, verdicts
from nbkit.figures.comparisons import differences, dots, rates, wall
from nbkit.figures.masks import masks, tinted, transitions
from nbkit.figures.moons import moons_grid, side_by_side
from nbkit.figures.scores import (
    confusion,
    gallery,
    learning_curves,
    lines,
    ranking,
    reliability,
    series,
)
from nbkit.figures.segmentation import pixel_rows
from nbkit.figures.style import alternative, png, save, use_style
from nbkit.figures.theory import balance, labelling, loss_curves, measured_thresholds
from nbkit.figures.transfer import filters, strips

__all__ = [
    "alternative",
    "balance",
    "confusion",
    "differences",
    "dots",
    "filters",
    "gallery",
    "labelling",
    "learning_curves",
    "lines",
    "loss_curves",
    "masks",
    "measured_thresholds",
    "moons_grid",
    "parity",
    "pixel_rows",
    "png",
    "ranking",
    "rates",
    "reliability",
    "save",
    "series",
    "side_by_side",
    "strips",
    "tinted",
    "transitions",
    "use_style",
    "verdicts",
    "wall",
]
