"""The annotation verbs: what they change, how often, and what they leave alone."""

import numpy as np
import pytest

from nbkit import noise
from nbkit.rng import generator

K = 4
RATE = 0.3

VERBS = {
    "missing": lambda y, rng: noise.missing(y, RATE, rng=rng),
    "missing_hard": lambda y, rng: noise.missing(
        y, RATE, rng=rng, difficulty=np.arange(y.size, dtype=float)
    ),
    "missing_tied": lambda y, rng: noise.missing(y, RATE, rng=rng, difficulty=np.zeros(y.size)),
    "misclassified": lambda y, rng: noise.misclassified(y, RATE, K + 1, rng=rng),
    "misannotated": lambda y, rng: noise.misannotated(y, RATE, K + 1, rng=rng),
    "subsample": lambda y, rng: noise.subsample(y, 1 - RATE, rng=rng),
}
RANDOM = [name for name in VERBS if name != "missing_hard"]


@pytest.fixture
def units(rng):
    """6,000 units: half background, four categories, one in ten void."""
    drawn = rng.choice([0, 1, 2, 3, 4, 255], 6000, p=[0.45, 0.2, 0.1, 0.1, 0.05, 0.1])
    return drawn.astype(np.int64)


def within_binomial(hits, trials, rate):
    """Whether a count is within four standard deviations of its expectation."""
    return abs(hits - trials * rate) <= 4 * np.sqrt(trials * rate * (1 - rate)) + 1e-9


def positive(labels):
    return (labels > 0) & (labels != 255)


# which units a verb may flip
OPEN_TO = {
    "missing": positive,
    "missing_hard": positive,
    "missing_tied": positive,
    "misclassified": positive,
    "misannotated": lambda labels: labels == 0,
    "subsample": lambda labels: labels != 255,
}


@pytest.mark.parametrize("name", VERBS)
def test_realised_rate(name, units, rng):
    may = OPEN_TO[name](units)
    flipped = VERBS[name](units, rng).flipped
    assert within_binomial(flipped[may].sum(), may.sum(), RATE)


@pytest.mark.parametrize("name", VERBS)
def test_other_units_stay(name, units, rng):
    """Void is touched by no verb, negatives only by misannotated, positives by the other two."""
    noisy = VERBS[name](units, rng)
    closed = ~OPEN_TO[name](units)
    np.testing.assert_array_equal(noisy.labels[closed], units[closed])


@pytest.mark.parametrize("name", VERBS)
def test_flipped_tells_what_changed(name, units, rng):
    before = units.copy()
    noisy = VERBS[name](units, rng)
    np.testing.assert_array_equal(noisy.flipped, noisy.labels != before)
    np.testing.assert_array_equal(units, before)  # the argument is left as it was


@pytest.mark.parametrize("name", VERBS)
def test_transition_is_the_count_of_pairs(name, units, rng):
    noisy = VERBS[name](units, rng)
    expected = np.eye(K + 1)
    for i in range(K + 1):
        rows = (units == i) & (noisy.labels != 255)
        expected[i] = [(noisy.labels[rows] == j).mean() for j in range(K + 1)]
    np.testing.assert_allclose(noisy.transition, expected, atol=1e-12)
    np.testing.assert_allclose(noisy.transition.sum(1), 1)


def test_transition_row_of_an_absent_class_is_the_identity():
    matrix = noise.transition_matrix(np.array([0, 2, 2]), np.array([0, 2, 0]), 4)
    np.testing.assert_array_equal(
        matrix, [[1, 0, 0, 0], [0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]]
    )


