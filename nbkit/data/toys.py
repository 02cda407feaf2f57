"""Two-dimensional data: the author's moons, and Gaussians whose posterior is known."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split

from nbkit import checks
from nbkit.data.split import Split

MOONS = "make_moons-1"  # raise the number when the points of a seed change


def moons(seed: int, *, noise: float = 0.2, examples: int = 800) -> Split:
    """Two interleaving half circles, half of them for training (the draft's Figure 3).

    Parameters
    ----------
    seed : int
        Draws the points; the split is the author's (``random_state`` 42).
    noise : float
        Standard deviation of the points around their circle, at least 0.
    examples : int
        In all: 800 are the draft's "four hundred per class".

    Returns
    -------
    Split
        Class 1 is positive; inputs are (examples / 2, 2) on either side.

    Raises
    ------
    ValueError
        For a negative seed, a noise that is negative or not finite, or fewer than 8 examples.

    Examples
    --------
    >>> moons(0).train_inputs.shape
    (400, 2)
    """
    checks.finite("noise", noise, least=0)
    checks.count("examples", examples, least=8)
    x, y = make_moons(examples, noise=noise, random_state=checks.count("seed", seed, least=0))
    parts = train_test_split(
        x.astype(np.float32), y.astype(np.int64), test_size=0.5, random_state=42
    )
    train_x, test_x, train_y, test_y = parts
    return Split(
        fingerprint=MOONS,
        classes=("negative", "positive"),
        train_inputs=train_x,
        train_labels=train_y,
        test_inputs=test_x,
        test_labels=test_y,
    )


@dataclass(frozen=True)
class Gaussians:
    """Points of two unit Gaussians with their exact posterior.

    Attributes
    ----------
    inputs : (N, 2) float32 array
    labels : (N,) int64 array
        1 for a point of the positive Gaussian, else 0.
    posterior : (N,) float64 array
        eta = P(Y = 1 | x).
    """

    inputs: np.ndarray
    labels: np.ndarray
    posterior: np.ndarray


def gaussians(
    examples: int, *, prior: float = 0.5, distance: float = 2.0, rng: np.random.Generator
) -> Gaussians:
    """Draw from two unit Gaussians, centred at (-distance/2, 0) and (distance/2, 0).

    Parameters
    ----------
    examples : int
        N.
    prior : float
        Share of positives, in (0, 1).
    distance : float
        Between the centres, greater than 0.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        For fewer than 1 example, a prior outside (0, 1), a distance that is not positive and
        finite, or an ``rng`` that is no NumPy generator.
    """
    checks.count("examples", examples)
    prior = checks.fraction("prior", prior, low_open=True, high_open=True)
    distance, rng = checks.finite("distance", distance, above=0), checks.numpy_generator(rng)
    labels = (rng.random(examples) < prior).astype(np.int64)
    centres = np.stack([(labels - 0.5) * distance, np.zeros(examples)], axis=1)
    inputs = rng.standard_normal((examples, 2)) + centres
    logit = np.log(prior / (1 - prior)) + distance * inputs[:, 0]
    return Gaussians(inputs.astype(np.float32), labels, 1 / (1 + np.exp(-logit)))
