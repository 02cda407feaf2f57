"""What a check does with an answer: take it, call it, and say what is wrong with it."""

import functools
from collections.abc import Callable

import numpy as np

TODO = (
    "Not answered yet: put your answer into this cell (a function has to `return` it), and run it "
    "again."
)


class NotYetError(Exception):
    """What is wrong with an answer; without a text, there is none."""


def check(function: Callable[..., None]) -> Callable[..., None]:
    """Make a check of a function that raises ``NotYetError``: it prints one line."""

    @functools.wraps(function)
    def told(*args, **options) -> None:
        try:
            function(*args, **options)
        except NotYetError as wrong:
            print(f"Not yet: {wrong}" if str(wrong) else TODO)
        else:
            print("Right.")

    return told


def given(answer: object) -> object:
    """Return an answer, unless it is still ``None`` or an ellipsis."""
    if answer is None or answer is ...:
        raise NotYetError
    return answer


def enough(runs: bool, command: str) -> None:
    """Raise NotYetError with the command that computes the runs, unless there are enough."""
    if not runs:
        raise NotYetError(f"too few finished runs: this needs those that `{command}` computes")


def called(answer: object, *args: object) -> object:
    """Return what an answer makes of arguments."""
    if not callable(given(answer)):
        raise NotYetError(f"expected a function, got {type(answer).__name__}")
    return given(tried(answer, *args))


def tried(function: Callable, *args: object, **options: object) -> object:
    """Call something, and take what it raises for what is wrong."""
    try:
        return function(*args, **options)
    except Exception as error:
        said = " ".join(str(error).split())
        raise NotYetError(f"{type(error).__name__}: {said}") from error


def number(answer: object, what: str = "a number") -> float:
    """Return an answer as a finite float."""
    kinds = (int, float, np.number)
    if not isinstance(given(answer), kinds) or isinstance(answer, bool) or not np.isfinite(answer):
        raise NotYetError(f"expected {what}, got {_shown(answer)}")
    return float(answer)


def numbers(answer: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return an answer as a float array of a shape, without NaN or infinity."""
    try:
        array = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        array = np.full((), np.nan)
    if array.shape != shape or not np.isfinite(array).all():
        size = " x ".join(map(str, shape))
        raise NotYetError(f"expected {what}: {size} finite numbers, got {_shown(answer)}")
    return array


def names(answer: object) -> list[str]:
    """Return an answer as a list of texts."""
    several = isinstance(given(answer), (list, tuple, set))
    if not several or not all(isinstance(one, str) for one in answer):
        raise NotYetError("expected names, such as those of the table")
    return list(answer)


def _shown(answer: object) -> str:
    if isinstance(answer, np.ndarray):
        return f"an array of shape {answer.shape} with {answer.dtype}"
    return f"{type(answer).__name__} {str(answer)[:40]}".strip()
