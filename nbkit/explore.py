"""Widgets for notebooks: the static picture first, then its sliders.

A page without a kernel shows the picture; a live notebook shows the picture and, below it, the same
picture under sliders.
"""

import os
from collections.abc import Callable

from IPython.display import display
from matplotlib.figure import Figure

from nbkit import figures


def live(interactive: bool) -> bool:
    """Return whether to show widgets: the notebook's parameter, unless NBKIT_INTERACTIVE says 0."""
    return interactive and os.environ.get("NBKIT_INTERACTIVE", "1") != "0"


def panel(
    draw: Callable[..., Figure], *, interactive: bool, controls: dict[str, tuple | list]
) -> None:
    """Show a figure, and sliders that redraw it.

    Parameters
    ----------
    draw : callable
        Takes the controls by name and returns a figure.
    interactive : bool
        Whether to add the sliders.
    controls : dict
        Name -> ``(low, high, step, start)`` for a slider, or a list of choices, the first of which
        is shown at the start.

    Raises
    ------
    ValueError
        For a control that is neither.
    """
    start = {name: _start(name, control) for name, control in controls.items()}
    display(draw(**start))
    if live(interactive):
        display(_sliders(draw, controls))


def _start(name: str, control: tuple | list) -> object:
    if isinstance(control, list) and control:
        return control[0]
    if isinstance(control, tuple) and len(control) == 4:
        return control[3]
    raise ValueError(f"control {name} must be (low, high, step, start) or a list, got {control!r}")


def _sliders(draw: Callable[..., Figure], controls: dict) -> object:
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
    image = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))

    def redraw(_: object = None) -> None:
        image.value = figures.png(draw(**{name: control.value for name, control in made.items()}))

    for control in made.values():
        control.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*made.values(), image])
