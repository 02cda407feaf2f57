"""Real handwritten digits as multi-positive PU data; they come with scikit-learn."""

import functools
import hashlib

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nbkit.data.split import Split


@functools.cache
def digits() -> Split:
    """The 1,797 digits of 8 x 8 pixels: 1 to 5 are the positive classes 1..5, the rest class 0.

    Returns
    -------
    Split
        1,078 training and 719 test images, stratified by digit, the same on every machine; inputs
        are 64 pixels in [-1, 1]. The fingerprint is that of the training images.

    Examples
    --------
    >>> digits().classes
    ('others', '1', '2', '3', '4', '5')
    """
    pixels, digit = load_digits(return_X_y=True)
    train, test = train_test_split(
        np.arange(len(digit)), test_size=0.4, random_state=0, stratify=digit
    )
    inputs = (pixels / 8 - 1).astype(np.float32)
    labels = np.where((digit >= 1) & (digit <= 5), digit, 0).astype(np.int64)
    content = pixels[train].tobytes() + digit[train].tobytes()
    return Split(
        fingerprint="digits-" + hashlib.sha256(content).hexdigest()[:12],
        classes=("others", "1", "2", "3", "4", "5"),
        train_inputs=inputs[train],
        train_labels=labels[train],
        test_inputs=inputs[test],
        test_labels=labels[test],
    )
