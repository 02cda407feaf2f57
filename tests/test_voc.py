"""Folders of the layout of PASCAL VOC: what is read from them, and everything that can be wrong."""

import dataclasses
import shutil
import tarfile

import fake_voc
import numpy as np
import pytest
from PIL import Image

from nbkit import cli
from nbkit.data import DataError, fetch, folder, voc

SIZE = 32  # the canvas on which the made photos keep their pixels


@pytest.fixture
def root(tmp_path):
    return fake_voc.write(tmp_path / "mine")


def said(root):
    """Everything that is wrong with a folder, and the first of it when it is read."""
    _, flaws = voc.verify(root)
    assert flaws
    with pytest.raises(DataError) as caught:
        folder(root, SIZE)
    assert str(caught.value).startswith(flaws[0])
    return flaws


# ---- what is read


def test_masks_are_those_in_the_files(root):
    data = folder(root, SIZE)
    for name, instances, mask in zip(data.names, data.instances, data.masks(), strict=True):
        classes = np.asarray(Image.open(root / f"SegmentationClass/{name}.png"))
        objects = np.asarray(Image.open(root / f"SegmentationObject/{name}.png"))
        np.testing.assert_array_equal(mask[:24], classes)
        np.testing.assert_array_equal(instances[:24], objects)
        assert (mask[24:] == 255).all()
    assert data.classes == ("background", *fake_voc.CLASSES)
    assert data.unit_labels.size == 18


def test_photos_keep_their_aspect_and_the_rest_is_black(root):
    data = folder(root, 64)
    photo = Image.open(root / f"JPEGImages/{data.names[0]}.jpg").resize((64, 48), 2)
    np.testing.assert_array_equal(data.images[0, :48], np.asarray(photo))
    assert data.extents.tolist() == [[48, 64]] * 9
    assert not data.images[:, 48:].any()


def test_larger_masks_repeat_the_pixels_of_the_smaller(root):
    small, large = folder(root, SIZE), folder(root, 2 * SIZE)
    doubled = small.instances.repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(large.instances, doubled)
    assert voc.fingerprint(root, SIZE) != voc.fingerprint(root, 2 * SIZE)


def test_a_unit_too_small_for_the_canvas_is_left_out(root):
    objects = fake_voc.maps(1)[1]
    objects[0, 0] = 7
    classes = fake_voc.maps(1)[0]
    classes[0, 0] = 2
    fake_voc.save_mask(root, "SegmentationObject", "photo_0", objects)
    fake_voc.save_mask(root, "SegmentationClass", "photo_0", classes)
    own = folder(root, SIZE).select([0])
    assert sorted(own.unit_labels) == [1, 2, 2]
    assert own.unit_id.tolist() == [1, 2, 3]
    small = folder(root, 16).select([0])
    assert small.unit_id.tolist() == [1, 2]
    assert small.masks().shape == (1, 16, 16)


def test_the_lists_say_what_is_for_validation(root):
    data = folder(root, SIZE)
    held = {name for name, held in zip(data.names, data.validation, strict=True) if held}
    assert held == {"photo_6", "photo_7", "photo_8"}


def test_the_order_of_the_lists_does_not_matter(root):
    before = voc.fingerprint(root, SIZE)
    fake_voc.save_list(root, "train", [f"photo_{i}" for i in (3, 1, 2, 0, 5, 4)])
    assert voc.fingerprint(root, SIZE) == before
    assert folder(root, SIZE).names == tuple(f"photo_{i}" for i in range(9))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: fake_voc.save_mask(root, "SegmentationClass", "photo_0", fake_voc.maps(2)[0]),
        lambda root: (root / "classes.txt").write_text("cat\ndog\ntram\n"),
        lambda root: fake_voc.save_list(root, "val", ["photo_6", "photo_7"]),
    ],
    ids=["mask", "class", "list"],
)
def test_the_fingerprint_changes_with_the_content(root, change):
    before = voc.fingerprint(root)
    change(root)
    assert voc.fingerprint(root) != before


def test_a_good_folder_has_no_flaws(root, capsys):
    assert cli.main(["data", "verify", str(root)]) == 0
    assert "6 train and 3 val images, 18 instances of 3 classes" in capsys.readouterr().out


# ---- names


def test_fingerprints_of_names_are_known_without_the_photos(sandbox):
    for name in voc.OFFICIAL:
        assert voc.fingerprint(name, 96) == f"{voc.OFFICIAL[name]}-96"


