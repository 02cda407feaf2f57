"""Scores against scikit-learn, plain loops, and the true accuracy."""

import numpy as np
import pytest
import sklearn.metrics as reference

from nbkit import metrics
from nbkit.checks import SETTINGS

CLASSES = 4


@pytest.fixture
def guesses(rng):
    """Truth with void and predictions of three networks; class 3 is never predicted by the last."""
    true = rng.integers(0, CLASSES, 300)
    right = rng.random((3, 300)) < 0.6
    predicted = np.where(right, true, rng.integers(0, CLASSES, (3, 300)))
    predicted[2, predicted[2] == 3] = 0
    true[rng.random(300) < 0.1] = 255
    return true, predicted


def test_confusion_matrix_of_each_network(guesses):
    true, predicted = guesses
    matrices = metrics.confusion_matrix(true, predicted, CLASSES)
    kept = true != 255
    for matrix, guess in zip(matrices, predicted, strict=True):
        expected = reference.confusion_matrix(true[kept], guess[kept], labels=range(CLASSES))
        np.testing.assert_array_equal(matrix, expected)


def test_confusion_matrix_keeps_leading_axes(guesses, rng):
    true, predicted = guesses
    stacked = rng.permuted(np.stack([predicted, predicted]), axis=2)
    matrices = metrics.confusion_matrix(true, stacked, CLASSES)
    assert matrices.shape == (2, 3, CLASSES, CLASSES)
    np.testing.assert_array_equal(
        matrices[1, 2], metrics.confusion_matrix(true, stacked[1, 2], CLASSES)
    )


def test_classification_scores(guesses):
    true, predicted = guesses
    scores = metrics.classification(metrics.confusion_matrix(true, predicted, CLASSES))
    kept = true != 255
    for i, guess in enumerate(predicted):
        pair = true[kept], guess[kept]
        macro = reference.precision_recall_fscore_support(*pair, average="macro", zero_division=0)
        expected = [reference.accuracy_score(*pair), *macro[:3]]
        actual = [scores[name][i] for name in ("accuracy", "precision", "recall", "f1")]
        np.testing.assert_allclose(actual, expected)


def test_detection_scores_are_binary(guesses):
    true, predicted = guesses
    scores = metrics.detection(metrics.confusion_matrix(true, predicted, CLASSES))
    kept = true != 255
    for i, guess in enumerate(predicted):
        pair = true[kept] > 0, guess[kept] > 0
        expected = {
            "detection_accuracy": reference.accuracy_score(*pair),
            "detection_precision": reference.precision_score(*pair),
            "detection_recall": reference.recall_score(*pair),
            "detection_f1": reference.f1_score(*pair),
            "balanced_accuracy": reference.balanced_accuracy_score(*pair),
        }
        assert {name: values[i] for name, values in scores.items()} == pytest.approx(expected)


def test_scores_of_an_empty_matrix_are_zero():
    scores = metrics.classification(np.zeros((2, 3, 3), dtype=int))
    assert all((values == 0).all() for values in scores.values())


@pytest.mark.parametrize("decimals", [1, 8], ids=["ties", "distinct"])
def test_auc(decimals, rng):
    positive = rng.random((2, 200)) < 0.4
    scores = np.round(rng.standard_normal((2, 200)) + positive, decimals)
    expected = [reference.roc_auc_score(p, s) for p, s in zip(positive, scores, strict=True)]
    np.testing.assert_allclose(metrics.auc(scores, positive), expected)


@pytest.mark.parametrize("bins", [5, 15])
def test_calibration_error(bins, rng):
    confidence = np.append(rng.random(300), 1.0)
    correct = rng.random(301) < confidence**2
    expected, table = 0.0, metrics.reliability(confidence, correct, bins=bins)
    for i in range(bins):
        inside = (confidence >= i / bins) & (confidence < (i + 1) / bins)
        if i == bins - 1:
            inside |= confidence == 1
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
        parts = [inside.sum(), confidence[inside].sum(), correct[inside].sum()]
        np.testing.assert_allclose(table[i] * [1, table[i, 0], table[i, 0]], parts)
    assert metrics.calibration_error(confidence, correct, bins=bins) == pytest.approx(expected)


# --- scores from PU labels alone ------------------------------------------------------------------


def population(rng, classes, size=4000, accuracy=0.8):
    """True classes, and predictions that are biased towards class 0."""
    true = np.where(rng.random(size) < 0.4, rng.integers(1, classes, size), 0)
    wrong = np.where(rng.random(size) < 0.7, 0, rng.integers(0, classes, size))
    return true, np.where(rng.random(size) < accuracy, true, wrong)


