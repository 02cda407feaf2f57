"""Masks over their images, and what label noise made of the classes."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import ndimage

from nbkit.checks import VOID
from nbkit.figures.style import grid

# Okabe and Ito's colours first, then lighter and darker relatives; numbers tell them apart as well
CLASS_COLORS = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442"),
    *("#332288", "#882255", "#117733", "#999933", "#AA4499", "#6F4E37", "#88CCEE"),
    *("#DDCC77", "#CC6677", "#44AA99", "#004488", "#BBCC33", "#EE8866"),
)
VOID_COLOR = "#FFFFFF"
OPACITY = 0.65  # of a class; the image is grey under it, so that the colour is that of the class
VOID_OPACITY = 0.85
PIXELS = 192  # an image is drawn with at least as many, so that outlines are thin
LEAST = 0.006  # share of the image that a region needs to carry its number


def masks(
    images: np.ndarray,
    masks: np.ndarray,
    titles: Sequence[str],
    classes: Sequence[str],
    *,
    title: str = "",
    outlined: np.ndarray | None = None,
    columns: int = 5,
) -> Figure:
    """Images under their masks, with a legend of the classes that are there.

    A class has one colour in all figures and its regions carry its number, void is white, and a
    mask of zeros shows the bare image.

    Parameters
    ----------
    images : (N, H, W, 3) uint8 array
        Repeat an image to show it under several masks.
    masks : (N, H, W) integer array
        Classes 0..K, 255 for void.
    titles : sequence of N str
    classes : sequence of K + 1 str
        Their names, "background" first.
    title : str
        Of the figure.
    outlined : (N, H, W) bool array, optional
        Regions to draw a heavy line round.
    columns : int
        Images a row.

    Raises
    ------
    ValueError
        If the shapes disagree, or a mask holds a class without a name.
    """
    images, masks = np.asarray(images), np.asarray(masks)
    if images.ndim != 4 or images.shape[:3] != masks.shape or len(titles) != len(masks):
        raise ValueError(
            f"images must be (N, H, W, 3), masks (N, H, W) and titles N, got {images.shape}, "
            f"{masks.shape} and {len(titles)}"
        )
    if outlined is not None and np.shape(outlined) != masks.shape:
        raise ValueError(f"outlined must be {masks.shape}, got {np.shape(outlined)}")
    present = np.unique(masks)
    unnamed = present[(present >= len(classes)) & (present != VOID)]
    if unnamed.size:
        raise ValueError(f"masks hold {unnamed.tolist()}, and classes names 0..{len(classes) - 1}")
    columns = max(1, min(columns, len(masks)))
    rows = -(-len(masks) // columns)
    figure, axes = grid(rows, columns, (2.05 * columns, 2.3 * rows + 0.7))
    for axis in axes.ravel():
        axis.set_axis_off()
    for i, axis in enumerate(axes.ravel()[: len(masks)]):
        _draw(axis, images[i], masks[i], None if outlined is None else outlined[i])
        axis.set_title(titles[i], fontsize=9, loc="center", fontweight="normal")
    figure.suptitle(title or None)
    shown = "; ".join(dict.fromkeys(titles))  # a title may be no more than the name of an image
    figure.set_label(f"{title}: {shown}" if title else shown)
    names = {k: f"{k} {classes[k]}".strip() for k in present.tolist() if 0 < k != VOID}
    handles = [Patch(color=_color(k), label=name) for k, name in names.items()]
    if VOID in present:
        handles.append(Patch(facecolor=VOID_COLOR, edgecolor="#777777", label="void"))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns + 1, fontsize=8.5)
    return figure


def transitions(
    matrices: Mapping[str, np.ndarray],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> Figure:
    """Transition matrices as heat maps with their shares written in.

    Parameters
    ----------
    matrices : mapping of str to (R, C) array
        A title a panel -> shares of the true class (row) that carry a label (column); a share of
        0 stays empty.
    rows, columns : sequences of R and of C str
        Names of the true classes and of the labels.
    title : str
        Of the figure.
    """
    across = min(3, len(matrices))
    down = -(-len(matrices) // across)
    size = (1.6 + (0.3 + 0.46 * len(columns)) * across, 0.6 + (0.6 + 0.34 * len(rows)) * down)
    figure, axes = grid(down, across, size, sharex=True, sharey=True)
    options = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False, "linewidths": 0.5}
    options |= {"fmt": "", "annot_kws": {"fontsize": 8}, "linecolor": "#E6E6E6"}
    names = {"xticklabels": columns, "yticklabels": rows}
    for axis, (name, matrix) in zip(axes.ravel(), matrices.items(), strict=False):
        text = [["" if share == 0 else f"{share:.2f}" for share in row] for row in matrix]
        sns.heatmap(matrix, annot=text, ax=axis, **options, **names)
        axis.tick_params(axis="y", rotation=0)
        axis.tick_params(length=0)
        axis.set_title(name)
    figure.supxlabel("label", fontsize=10)
    figure.supylabel("truth", fontsize=10)
    figure.suptitle(title)
    return figure


def tinted(masks: np.ndarray) -> np.ndarray:
    """Return masks in colour: background black, void white, twenty colours for the classes.

    Parameters
    ----------
    masks : (..., H, W) integer array
        Labels, 255 for void; class k and class k + 20 share a colour.

    Returns
    -------
    (..., H, W, 3) uint8 array
    """
    colors = np.array([to_rgb(color) for color in CLASS_COLORS])
    named = colors[(masks.astype(np.int64) - 1) % len(colors)]
    named = np.where((masks == 0)[..., None], 0.0, named)
    return (255 * np.where((masks == VOID)[..., None], 1.0, named)).round().astype(np.uint8)


def _color(k: int) -> str:
    return CLASS_COLORS[(k - 1) % len(CLASS_COLORS)]


def _draw(axis: Axes, image: np.ndarray, mask: np.ndarray, outlined: np.ndarray | None) -> None:
    factor = max(1, -(-PIXELS // max(mask.shape)))
    fine = mask.repeat(factor, 0).repeat(factor, 1)
    picture = image.repeat(factor, 0).repeat(factor, 1) / 255
    grey = picture.mean(axis=-1, keepdims=True)
    edge = ndimage.morphological_gradient(fine.astype(np.int64), size=3) > 0
    for k in np.setdiff1d(mask, [0]).tolist():
        inside = fine == k
        color = np.array(to_rgb(VOID_COLOR if k == VOID else _color(k)))
        share = VOID_OPACITY if k == VOID else OPACITY
        picture[inside] = share * color + (1 - share) * grey[inside]
        if k != VOID:
            picture[inside & edge] = color
    axis.imshow(picture, interpolation="nearest")
    for k in np.setdiff1d(mask, [0, VOID]).tolist():
        _number(axis, fine == k, k)
    if outlined is not None and outlined.any():
        line = np.pad(outlined.repeat(factor, 0).repeat(factor, 1), 1).astype(float)
        places = [np.arange(-1, length + 1) for length in fine.shape]
        for color, width in (("black", 3.6), ("white", 1.6)):
            axis.contour(places[1], places[0], line, [0.5], colors=color, linewidths=width)
        axis.set(xlim=(-0.5, fine.shape[1] - 0.5), ylim=(fine.shape[0] - 0.5, -0.5))


def _number(axis: Axes, inside: np.ndarray, k: int) -> None:
    """Write the class into each region of it that is large enough, where the region is widest."""
    regions, count = ndimage.label(inside)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    for region in range(1, count + 1):
        if sizes[region] >= LEAST * inside.size:
            y, x = np.unravel_index(np.where(regions == region, depth, 0).argmax(), depth.shape)
            box = {
                "boxstyle": "round,pad=0.12",
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.8,
            }
            axis.text(x, y, k, ha="center", va="center", fontsize=7.5, bbox=box)