@pytest.mark.parametrize("name", VERBS)
def test_same_seed_same_flips(name, units):
    first, again = (VERBS[name](units, np.random.default_rng(7)).labels for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", RANDOM)
def test_other_seed_other_flips(name, units):
    first, other = (VERBS[name](units, np.random.default_rng(seed)).labels for seed in (7, 8))
    assert (first != other).any()


# written down, since runs of two machines are paired by their seed: both must draw the same
TEN_UNITS = np.array([1, 1, 1, 2, 2, 2, 0, 0, 0, 255])
DRAWN = {
    "missing": [1, 0, 1, 2, 0, 0, 0, 0, 0, 255],
    "missing_tied": [1, 0, 1, 2, 0, 2, 0, 0, 0, 255],
    "misclassified": [1, 2, 1, 2, 1, 1, 0, 0, 0, 255],
    "misannotated": [1, 1, 1, 2, 2, 2, 4, 0, 1, 255],
    "subsample": [1, 1, 255, 255, 2, 2, 0, 0, 0, 255],
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_draws_these_labels_on_every_platform(name):
    noisy = VERBS[name](TEN_UNITS, generator(12, "annotation"))
    assert noisy.labels.tolist() == DRAWN[name]


@pytest.mark.parametrize("name", ["missing", "subsample"])
def test_every_class_loses_the_same_share(name, units, rng):
    noisy = VERBS[name](units, rng)
    for k in range(1, K + 1):
        of_k = units == k
        assert within_binomial((noisy.labels[of_k] == k).sum(), of_k.sum(), 1 - RATE)


def test_missing_turns_positives_into_background(units, rng):
    noisy = noise.missing(units, RATE, rng=rng)
    assert (noisy.labels[noisy.flipped] == 0).all()


@pytest.mark.parametrize("k", range(1, K + 1))
def test_misclassified_categories_are_uniform_over_the_others(k, units, rng):
    noisy = noise.misclassified(units, 0.9, K + 1, rng=rng)
    new = noisy.labels[noisy.flipped & (units == k)]
    counts = np.bincount(new, minlength=K + 1)
    assert counts[0] == counts[k] == 0
    for j in set(range(1, K + 1)) - {k}:
        assert within_binomial(counts[j], new.size, 1 / (K - 1))


def test_rate_k_minus_one_over_k_gives_a_random_category(units, rng):
    noisy = noise.misclassified(units, (K - 1) / K, K + 1, rng=rng)
    np.testing.assert_allclose(noisy.transition[1:, 1:], 1 / K, atol=0.1)


def test_misannotated_categories_are_uniform(units, rng):
    noisy = noise.misannotated(units, RATE, K + 1, rng=rng)
    counts = np.bincount(noisy.labels[noisy.flipped], minlength=K + 1)
    assert counts[0] == 0
    assert all(within_binomial(count, noisy.flipped.sum(), 1 / K) for count in counts[1:])


def test_misannotated_keeps_to_its_candidates(units, rng):
    candidates = rng.random(units.size) < 0.2
    noisy = noise.misannotated(units, 1.0, K + 1, rng=rng, candidates=candidates)
    np.testing.assert_array_equal(noisy.flipped, candidates & (units == 0))


def test_the_hardest_go_missing(units, rng):
    difficulty = rng.random(units.size)
    noisy = noise.missing(units, RATE, rng=rng, difficulty=difficulty)
    hardest = np.sort(difficulty[positive(units)])[::-1][: round(RATE * positive(units).sum())]
    np.testing.assert_array_equal(np.sort(difficulty[noisy.flipped])[::-1], hardest)


def test_zero_rate_changes_nothing(units, rng):
    verbs = (
        noise.missing(units, 0, rng=rng),
        noise.misclassified(units, 0, K + 1, rng=rng),
        noise.misannotated(units, 0, K + 1, rng=rng),
        noise.subsample(units, 1, rng=rng),
    )
    for noisy in verbs:
        np.testing.assert_array_equal(noisy.labels, units)
        np.testing.assert_array_equal(noisy.transition, np.eye(K + 1))


def test_subsample_makes_the_rest_void(units, rng):
    noisy = noise.subsample(units, 1 - RATE, rng=rng)
    assert (noisy.labels[noisy.flipped] == 255).all()
    np.testing.assert_array_equal(noisy.transition, np.eye(K + 1))


# --- paint ----------------------------------------------------------------------------------------


@pytest.fixture
def instances(rng):
    """A 20 x 30 map of blocks: five instances, background, and a void border."""
    small = rng.permutation([0, 1, 2, 3, 4, 5]).reshape(2, 3)
    full = np.kron(small, np.ones((10, 10), dtype=np.int64))
    full[:, ::10] = 255
    return full


def test_paint_gives_each_instance_its_label_whole(instances):
    labels = np.array([3, 0, 1, 255, 3])
    mask = noise.paint(labels, instances)
    for i, label in enumerate(labels, start=1):
        assert (mask[instances == i] == label).all()


def test_paint_keeps_void_and_background(instances):
    mask = noise.paint(np.array([1, 2, 3, 4, 1]), instances)
    np.testing.assert_array_equal(mask == 255, instances == 255)
    np.testing.assert_array_equal(mask == 0, instances == 0)


def test_order_of_the_instances_does_not_matter(instances, rng):
    labels = np.array([3, 0, 1, 4, 3])
    order = rng.permutation(5)
    renumbered = instances.copy()
    for new, old in enumerate(order, start=1):
        renumbered[instances == old + 1] = new
    np.testing.assert_array_equal(
        noise.paint(labels[order], renumbered), noise.paint(labels, instances)
    )


@pytest.mark.parametrize(
    ("images", "ids", "message"),
    [
        ([0, 0], [1, 255], "ids must hold 1..254"),
        ([0, 0], [0, 1], "ids must hold 1..254"),
        ([0, 0], [1.0, 2.0], "ids must hold 1..254"),
        ([0, 1], [1, 2], "images must hold indices 0..0"),
        ([0, -1], [1, 2], "images must hold indices 0..0"),
        ([0, 0], [1, 1], "the same id"),
    ],
)
def test_paint_refuses_units_that_lie_nowhere(images, ids, message):
    instances = np.array([[[0, 1], [2, 255]]], dtype=np.uint8)
    with pytest.raises(ValueError, match=message):
        noise.paint(np.array([3, 4]), instances, np.array(images), np.array(ids))


def test_paint_takes_indices_of_any_integer_type():
    instances = np.arange(300, dtype=np.int64).reshape(300, 1, 1) * 0 + 1
    labels, ids = np.full(300, 3), np.ones(300, dtype=np.uint8)
    assert (noise.paint(labels, instances, np.arange(300, dtype=np.int16), ids) == 3).all()


def test_paint_of_254_instances(rng):
    labels = rng.integers(0, 21, 254)
    ids = rng.permutation(np.arange(1, 255)).reshape(2, 127)
    np.testing.assert_array_equal(noise.paint(labels, ids), labels[ids - 1])
