"""Small checks of arguments, shared by every module: each says what was given and expected."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

VOID = 255  # the label that counts nowhere
SETTINGS = ("one_sample", "two_sample")  # the population: P and U, or U


def fraction(name: str, value: float, *, low_open: bool = False, high_open: bool = False) -> float:
    """Return ``value`` as a float in [0, 1], or in the half-open or open interval asked for.

    Raises
    ------
    ValueError
        If it is not a number of that interval.
    """
    interval = f"{'(' if low_open else '['}0, 1{')' if high_open else ']'}"
    number = finite(name, value)
    if not 0 <= number <= 1 or (low_open and number == 0) or (high_open and number == 1):
        raise ValueError(f"{name} must be in {interval}, got {value!r}")
    return number


def finite(
    name: str, value: float, *, above: float | None = None, least: float | None = None
) -> float:
    """Return ``value`` as a finite float, greater than ``above`` or at least ``least``.

    Raises
    ------
    ValueError
        If it is not such a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ValueError(f"{name} must be a number, got {value!r}")
    bound = "" if above is None else f" greater than {above:g}"
    bound = bound if least is None else f" of at least {least:g}"
    small = (above is not None and value <= above) or (least is not None and value < least)
    if not math.isfinite(value) or small:
        raise ValueError(f"{name} must be a finite number{bound}, got {value!r}")
    return float(value)


def count(name: str, value: int, *, least: int = 1) -> int:
    """Return ``value`` as an int of at least ``least``; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def flag(name: str, value: bool) -> bool:
    """Return ``value`` if it is True or False; ValueError otherwise."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``allowed``; ValueError that lists them otherwise."""
    allowed = list(allowed)
    if value not in allowed:
        between = "; " if any("," in str(one) for one in allowed) else ", "
        raise ValueError(f"{name} must be one of {between.join(allowed)}; got {value!r}")
    return value


def columns(name: str, names: Sequence[str], there: Iterable[str]) -> list[str]:
    """Return names of columns as a list; ValueError for a single name, or one not there."""
    if isinstance(names, str):
        raise ValueError(f"{name} must be a list of columns, got {names!r}: write [{names!r}]")
    if lost := [one for one in names if one not in there]:
        known = ", ".join(map(str, there))
        raise ValueError(f"the frame has no column {', '.join(lost)}; there is {known}")
    return list(names)


def seeds(values: Sequence[int]) -> list[int]:
    """Return seeds, one a network, as a list; ValueError for none, or for one outside of a list."""
    if not isinstance(values, Iterable):
        raise ValueError(f"seeds must be a list, one a network, as [0], got {values!r}")
    drawn = [count("every seed", seed, least=0) for seed in values]
    count("the number of seeds", len(drawn))
    return drawn


def classes(num_classes: int, *, least: int = 2) -> int:
    """Return ``num_classes`` as an int of ``least`` to 255: label 255 means void."""
    if count("num_classes", num_classes, least=least) > VOID:
        raise ValueError(f"num_classes must be at most {VOID}, got {num_classes!r}")
    return int(num_classes)


def numpy_generator(rng: np.random.Generator) -> np.random.Generator:
    """Return ``rng`` if it is a NumPy generator; ValueError otherwise."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    return rng


def labels(values: np.ndarray, num_classes: int | None = None) -> np.ndarray:
    """Return a 1-D integer array of labels 0..num_classes-1, or 255 for void.

    Raises
    ------
    ValueError
        For another shape or dtype, an empty array, or a label outside the range.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"labels must be a non-empty vector of unit labels, got shape {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got dtype {array.dtype}")
    top = VOID if num_classes is None else classes(num_classes) - 1
    outside = (array != VOID) & ((array < 0) | (array > top))
    if outside.any():
        bad = np.unique(array[outside])[:5].tolist()
        raise ValueError(f"labels must be in 0..{top} or {VOID} (void), got {bad}")
    return array


def selectable(observed: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Return ``held_out`` if the selection criteria can be measured on it; ValueError otherwise.

    Parameters
    ----------
    observed : (N, ...) integer array
        Observed labels, 255 for void.
    held_out : (N,) bool array
    """
    labels = observed[held_out]
    if not ((labels > 0) & (labels != VOID)).any():
        raise ValueError(
            f"the {held_out.sum()} of {held_out.size} examples held out for selection hold no "
            "labelled positive; take more examples, keep more labels, or take another seed"
        )
    return held_out
