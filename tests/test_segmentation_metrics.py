"""Metrics of segmentation against scikit-learn on flattened labels."""

import numpy as np
import pytest
import sklearn.metrics as reference

from nbkit import metrics


@pytest.fixture
def masks(rng):
    """True and predicted masks of 7 images; class 3 is absent, class 4 only predicted."""
    true = rng.choice([0, 0, 0, 1, 2, 255], (7, 9, 8)).astype(np.uint8)
    predicted = np.where(rng.random(true.shape) < 0.6, true, rng.choice([0, 1, 2, 4], true.shape))
    return true, np.where(predicted == 255, 0, predicted).astype(np.uint8)


def flat(masks):
    true, predicted = (values.ravel() for values in masks)
    return true[true != 255], predicted[true != 255]


@pytest.fixture
def per_image(masks):
    return metrics.image_confusions(*masks, 5)


def test_each_image_is_counted_by_itself(masks, per_image):
    for true, predicted, found in zip(*masks, per_image, strict=True):
        expected = reference.confusion_matrix(*flat((true, predicted)), labels=range(5))
        np.testing.assert_array_equal(found, expected)


def test_the_four_metrics_equal_scikit_learn_s(masks, per_image):
    true, predicted = flat(masks)
    found = metrics.segmentation(per_image.sum(0))
    overlap = reference.jaccard_score(true, predicted, average=None, labels=[0, 1, 2, 4])
    expected = {
        "pixel_accuracy": reference.accuracy_score(true, predicted),
        "mean_accuracy": reference.recall_score(
            true, predicted, average="macro", labels=[0, 1, 2], zero_division=0
        ),
        "mean_iu": overlap.mean(),
        "fw_iu": reference.jaccard_score(true, predicted, average="weighted"),
    }
    assert found == pytest.approx(expected)
    assert tuple(found) == metrics.STATISTICS


def test_a_class_is_left_out_of_what_it_is_absent_from(per_image):
    found = metrics.class_iu(per_image.sum(0))
    assert np.isnan(found[3])  # neither there nor predicted
    assert found[4] == 0  # predicted only: wrong, and it counts in the mean
    assert metrics.segmentation(per_image.sum(0))["mean_iu"] == pytest.approx(np.nanmean(found))


def test_metrics_take_leading_axes(per_image):
    found = metrics.segmentation(per_image)
    for i, own in enumerate(per_image):
        for name, value in metrics.segmentation(own).items():
            assert found[name][i] == pytest.approx(float(value))


def test_nothing_but_void_has_no_score():
    masks = np.full((1, 4, 4), 255, np.uint8), np.zeros((1, 4, 4), np.uint8)
    found = metrics.segmentation(metrics.image_confusions(*masks, 3)[0])
    assert all(np.isnan(value) for value in found.values())


@pytest.mark.parametrize("statistic", metrics.STATISTICS)
def test_the_bootstrap_draws_whole_images(per_image, statistic):
    found = metrics.bootstrap(per_image, statistic, rng=np.random.default_rng(3), draws=20_000)
    again = per_image[np.random.default_rng(5).integers(0, 7, (20_000, 7))].sum(1)
    values = metrics.segmentation(again)[statistic]
    spread = np.std(values)  # the ends of 90 % lie a quarter of it and more from those of 95 %
    np.testing.assert_allclose(found, np.nanpercentile(values, [2.5, 97.5]), atol=0.1 * spread)
    assert found[0] < metrics.segmentation(per_image.sum(0))[statistic] < found[1]


def test_networks_side_by_side_see_the_same_draws(per_image):
    both = np.stack([per_image, per_image], axis=1)
    found = metrics.bootstrap(both, "mean_iu", rng=np.random.default_rng(0), draws=50)
    alone = metrics.bootstrap(per_image, "mean_iu", rng=np.random.default_rng(0), draws=50)
    np.testing.assert_allclose(found, np.stack([alone, alone], axis=1))


def test_one_image_has_no_spread(per_image):
    low, high = metrics.bootstrap(per_image[:1], "fw_iu", rng=np.random.default_rng(0), draws=20)
    assert low == high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.segmentation(np.zeros((2, 3))), "counts of shape"),
        (lambda: metrics.image_confusions(np.zeros((2, 4)), np.zeros((2, 4)), 2), r"\(N, H, W\)"),
        (
            lambda: metrics.image_confusions(np.full((1, 2, 2), 3), np.zeros((1, 2, 2), int), 3),
            r"true labels must be in 0\.\.2",
        ),
        (
            lambda: metrics.bootstrap(np.ones((2, 3, 3)), "f1", rng=np.random.default_rng(0)),
            "statistic must be one of pixel_accuracy",
        ),
        (
            lambda: metrics.bootstrap(np.ones((3, 3)), "mean_iu", rng=np.random.default_rng(0)),
            "a matrix an image",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
