"""The embedded data sets: same everywhere, split cleanly, with the posterior they promise."""

import sys

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split

from nbkit import data
from nbkit.rng import generator


def test_moons_are_those_of_scikit_learn():
    x, y = make_moons(800, noise=0.2, random_state=5)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.5, random_state=42)
    split = data.moons(5)
    np.testing.assert_allclose(split.train_inputs, train_x, rtol=1e-6)
    np.testing.assert_allclose(split.test_inputs, test_x, rtol=1e-6)
    assert np.array_equal(split.train_labels, train_y)
    assert np.array_equal(split.test_labels, test_y)


def test_moons_without_noise_are_half_circles():
    split = data.moons(0, noise=0.0, examples=100)
    centre = np.where(split.train_labels[:, None] == 1, [1.0, 0.5], [0.0, 0.0])
    radius = np.linalg.norm(split.train_inputs - centre, axis=1)
    np.testing.assert_allclose(radius, 1, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: data.moons(3), data.digits.__wrapped__])
def test_the_same_call_gives_the_same_data(make):
    first, second = make(), make()
    assert np.array_equal(first.train_inputs, second.train_inputs)
    assert np.array_equal(first.test_labels, second.test_labels)


def test_seeds_draw_other_moons():
    assert not np.array_equal(data.moons(0).train_inputs, data.moons(1).train_inputs)


@pytest.mark.parametrize("split", [data.moons(0), data.digits()], ids=["moons", "digits"])
def test_no_test_example_is_trained_on(split):
    train = {row.tobytes() for row in split.train_inputs}
    assert not any(row.tobytes() in train for row in split.test_inputs)


def test_data_that_everybody_shares_cannot_be_changed():
    digits, scenes = data.digits(), data.scenes(6)
    for array in (digits.train_labels, digits.test_inputs, scenes.images, scenes.unit_labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    own = np.zeros(3, dtype=np.int64)
    data.split.Split("own", ("a", "b"), own, own, own, own)
    own[0] = 1  # who has made an array may go on with it


def test_digits_keep_every_image_and_half_of_them_positive():
    split = data.digits()
    labels = np.concatenate([split.train_labels, split.test_labels])
    assert len(labels) == 1797
    assert set(labels) == set(range(6))
    assert abs(split.prior - (labels > 0).mean()) < 0.005


def test_digits_are_those_of_scikit_learn():
    pixels, digit = load_digits(return_X_y=True)
    true = {row.tobytes(): label for row, label in zip(pixels, digit, strict=True)}
    split = data.digits()
    for inputs, labels in (
        (split.train_inputs, split.train_labels),
        (split.test_inputs, split.test_labels),
    ):
        found = [true[row.tobytes()] for row in (inputs.astype(float) + 1) * 8]
        assert np.array_equal(np.where(np.isin(found, range(1, 6)), found, 0), labels)


def test_digits_are_divided_alike_in_every_class():
    split = data.digits()
    train, test = np.bincount(split.train_labels), np.bincount(split.test_labels)
    assert np.abs(test / (train + test) - 0.4).max() < 0.01


def test_digits_know_their_content(monkeypatch):
    pixels, digit = load_digits(return_X_y=True)
    pixels[:, 30] += 1
    module = sys.modules["nbkit.data.digits"]  # the package has the function under that name
    monkeypatch.setattr(module, "load_digits", lambda **_: (pixels, digit))
    assert data.digits.__wrapped__().fingerprint != data.digits().fingerprint


@pytest.mark.parametrize("prior", [0.2, 0.5])
def test_posterior_is_the_one_of_bayes(prior):
    drawn = data.gaussians(1000, prior=prior, distance=3.0, rng=generator(0, "test"))
    positive = prior * norm.pdf(drawn.inputs[:, 0], 1.5)
    negative = (1 - prior) * norm.pdf(drawn.inputs[:, 0], -1.5)
    np.testing.assert_allclose(drawn.posterior, positive / (positive + negative), atol=1e-5)


def test_gaussians_follow_their_generator():
    first, again, other = (data.gaussians(50, rng=generator(seed, "test")) for seed in (0, 0, 1))
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.inputs, other.inputs)


@pytest.mark.parametrize("prior", [0.2, 0.5, 0.7])
def test_posterior_is_the_share_of_positives(prior):
    drawn = data.gaussians(200_000, prior=prior, rng=generator(0, "test"))
    bins = np.digitize(drawn.posterior, np.linspace(0, 1, 11)[1:-1])
    for cell in range(10):
        own = bins == cell
        error = abs(drawn.labels[own].mean() - drawn.posterior[own].mean())
        assert error < 4 * 0.5 / np.sqrt(own.sum())