@pytest.mark.parametrize("classes", [2, 5])
def test_proxy_accuracy_is_the_accuracy_when_everything_is_labelled(classes, rng):
    true, predicted = population(rng, classes)
    estimate = metrics.proxy_accuracy(predicted, true, (true > 0).mean())
    assert estimate == pytest.approx((predicted == true).mean(), abs=1e-12)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kept", [0.2, 0.6])
@pytest.mark.parametrize("classes", [2, 5])
def test_proxy_accuracy_is_unbiased(classes, kept, setting, rng):
    """The mean over many annotations is the accuracy, within four standard errors."""
    true, predicted = population(rng, classes)
    labelled = (true > 0) & (rng.random((400, true.size)) < kept)
    if setting == "one_sample":
        observed = np.where(labelled, true, 0)
    else:  # the labelled ones come on top of an unlabelled copy of the population
        observed = np.hstack([np.where(labelled, true, 255), np.zeros_like(labelled, dtype=int)])
        predicted_all = np.hstack([predicted, predicted])
    guess = predicted if setting == "one_sample" else predicted_all
    estimates = metrics.proxy_accuracy(guess, observed, (true > 0).mean(), setting=setting)
    error = estimates.std(ddof=1) / np.sqrt(estimates.size)
    assert estimates.mean() == pytest.approx((predicted == true).mean(), abs=4 * error)


def released_proxy_accuracy(predicted, observed, prior):
    """As two released benchmarks do: P that is predicted POSITIVE enters the pooled term."""
    p = observed > 0
    pooled = ((predicted[p] > 0).sum() + (predicted[~p] == 0).sum()) / observed.size
    return 2 * prior * (predicted[p] > 0).mean() + pooled - prior


def test_released_proxy_accuracy_prefers_the_worse_of_two_networks():
    """.875 accuracy against .825 at prior = kept = 1/2; the exact form ranks them rightly."""
    true = np.repeat([1, 0], 400)
    observed = np.repeat([1, 0], [200, 600])

    def network(tpr, tnr):
        hits = [np.arange(200) < tpr * 200] * 2 + [np.arange(400) < tnr * 400]
        return np.where(np.concatenate(hits), true, 1 - true)

    better, worse = network(0.80, 0.95), network(0.95, 0.70)
    exact = metrics.proxy_accuracy(np.stack([better, worse]), observed, 0.5)
    np.testing.assert_allclose(exact, [0.875, 0.825])
    assert released_proxy_accuracy(worse, observed, 0.5) > released_proxy_accuracy(
        better, observed, 0.5
    )


def scored_population(rng, size=40_000, prior=0.4):
    """Truth, and the scores of a better and of a worse network."""
    true = rng.random(size) < prior
    return true, rng.standard_normal((2, size)) + np.array([[1.5], [0.8]]) * true


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_pu_auc_recovers_the_auc(kept, setting, rng):
    true, scores = scored_population(rng)
    labelled = true & (rng.random(true.size) < kept)
    observed = labelled.astype(int)
    if setting == "two_sample":
        observed = np.concatenate([np.zeros_like(observed), np.ones(labelled.sum(), dtype=int)])
        scores_all = np.hstack([scores, scores[:, labelled]])
    else:
        scores_all = scores
    estimate = metrics.pu_auc(scores_all, np.stack([observed] * 2), 0.4, setting=setting)
    np.testing.assert_allclose(estimate, metrics.auc(scores, np.stack([true] * 2)), atol=0.015)
    assert estimate[0] > estimate[1] + 0.05


def test_pu_auc_ranks_as_auc_of_labelled_against_unlabelled(rng):
    """Its order does not depend on the prior that it is given."""
    true, scores = scored_population(rng, size=500)
    observed = (true & (rng.random(true.size) < 0.5)).astype(int)
    pairs = np.stack([observed] * 2)
    plain = metrics.auc(scores, pairs == 1)
    for prior in (0.3, 0.5, 0.7):
        estimate = metrics.pu_auc(scores, pairs, prior)
        assert np.sign(estimate[0] - estimate[1]) == np.sign(plain[0] - plain[1])


@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_the_share_of_labels_is_found_by_a_perfect_network(kept, rng):
    """Exact without overlap; with overlap c times the mean posterior of the positives."""
    true = rng.random(20_000) < 0.4
    labelled = true & (rng.random(true.size) < kept)
    observed = np.where(rng.random(true.size) < 0.1, 255, labelled)
    posterior = np.where(true, rng.choice([0.6, 1.0], true.size), 0.0)
    networks = kept * np.stack([true, posterior])
    expected = [kept, kept * posterior[true].mean()]
    np.testing.assert_allclose(metrics.labelled_share(networks, observed), expected, atol=0.01)
    with pytest.raises(ValueError, match="labelled positives"):
        metrics.labelled_share(networks, np.zeros_like(observed))