@pytest.mark.parametrize("name", ["msrc", "pets3", "coco20"])
def test_a_name_is_looked_for_in_the_cache_and_must_be_the_published_data(sandbox, name):
    with pytest.raises(DataError, match=rf"{sandbox}/data/{name}: no such folder.*README"):
        folder(name)
    fake_voc.write(sandbox / "data" / name)
    with pytest.raises(DataError, match=rf"is not that of the published {name}-.*own.*path"):
        folder(name)
    assert len(folder(sandbox / "data" / name).images) == 9
    _, flaws = voc.verify(name)
    assert "is not that of the published" in flaws[0]


@pytest.fixture
def archive(sandbox, monkeypatch):
    """An archive in the cache that passes as the official one, and no network."""
    monkeypatch.setattr(voc, "PASCAL_CLASSES", fake_voc.CLASSES)
    inner = fake_voc.write(sandbox / "VOCdevkit" / "VOC2012")
    (inner / "classes.txt").unlink()
    shutil.copy(inner / "JPEGImages/photo_0.jpg", inner / "JPEGImages/not_listed.jpg")
    path = sandbox / "data" / voc.PASCAL.file
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        tar.add(sandbox / "VOCdevkit", "VOCdevkit")
    fake = dataclasses.replace(voc.PASCAL, sha256=fetch.sha256(path), mirrors=())
    monkeypatch.setattr(voc, "PASCAL", fake)
    return path


def test_pascal_voc_is_made_from_its_archive(archive, sandbox, capsys):
    data = folder("voc", SIZE)
    assert (data.name, len(data.images)) == ("voc", 9)
    np.testing.assert_array_equal(data.masks(), folder(sandbox / "data/voc", SIZE).masks())
    assert not (sandbox / "data/voc/JPEGImages/not_listed.jpg").exists()
    assert cli.main(["data", "fetch", "voc"]) == 0
    assert "6 train and 3 val images" in capsys.readouterr().out


def test_pascal_voc_is_verified_when_it_is_read(archive, sandbox):
    voc.fetch_pascal()
    fake_voc.save_mask(sandbox / "data/voc", "SegmentationClass", "photo_0", fake_voc.maps(2)[0])
    fake_voc.save_list(sandbox / "data/voc", "val", ["photo_6"])
    with pytest.raises(DataError, match="is not that of the published voc"):
        folder("voc", SIZE)


def test_a_link_to_nowhere_is_named_before_pascal_voc_is_fetched(archive, sandbox):
    (sandbox / "data/voc").symlink_to("/nowhere/voc")
    with pytest.raises(DataError, match="is a link to /nowhere/voc, which is not there"):
        voc.fetch_pascal()


def test_an_archive_without_the_masks_is_refused(archive, sandbox, monkeypatch):
    voc_folder = sandbox / "VOCdevkit" / "VOC2012"
    shutil.rmtree(voc_folder / "SegmentationObject")
    with tarfile.open(archive, "w") as tar:
        tar.add(sandbox / "VOCdevkit", "VOCdevkit")
    fake = dataclasses.replace(voc.PASCAL, sha256=fetch.sha256(archive))
    monkeypatch.setattr(voc, "PASCAL", fake)
    with pytest.raises(DataError, match="does not hold what it should"):
        voc.fetch_pascal()
    assert not (sandbox / "data/voc").exists()


