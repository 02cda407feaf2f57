"""Units and masks: whole flips, void, folds, subsets and annotations, as realised."""

import dataclasses
import itertools

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from nbkit import noise
from nbkit.annotations import ANNOTATIONS, KEEPS_CLASSES, annotate
from nbkit.data import Segmented, scenes
from nbkit.data.segmented import fold, paint

RATES = ("missing", "missing_hard", "misclassified", "misannotated")


@pytest.fixture(scope="module")
def data():
    return scenes(300, size=32)


def tiny(**changes):
    """Two images: a cat (id 1) and a dog (id 2); a distractor at the border, and a void frame."""
    instances = np.zeros((2, 6, 8), dtype=np.uint8)
    instances[0, 1:3, 1:4], instances[0, 4, 4:6], instances[0, 3] = 1, 2, 255
    instances[1, 5, :3] = 1
    made = Segmented(
        name="tiny",
        classes=("background", "cat", "dog"),
        images=np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3),
        instances=instances,
        unit_image=np.array([0, 0, 1]),
        unit_id=np.array([1, 2, 1]),
        unit_labels=np.array([1, 2, 0]),
        validation=np.array([False, True]),
        names=("first", "second"),
    )
    return dataclasses.replace(made, **changes)


# ---- masks


def test_every_unit_is_painted_whole_and_nothing_else(data, rng):
    labels = rng.integers(0, 21, data.unit_labels.size)
    masks = data.masks(labels)
    for image, own, label in zip(data.unit_image, data.unit_id, labels, strict=True):
        assert (masks[image][data.instances[image] == own] == label).all()
    np.testing.assert_array_equal(masks == 255, data.instances == 255)
    assert not masks[data.instances == 0].any()


def test_a_stack_is_painted_as_its_images_one_by_one(data):
    masks = data.masks()
    for i in range(len(data.images)):
        own = data.unit_labels[data.unit_image == i]
        np.testing.assert_array_equal(masks[i], noise.paint(own, data.instances[i]))


def test_the_order_of_the_units_does_not_matter(data, rng):
    order = rng.permutation(data.unit_labels.size)
    shuffled = paint(
        data.unit_labels[order], data.instances, data.unit_image[order], data.unit_id[order]
    )
    np.testing.assert_array_equal(shuffled, data.masks())


def test_a_unit_can_be_made_void():
    mask = tiny().masks(np.array([255, 2, 0]))[0]
    assert (mask[1:3, 1:4] == 255).all()


def test_an_image_without_units_is_background():
    bare = np.zeros((1, 4, 4), dtype=np.uint8)
    none = np.zeros(0, dtype=np.int64)
    assert not paint(none, bare, none, none).any()
    assert not paint(none, bare[0]).any()


def test_labels_beyond_a_byte_get_a_wider_mask():
    masks = tiny().masks(np.array([300, 40_000, 0]))
    assert set(np.unique(masks)) == {0, 255, 300, 40_000}
    assert masks.dtype.kind == "i"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2], "one a unit: 2 for the 3 units"),
        ([1, 2, -1], "at least 0, got -1"),
        ([1.0, 2.0, 0.0], "must be integers"),
    ],
)
def test_labels_that_are_no_labels_of_units_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        tiny().masks(np.array(labels))


def test_an_id_without_a_unit_is_named():
    lost = tiny(unit_image=np.array([0, 1]), unit_id=np.array([1, 1]), unit_labels=np.array([1, 2]))
    with pytest.raises(ValueError, match=r"instance ids \[2\] have no label"):
        lost.masks()


# ---- measures of units


def test_areas_are_pixels(data):
    areas = data.areas()
    for unit in range(0, areas.size, 7):
        mask = data.instances[data.unit_image[unit]] == data.unit_id[unit]
        assert areas[unit] == mask.sum()


def test_the_border_is_that_of_the_picture():
    assert tiny().at_border().tolist() == [False, False, True]
    padded = tiny(extents=np.array([[5, 8], [6, 8]]))
    assert padded.at_border().tolist() == [False, True, True]


def test_small_and_cut_units_are_harder():
    assert tiny().areas().tolist() == [6, 2, 3]
    assert tiny().difficulty().tolist() == [0.0, 1.0, 1.0]


# ---- subsets, classes, folds


def test_a_subset_keeps_its_units_in_the_order_asked_for(data):
    some = data.select(np.array([5, 2, 90]))
    np.testing.assert_array_equal(some.masks(), data.masks()[[5, 2, 90]])
    assert some.names == tuple(data.names[i] for i in (5, 2, 90))
    assert (np.diff(some.unit_image) >= 0).all()


