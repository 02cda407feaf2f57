"""What every labelled data set looks like."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """A data set with true labels, divided into training and test examples.

    Attributes
    ----------
    name : str
    fingerprint : str
        Changes whenever the examples, their labels or their order change.
    classes : tuple of str
        Name of class 0, 1, ..., K.
    train_inputs, test_inputs : (N, F) float32 arrays
    train_labels, test_labels : (N,) int64 arrays
        True classes 0..K.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]
    train_inputs: np.ndarray
    train_labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray

    @property
    def prior(self) -> float:
        """Share of positives among the training examples."""
        return float((self.train_labels > 0).mean())
