"""The embedded data sets: same everywhere, split cleanly, with the posterior they promise."""

import numpy as np
import pytest

from nbkit import data
from nbkit.rng import generator


def test_moons_are_the_authors_split():
    split = data.moons(0)
    assert split.train_inputs.shape == split.test_inputs.shape == (400, 2)
    assert np.concatenate([split.train_labels, split.test_labels]).sum() == 400


@pytest.mark.parametrize("make", [lambda: data.moons(3), data.digits])
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


def test_digits_keep_every_image_and_half_of_them_positive():
    split = data.digits()
    labels = np.concatenate([split.train_labels, split.test_labels])
    assert len(labels) == 1797
    assert set(labels) == set(range(6))
    assert abs(split.prior - (labels > 0).mean()) < 0.005


@pytest.mark.parametrize("prior", [0.2, 0.5, 0.7])
def test_posterior_is_the_share_of_positives(prior):
    drawn = data.gaussians(200_000, prior=prior, rng=generator(0, "test"))
    bins = np.digitize(drawn.posterior, np.linspace(0, 1, 11)[1:-1])
    for cell in range(10):
        own = bins == cell
        error = abs(drawn.labels[own].mean() - drawn.posterior[own].mean())
        assert error < 4 * 0.5 / np.sqrt(own.sum())