@pytest.mark.parametrize(
    "images", [np.array([0, 0]), np.array([2]), np.array([-1]), np.zeros(2, bool), [0.5]]
)
def test_a_subset_of_other_things_is_refused(images):
    with pytest.raises(ValueError, match="images must be"):
        tiny().select(images)


def test_classes_are_renamed_and_those_left_out_stay_units():
    dogs = tiny().relabel([0, 0, 1], ("background", "dog"))
    assert dogs.unit_labels.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="3 whole numbers, one a class"):
        tiny().relabel([0, 1], ("background", "dog"))
    with pytest.raises(ValueError, match=r"classes 0\.\.1"):
        tiny().relabel([0, 1, 2], ("background", "dog"))


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_folds_share_no_image_and_leave_out_none_that_has_an_object(data, folds):
    held = []
    for index in range(folds):
        source, target = fold(data, index, folds)
        assert not set(source.names) & set(target.names)
        assert set(source.names) | set(target.names) == set(data.names)
        held += target.classes[1:]
        assert set(source.classes) | set(target.classes) == set(data.classes)
    assert tuple(held) == data.classes[1:]


def test_a_fold_keeps_masks_and_validation(data):
    masks = dict(zip(data.names, data.masks(), strict=True))
    flags = dict(zip(data.names, data.validation, strict=True))
    for part in fold(data, 1, 4):
        number = np.array(
            [part.classes.index(name) if name in part.classes else 0 for name in data.classes]
            + [0] * 234
            + [255]
        )
        for name, mask, flag in zip(part.names, part.masks(), part.validation, strict=True):
            np.testing.assert_array_equal(mask, number[masks[name]])
            assert flag == flags[name]


def test_no_validation_image_is_trained_on(data):
    for part in fold(data, 0, 4):
        train = {image.tobytes() for image in part.select(~part.validation).images}
        held = {image.tobytes() for image in part.select(part.validation).images}
        assert train
        assert held
        assert not train & held
        assert not part.select(~part.validation).unit_validation.any()


def test_a_fold_that_no_image_contains_is_refused(data):
    without = data.select(~np.isin(np.arange(300), data.unit_image[data.unit_labels > 15]))
    with pytest.raises(ValueError, match=r"fold 4 of 4 of scenes: no image is left with .*choose"):
        fold(without, 3, 4)


def test_a_class_of_the_fold_without_a_training_instance_is_refused(data):
    flags = data.validation.copy()
    flags[data.unit_image[data.unit_labels == 2]] = True
    spoilt = dataclasses.replace(data, validation=flags)
    with pytest.raises(ValueError, match="no training instance of striped disc; add"):
        fold(spoilt, 0, 4)


def test_what_is_only_seen_beside_the_fold_is_left_out_of_the_source():
    instances = np.zeros((3, 4, 6), dtype=np.uint8)
    instances[:, 1, 1], instances[2, 3, 3] = 1, 2
    data = tiny(
        classes=("background", "body", "car", "face"),
        images=np.zeros((3, 4, 6, 3), dtype=np.uint8),
        instances=instances,
        unit_image=np.array([0, 1, 2, 2]),
        unit_id=np.array([1, 1, 1, 2]),
        unit_labels=np.array([1, 2, 1, 3]),
        validation=np.zeros(3, dtype=bool),
        names=("a", "b", "c"),
    )
    source, target = fold(data, 0, 3)
    assert (source.classes, source.names) == (("background", "car"), ("b",))
    assert (target.classes, target.names) == (("background", "body"), ("a", "c"))
    assert target.unit_labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("index", "folds", "message"),
    [(0, 21, "too few for 21 folds"), (4, 4, r"fold 0\.\.3, got 4"), (0, 1, "at least 2")],
)
def test_folds_that_cannot_be_are_refused(data, index, folds, message):
    with pytest.raises(ValueError, match=message):
        fold(data, index, folds)


# ---- annotations


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_annotations_give_every_unit_a_class_and_leave_void(data, name):
    void = np.arange(data.unit_labels.size) % 7 == 0
    given = dataclasses.replace(data, unit_labels=np.where(void, 255, data.unit_labels))
    made = annotate(given, name, rate=0.4, groups=4)
    assert made.labels.shape == data.unit_labels.shape
    assert ((made.labels == 255) == void).all()
    assert 0 <= made.labels[~void].min() <= made.labels[~void].max() < made.num_classes


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_matrices_are_those_realised(data, name):
    made = annotate(data, name, rate=0.4, groups=4)
    number = range(max(21, made.num_classes))
    instances = confusion_matrix(data.unit_labels, made.labels, labels=number, normalize="true")
    shape = 21, made.num_classes
    np.testing.assert_allclose(made.transition, instances[: shape[0], : shape[1]])
    true, seen = data.masks(), data.masks(made.labels)
    known = true != 255
    pixels = confusion_matrix(true[known], seen[known], labels=number, normalize="true")
    np.testing.assert_allclose(made.pixel_transition, pixels[: shape[0], : shape[1]])
    np.testing.assert_allclose(made.transition.sum(1), 1)


