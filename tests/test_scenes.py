"""Scenes: the same everywhere, dealt evenly, and honest about what is seen."""

import hashlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nbkit.data import scenes
from nbkit.data.scenes import PAIRS, SHAPES, TEXTURES, _scenes, fingerprint


@pytest.fixture(scope="module")
def data():
    return scenes(200)


def neighbours(ids):
    """Pairs of values of neighbouring pixels, (n, 2)."""
    beside = np.stack([ids[:, :, :-1], ids[:, :, 1:]], -1).reshape(-1, 2)
    below = np.stack([ids[:, :-1], ids[:, 1:]], -1).reshape(-1, 2)
    return np.concatenate([beside, below])


def test_the_same_seed_makes_the_same_scenes(data):
    _scenes.cache_clear()
    again = scenes(200)
    np.testing.assert_array_equal(data.images, again.images)
    np.testing.assert_array_equal(data.instances, again.instances)
    assert (data.images != scenes(200, seed=1).images).any()


def test_scenes_are_the_same_on_every_machine():
    made = scenes(50, seed=3)
    content = hashlib.sha256(made.images.tobytes() + made.masks().tobytes()).hexdigest()
    assert content[:16] == "d4ce768b240364cd", (
        "raise VERSION: the fingerprint must change with the scenes"
    )


def test_every_argument_changes_the_fingerprint():
    first = {"images": 8, "size": 32, "seed": 2, "objects": (2, 3), "validation": 0.25}
    others = {"images": 9, "size": 48, "seed": 1, "objects": (2, 4), "validation": 0.5}
    prints = {fingerprint(**first | {name: value}) for name, value in others.items()}
    assert len(prints | {fingerprint(**first)}) == 6
    assert fingerprint() == fingerprint(600, size=64, seed=0, objects=[1, 4], validation=1 / 3)


def test_a_list_of_two_numbers_of_objects_is_taken_too():
    made = scenes(8, size=32, objects=[1, 2])
    np.testing.assert_array_equal(made.images, scenes(8, size=32, objects=(1, 2)).images)


def test_an_image_has_as_many_objects_as_asked_for():
    made = scenes(100, objects=(2, 3), size=48)
    objects = np.bincount(made.unit_image[made.unit_labels > 0], minlength=100)
    assert objects.max() == 3
    assert objects.min() >= 1  # one may be hidden
    assert np.mean(objects >= 2) > 0.9


def test_every_image_shows_an_object(data):
    assert set(data.unit_image[data.unit_labels > 0]) == set(range(200))


def test_categories_are_dealt_evenly(data):
    counts = np.bincount(data.unit_labels, minlength=21)
    assert counts[1:].max() <= 1.4 * counts[1:].min()
    assert 0 < counts[0] < 200 * 2


def test_categories_are_all_pairs_and_folds_mix_them():
    assert sorted(PAIRS) == [(s, t) for s in range(len(SHAPES)) for t in range(len(TEXTURES))]
    for start in range(0, 20, 5):
        shapes, textures = zip(*PAIRS[start : start + 5], strict=True)
        assert 3 <= len(set(shapes)) < 5
        assert 3 <= len(set(textures)) < 5


def test_instances_never_touch(data):
    pairs = neighbours(data.instances.astype(int))
    apart = pairs[(pairs != 255).all(1) & (pairs[:, 0] != pairs[:, 1])]
    assert apart.size == 0


def test_the_void_border_is_one_pixel_wide(data):
    beside = np.pad(data.instances, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(beside, (3, 3), axis=(1, 2))
    void = data.instances == 255
    shown = ((windows > 0) & (windows < 255)).any((3, 4))
    assert (shown | ~void).mean() > 0.99  # the rest are remnants


def test_units_are_numbered_and_large_enough_to_be_recognised(data):
    assert data.areas().min() >= 20
    for image in range(200):
        ids = data.unit_id[data.unit_image == image]
        assert ids.tolist() == list(range(1, ids.size + 1))
        assert set(np.unique(data.instances[image])) - {0, 255} == set(ids)


def test_colour_does_not_tell_the_class():
    made = scenes(600)
    masks = made.masks()
    rows = []
    for image, own in zip(made.unit_image, made.unit_id, strict=True):
        pixels = made.images[image][made.instances[image] == own].astype(float)
        rows.append(np.concatenate([pixels.mean(0), pixels.mean(0) ** 2 / 255]))
    objects = made.unit_labels > 0
    x, y = np.array(rows)[objects] / 255, made.unit_labels[objects]
    half = y.size // 2
    score = LogisticRegression(max_iter=200).fit(x[:half], y[:half]).score(x[half:], y[half:])
    assert score < 0.12
    assert masks.max() == 255


def test_size_does_not_tell_the_shape():
    made = scenes(600)
    shape = np.array([s for s, _ in PAIRS])[made.unit_labels - 1]
    typical = [np.median(made.areas()[(made.unit_labels > 0) & (shape == s)]) for s in range(5)]
    assert max(typical) < 1.35 * min(typical)


def test_the_last_images_are_for_validation():
    held = scenes(30, size=32, validation=0.2).validation
    assert np.flatnonzero(held).tolist() == list(range(24, 30))
    assert not scenes(30, size=32, validation=0.0).validation.any()


def test_larger_scenes_have_larger_objects():
    small, large = (scenes(100, size=size) for size in (32, 96))
    ratio = np.median(large.areas()) / np.median(small.areas())
    assert 6 < ratio < 13


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 0}, "images must be a whole number of at least 1"),
        ({"size": 16}, "size must be a whole number of at least 32"),
        ({"objects": (3, 2)}, r"objects must be \(fewest, most\), got \(3, 2\)"),
        ({"validation": 1.0}, r"validation must be in \[0, 1\)"),
    ],
)
def test_scenes_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenes(**arguments)
