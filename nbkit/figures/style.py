"""One style for every figure, and how figures are shown and exported."""

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from IPython import get_ipython
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from nbkit import paths

POSITIVE, NEGATIVE = "#C8102E", "#1F5FA8"
COLORS = {
    "CrossEntropy": "#888888",
    "Balanced CE": "#56B4E9",
    "Weighted": "#0072B2",
    "Exponential": "#D55E00",
    "BootstrapHard": "#009E73",
    "P+N": "#CC79A7",
    "DropoutReg": "#E69F00",
    "nnPU": "#332288",
    "Dist-PU": "#999933",
    "Exponential, r = 1": "#882255",
    "Exponential, fade-in": "#8C564B",
    "nnPU, fade-in": "#AA3377",
    "nnPU, imbalanced": "#009988",
    "Complete": "#000000",
    "CompleteCategory": "#000000",
    "PixelObjectness": "#0072B2",
    "RandomCategory": "#D55E00",
    "OneCategory": "#009E73",
    "Autoencoder": "#CC79A7",
    "ImageLabels": "#E69F00",
    "FromScratch": "#888888",
    "missing": "#D55E00",
    "misclassified": "#0072B2",
    "misannotated": "#009E73",
}
# colour is not all that tells a line: of the rows that share a figure no two have the same of both
DASHED = ("CrossEntropy", "FromScratch", "P+N")
KINDS = {", fade-in": ":", ", imbalanced": "--", ", frozen": "--", ", fine-tuned": "-"}
MARKERS = {
    "Complete": "*",
    "Exponential": "s",
    "Exponential, r = 1": "<",
    "BootstrapHard": "D",
    "P+N": "^",
    "DropoutReg": "v",
    "nnPU": "P",
    "Dist-PU": "X",
    "CompleteCategory": "*",
    "RandomCategory": "s",
    "OneCategory": "D",
    "Autoencoder": "^",
    "ImageLabels": "v",
    "misclassified": "s",
    "misannotated": "^",
}
# what is not listed has a dash by its place, and a marker that no listed row has
DASHES = ("-", "--", "-.", ":")
SPARE = (">", "d", "p", "x", "+", "h", "1")

MANY = 10  # markers that a line has at most
ABSENT = "no finished run"
UNTITLED = "a figure without a title"


def look(name: str, place: int = 0) -> dict:
    """Return how the line of a row is drawn: colour, dash and marker.

    A name that is not listed has them by its ``place`` among the lines of its figure.
    """
    kind = next((kind for kind in KINDS if name.endswith(kind)), "")
    base = name.removesuffix(kind)
    if base in COLORS:
        color, marker, size = COLORS.get(name, COLORS[base]), MARKERS.get(base, "o"), 4.5
        dash = "--" if base in DASHED else "-"
    else:
        color, marker, size = f"C{place}", SPARE[place % len(SPARE)], 5.5
        dash = DASHES[place % len(DASHES)]
    dash = KINDS.get(kind, dash)
    return {"color": color, "linestyle": dash, "marker": marker, "markersize": size}


def trace(
    axis: mpl.axes.Axes, x: np.ndarray, y: np.ndarray, name: str, place: int = 0, **style: object
) -> Line2D:
    """Draw the line of a row as ``look`` has it, with a marker every few points if they are many.

    ``style`` is what differs from it, in the words of ``axis.plot``.
    """
    every = max(1, -(-len(x) // MANY))
    style = {"label": name, "markevery": every} | look(name, place) | style
    (line,) = axis.plot(x, y, **style)
    return line


def absent(axis: mpl.axes.Axes, row: float | None = None) -> None:
    """Say that no run is finished: in the middle of an axis, or in one of its rows."""
    if row is None:
        axis.text(0.5, 0.5, ABSENT, ha="center", color="#777777", transform=axis.transAxes)
        return
    where = axis.get_yaxis_transform()
    axis.text(0.02, row, ABSENT, transform=where, fontsize=8, color="#777777", va="center")


def legend_beside(axis: mpl.axes.Axes, *entries: list) -> None:
    """Put the legend to the right of an axis; ``entries`` are handles and names, if not its own."""
    axis.legend(*entries, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8.5)


def use_style() -> None:
    """Set the study's style, and let a notebook show figures as PNG."""
    mpl.style.use(Path(__file__).parent.parent / "nbkit.mplstyle")
    shell = get_ipython()
    if shell is not None:
        shown = shell.display_formatter.formatters["image/png"]
        shown.for_type(Figure, lambda figure: (png(figure), {"alt": alternative(figure)}))


def png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes of 256 colours, so that a notebook of many stays small."""
    canvas, small = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    colors = picture.quantize(256, dither=Image.Dither.NONE)
    colors.save(small, format="png", optimize=True)
    return small.getvalue()


def alternative(figure: Figure) -> str:
    """Return in words what a figure shows, for readers who do not see it.

    It is what ``figure.set_label`` was given, else the title, else the titles of the axes.
    """
    places = ("left", "center", "right")
    titles = [axis.get_title(loc=place) for axis in figure.axes for place in places]
    panels = "; ".join(dict.fromkeys(filter(None, titles)))
    text = figure.get_label() or figure.get_suptitle() or panels or UNTITLED
    return " ".join(text.split())


def save(figure: Figure, name: str) -> Figure:
    """Export a figure as PNG and SVG if the runner asked for it (``NBKIT_FIGURES``); return it.

    The files carry its alternative text as their title.
    """
    folder = paths.exports()
    blank = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    for kind, metadata in blank.items() if folder else ():
        with paths.exporting(folder / f"{name}.{kind}") as partial:
            titled = metadata | {"Title": alternative(figure)}
            figure.savefig(partial, format=kind, metadata=titled)
    return figure


def grid(rows: int, columns: int, size: tuple[float, float], **kwargs) -> tuple[Figure, np.ndarray]:
    """Return a figure of ``size`` inches and its (rows, columns) array of axes."""
    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)
