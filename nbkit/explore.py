"""Widgets for notebooks: a picture, and below it the sliders that redraw it.

A page without a kernel shows the picture as it was last drawn.
"""

import math
import os
from collections.abc import Callable

import numpy as np
from IPython.display import DisplayHandle, Image, Pretty, display
from matplotlib.figure import Figure

from nbkit import checks, figures
from nbkit.data.split import Split

PAGE = 16  # images at once
DRAWN = "drawn above (if not, the page was reloaded since: run the cell again)"


def panel(
    draw: Callable[..., Figure], *, interactive: bool, controls: dict[str, tuple | list]
) -> None:
    """Show a figure, and sliders that redraw it.

    Parameters
    ----------
    draw : callable
        Takes the controls by name and returns a figure.
    interactive : bool
        Whether to add the sliders, unless the variable NBKIT_INTERACTIVE is 0.
    controls : dict
        Name -> ``(low, high, step, start)`` for a slider, or a list of choices, the first of which
        is shown at the start.

    Raises
    ------
    ValueError
        For a control that is neither.
    """
    start = {name: _start(name, control) for name, control in controls.items()}
    picture = DisplayHandle()
    picture.display(_image(draw(**start)))
    if checks.flag("interactive", interactive) and os.environ.get("NBKIT_INTERACTIVE") != "0":
        display(_sliders(draw, controls, picture))
    else:
        print("Its controls appear in JupyterLab: make lab, then Run > Run All Cells.")


def browser(
    split: Split,
    predict: Callable[[str], np.ndarray],
    losses: list[str],
    *,
    interactive: bool,
) -> None:
    """Show test images by loss and confidence: the surest mistakes first, then the sliders.

    Parameters
    ----------
    split : data.split.Split
    predict : callable
        Name of a loss -> (N, C) class probabilities of the test examples; the first name is asked
        for at once, the others when they are chosen.
    losses : list of str
    interactive : bool
        Whether to add the sliders.
    """

    def draw(loss: str, show: str, true_class: str, least_confidence: float, page: int) -> Figure:
        probability = predict(loss)
        predicted, confidence = probability.argmax(1), probability.max(1)
        shown = (predicted == split.test_labels) == (show == "hits")
        if true_class != "all":
            shown &= split.test_labels == split.classes.index(true_class)
        order = np.flatnonzero(shown & (confidence >= least_confidence))
        order = order[np.argsort(-confidence[order], kind="stable")]
        last = max(1, math.ceil(len(order) / PAGE))
        page = min(page, last)
        part = order[PAGE * (page - 1) : PAGE * page]
        captions = [
            f"{_name(split, i)} as {split.classes[predicted[i]]}\n{confidence[i]:.0%} sure"
            for i in part
        ]
        title = f"{loss}: {len(order)} {show}, the surest first, page {page} of {last}"
        return figures.gallery(split.test_inputs[part], captions, title)

    controls = {
        "loss": losses,
        "show": ["mistakes", "hits"],
        "true_class": ["all", *split.classes],
        "least_confidence": (0.0, 1.0, 0.05, 0.0),
        "page": (1, math.ceil(len(split.test_labels) / PAGE), 1, 1),
    }
    panel(draw, interactive=interactive, controls=controls)


def _name(split: Split, i: int) -> str:
    """What a test example shows: its category if the data set has some, else its class."""
    if split.test_categories is None:
        return split.classes[split.test_labels[i]]
    return split.categories[split.test_categories[i]]


def _image(figure: Figure) -> Image:
    return Image(figures.png(figure), alt=figures.alternative(figure))


def _start(name: str, control: tuple | list) -> object:
    if isinstance(control, list) and control:
        return control[0]
    if isinstance(control, tuple) and len(control) == 4:
        return control[3]
    raise ValueError(f"control {name} must be (low, high, step, start) or a list, got {control!r}")


def _sliders(draw: Callable[..., Figure], controls: dict, picture: DisplayHandle) -> object:
    import ipywidgets as widgets

    made = {}
    for name, control in controls.items():
        label = name.replace("_", " ")
        shared = {"description": label, "style": {"description_width": "9em"}}
        if isinstance(control, list):
            made[name] = widgets.Dropdown(options=control, value=control[0], **shared)
            continue
        low, high, step, start = control
        whole = all(isinstance(number, int) for number in control)
        kind = widgets.IntSlider if whole else widgets.FloatSlider
        # redraw when the handle is let go: a redraw takes longer than a mouse move
        made[name] = kind(start, min=low, max=high, step=step, continuous_update=False, **shared)
    state = widgets.Label()

    def redraw(_: object) -> None:
        chosen = {name: control.value for name, control in made.items()}
        state.value = "drawing ..."  # a choice may train a network first
        try:
            picture.update(_image(draw(**chosen)))
        except Exception as error:  # else the old picture would stand above the new setting
            picture.update(Pretty(f"{type(error).__name__}: {error}"))
        state.value = DRAWN  # a reloaded page has the sliders, and no longer knows their picture

    for control in made.values():
        control.observe(redraw, names="value")
    return widgets.VBox([*made.values(), state])
