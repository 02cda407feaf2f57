"""What every labelled data set looks like."""

from dataclasses import dataclass, fields

import numpy as np


def read_only(data: object) -> None:
    """Let the arrays of a data set be read alone: everybody in a process is given the same."""
    for field in fields(data):
        array = getattr(data, field.name)
        if isinstance(array, np.ndarray):
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(data, field.name, view)


@dataclass(frozen=True)
class Split:
    """A data set with true labels, divided into training and test examples; arrays are read-only.

    Attributes
    ----------
    fingerprint : str
        Changes whenever the data set, a label or the order changes; toys have one for all draws.
    classes : tuple of str
        Name of class 0, 1, ..., K.
    train_inputs, test_inputs : (N, F) float32 or (N, H, W, 3) uint8 arrays
        Features, or RGB images.
    train_labels, test_labels : (N,) int64 arrays
        True classes 0..K.
    categories : tuple of str
        Names of the original classes that the K + 1 were made of, if they differ.
    train_categories, test_categories : (N,) int64 arrays, optional
        Index of each example into ``categories``.
    """

    fingerprint: str
    classes: tuple[str, ...]
    train_inputs: np.ndarray
    train_labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray
    categories: tuple[str, ...] = ()
    train_categories: np.ndarray | None = None
    test_categories: np.ndarray | None = None

    def __post_init__(self) -> None:
        read_only(self)

    @property
    def prior(self) -> float:
        """Share of positives among the training examples."""
        return float((self.train_labels > 0).mean())