def test_the_same_seed_draws_the_same_annotation(data):
    first, again, other = (annotate(data, "missing", rate=0.5, seed=s).labels for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("name", RATES)
def test_rates_are_realised_and_nested(data, name):
    wrong = []
    for rate in (0.0, 0.2, 0.5, 0.8):
        labels = annotate(data, name, rate=rate).labels
        may = (data.unit_labels == 0) if name == "misannotated" else data.unit_labels > 0
        wrong.append(labels != data.unit_labels)
        assert not wrong[-1][~may].any()
        spread = 4 * np.sqrt(rate * (1 - rate) / may.sum()) if name != "missing_hard" else 0.01
        assert abs(wrong[-1][may].mean() - rate) <= spread
    for fewer, more in itertools.pairwise(wrong):
        assert not (fewer & ~more).any()


def test_the_hard_ones_go_missing_first(data):
    lost = annotate(data, "missing_hard", rate=0.3).labels != data.unit_labels
    kept = (data.unit_labels > 0) & ~lost
    assert data.difficulty()[lost].min() >= data.difficulty()[kept].max()


def test_merged_groups_are_runs_of_about_the_same_length(data):
    for groups in (1, 2, 4, 7, 20):
        made = annotate(data, "groups", groups=groups)
        assert made.num_classes == groups + 1
        found = [np.unique(made.labels[data.unit_labels == kind]) for kind in range(1, 21)]
        assert {len(own) for own in found} == {1}
        assert (np.diff(np.ravel(found)) >= 0).all()
        sizes = np.bincount(np.ravel(found))[1:]
        assert len(sizes) == groups
        assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(
        annotate(data, "groups", groups=1).labels, annotate(data, "objectness").labels
    )
    np.testing.assert_array_equal(annotate(data, "groups", groups=20).labels, data.unit_labels)


def test_every_instance_its_own_class_never_has_the_number_of_void(data):
    labels = annotate(data, "instance").labels
    own = labels[labels > 0]
    assert own.size == (data.unit_labels > 0).sum() > 255
    assert len(np.unique(own)) == own.size
    assert 255 not in own


def test_readings_of_a_single_category(data):
    objects = annotate(data, "objectness")
    np.testing.assert_array_equal(objects.labels, data.unit_labels > 0)
    one = annotate(data, "one_category")
    np.testing.assert_array_equal(one.labels, data.unit_labels == 1)
    assert objects.num_classes == one.num_classes == 2


def test_a_random_category_says_nothing_of_the_true_one(data):
    made = annotate(scenes(1000, size=32), "random")
    assert abs(np.diag(made.transition)[1:].mean() - 1 / 20) < 0.02
    assert made.labels[made.labels > 0].size == (scenes(1000, size=32).unit_labels > 0).sum()


def test_void_units_stay_void(data):
    labels = data.unit_labels.copy()
    labels[::5] = 255
    for name in ANNOTATIONS:
        seen = annotate(
            dataclasses.replace(data, unit_labels=labels), name, rate=0.3, groups=2
        ).labels
        np.testing.assert_array_equal(seen == 255, labels == 255)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "missing", "rate": 1.0}, "dropped all .* positives; choose a smaller rate"),
        ({"name": "missing_hard", "rate": 1.0}, "dropped all .* positives"),
        ({"name": "missing", "rate": 1.1}, r"rate must be in \[0, 1\]"),
        ({"name": "lost"}, "name must be one of complete, objectness"),
        ({"name": "groups", "groups": 21}, r"groups must be 1\.\.20"),
    ],
)
def test_annotations_that_cannot_be_are_refused(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        annotate(data, **arguments)


def test_nothing_to_annotate_is_said(data):
    without = data.relabel([0] * 21, ("background", "none"))
    with pytest.raises(ValueError, match="holds no instance of a category"):
        annotate(without, "complete")
    only = dataclasses.replace(data, unit_labels=np.maximum(data.unit_labels, 1))
    with pytest.raises(ValueError, match="no distractor to misannotate; use scenes, or a fold"):
        annotate(only, "misannotated", rate=0.5)


def test_annotations_that_keep_the_classes_have_square_matrices(data):
    for name in KEEPS_CLASSES:
        assert annotate(data, name, rate=0.9).transition.shape == (21, 21)