def test_data_says_where_folders_are_to_be(sandbox, capsys):
    assert cli.main(["data", "where"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in voc.OFFICIAL:
        (line,) = [line for line in lines if line.startswith(f"{name}: ")]
        assert str(sandbox / "data" / name) in line
        assert "missing" in line
    assert f"`nbkit data fetch voc` makes it from {sandbox / 'data' / voc.PASCAL.file} (" in line


# ---- what can be wrong


def edit(part, name, change):
    """Return a function that changes a mask of a folder."""

    def apply(root):
        path = root / part / f"{name}.png"
        ids = np.asarray(Image.open(path)).copy()
        fake_voc.save_mask(root, part, name, change(ids))

    return apply


def rgb(root):
    path = root / "SegmentationClass/photo_2.png"
    Image.open(path).convert("RGB").save(path)


def cut(root):
    path = root / "JPEGImages/photo_4.jpg"
    path.write_bytes(path.read_bytes()[:-300])


def one_class_only_in_val(root):
    fake_voc.save_list(root, "train", ["photo_0", "photo_3"])


BAD = {
    "class id": (
        edit("SegmentationClass", "photo_0", lambda ids: np.where(ids == 2, 9, ids)),
        r"SegmentationClass/photo_0.png: holds class \[9\], classes.txt names 1..3",
    ),
    "mask size": (
        edit("SegmentationClass", "photo_1", lambda ids: ids[:20]),
        r"SegmentationClass/photo_1.png: is \(32, 20\) pixels, its photo \(32, 24\); resize",
    ),
    "RGB": (rgb, r"SegmentationClass/photo_2.png: is RGB instead of a palette image; save"),
    "no photo": (
        lambda root: (root / "JPEGImages/photo_7.jpg").unlink(),
        r"JPEGImages/photo_7.jpg: missing; add it, or take photo_7 out of the lists",
    ),
    "no object": (
        lambda root: [
            edit(part, "photo_5", np.zeros_like)(root)
            for part in ("SegmentationClass", "SegmentationObject")
        ],
        r"SegmentationClass/photo_5.png: holds no object; take photo_5 out of the lists",
    ),
    "two classes": (
        edit("SegmentationObject", "photo_3", lambda ids: np.where(ids == 2, 1, ids)),
        r"SegmentationObject/photo_3.png: instance \[1\] covers several classes; number",
    ),
    "no instance": (
        edit("SegmentationObject", "photo_3", lambda ids: np.where(ids == 2, 0, ids)),
        r"SegmentationObject/photo_3.png: pixels of class \[2\] belong to no instance; number",
    ),
    "no class": (
        edit("SegmentationClass", "photo_3", lambda ids: np.where(ids == 2, 0, ids)),
        r"SegmentationObject/photo_3.png: instance \[2\] lies on background; mend",
    ),
    "cut JPEG": (cut, r"JPEGImages/photo_4.jpg: cannot be read \(.*truncated.*\); replace"),
    "text as JPEG": (
        lambda root: (root / "JPEGImages/photo_4.jpg").write_text("<html>"),
        r"JPEGImages/photo_4.jpg: cannot be read \(cannot identify.*\); replace",
    ),
    "no class list": (
        lambda root: (root / "classes.txt").unlink(),
        r"classes.txt: cannot be read \(.*\); write one name a line",
    ),
    "no val list": (
        lambda root: (root / "ImageSets/Segmentation/val.txt").unlink(),
        r"val.txt: cannot be read \(.*\); write one name a line",
    ),
    "empty list": (
        lambda root: fake_voc.save_list(root, "val", []),
        r"val.txt: names nothing; write one name a line",
    ),
    "named twice": (
        lambda root: fake_voc.save_list(root, "val", ["photo_6", "photo_6"]),
        r"val.txt: photo_6 named twice; name each once",
    ),
    "in both lists": (
        lambda root: fake_voc.save_list(root, "val", ["photo_6", "photo_0"]),
        r"val.txt: photo_0 also in train.txt; take it out of one",
    ),
    "no training instance": (
        one_class_only_in_val,
        r"classes.txt: no training instance of bus; add training images",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD)
def test_bad_folders_are_refused_with_the_file_and_the_way_out(root, spoil, message):
    spoil(root)
    (flaw,) = said(root)
    assert flaw.startswith(str(root))
    with pytest.raises(DataError, match=message):
        folder(root, SIZE)


def test_objects_that_vanish_at_a_size_are_told_with_the_remedy(root):
    for i, photo in enumerate(sorted((root / "JPEGImages").iterdir())):
        tiny = np.zeros((2, 24, 32), dtype=np.uint8)
        tiny[:, 0, 0] = i % len(fake_voc.CLASSES) + 1, 1  # a pixel
        for part, ids in zip(("SegmentationClass", "SegmentationObject"), tiny, strict=True):
            fake_voc.save_mask(root, part, photo.stem, ids)
    assert folder(root, SIZE).unit_labels.size == 9
    with pytest.raises(DataError, match=r"of cat, dog, bus; .*may need a larger size"):
        folder(root, SIZE // 2)


def test_verify_lists_everything_at_once(root, capsys):
    wrong = ["class id", "mask size", "RGB", "no photo", "no object", "two classes", "cut JPEG"]
    for name in wrong:
        BAD[name][0](root)
    assert cli.main(["data", "verify", str(root)]) == 1
    lines = capsys.readouterr().err.splitlines()
    for name in wrong:
        assert sum(BAD[name][1].split(":")[0] in line for line in lines) == 1, name
    assert len(lines) == len(wrong)


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    with pytest.raises(DataError, match=r"absent: no such folder; check the path"):
        folder(tmp_path / "absent")
    assert cli.main(["data", "verify", str(tmp_path / "absent")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_a_canvas_too_small_is_refused(root):
    with pytest.raises(ValueError, match="size must be a whole number of at least 16"):
        folder(root, 8)
