"""CIFAR from archive to data set, on tiny archives and caches."""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import fake_cifar
import numpy as np
import pytest

from nbkit import cli, paths
from nbkit.data import DataError, cache, cifar, fetch, vehicles
from nbkit.data.cifar import (
    NAMES,
    OFFICIAL,
    SOURCES,
    fetch_all,
    fingerprint,
    load,
    near_positive,
    verify,
    where,
)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty cache and no network."""
    monkeypatch.setenv("NBKIT_DATA", str(tmp_path / "cache"))
    for name, source in SOURCES.items():
        archive = dataclasses.replace(source.archive, mirrors=())
        monkeypatch.setitem(SOURCES, name, dataclasses.replace(source, archive=archive))
    return tmp_path / "cache"


@pytest.fixture
def full(empty):
    return fake_cifar.write_cache(empty)


def put_archive(root, monkeypatch, dataset, write):
    """Put an archive into the cache by hand, as the official one."""
    source = SOURCES[dataset]
    path = root / source.archive.file
    root.mkdir(exist_ok=True)
    write(path)
    archive = dataclasses.replace(source.archive, sha256=fetch.sha256(path))
    monkeypatch.setitem(SOURCES, dataset, dataclasses.replace(source, archive=archive))


@pytest.mark.parametrize("dataset", SOURCES)
def test_an_archive_becomes_the_arrays_that_went_into_it(empty, monkeypatch, dataset):
    made = fake_cifar.arrays(dataset)
    put_archive(
        empty, monkeypatch, dataset, lambda path: fake_cifar.write_archive(path, dataset, made)
    )
    cached = load(dataset)
    for split, (images, labels) in made.items():
        np.testing.assert_array_equal(getattr(cached, split).images, images)
        np.testing.assert_array_equal(getattr(cached, split).labels, labels)
    assert list(cached.classes) == fake_cifar.NAMES[dataset]


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_a_pickle_that_would_run_code_is_refused(empty, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    files = {"cifar-100-python/meta": {b"fine_label_names": Harmful()}}
    put_archive(empty, monkeypatch, "cifar100", lambda path: fake_cifar.write_pickles(path, files))
    with pytest.raises(DataError, match="mkdir is not allowed"):
        load("cifar100")
    assert not (tmp_path / "harmed").exists()


def test_an_interrupted_unpack_is_not_taken_for_a_cache(empty, monkeypatch):
    made = fake_cifar.arrays("cifar10")
    put_archive(
        empty, monkeypatch, "cifar10", lambda path: fake_cifar.write_archive(path, "cifar10", made)
    )
    with monkeypatch.context() as patch:
        patch.setattr(cache, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load("cifar10")
    assert not (empty / "cifar10").exists()
    assert not list(empty.glob("*.tmp"))
    assert len(load("cifar10").train.labels) == 400


def test_a_folder_without_permission_is_named_before_anything_is_fetched(empty, monkeypatch):
    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(DataError, match=r"Permission denied.*set NBKIT_DATA") as caught:
        load("cifar10")
    assert str(empty) in str(caught.value)


def test_a_read_only_folder_is_named_before_anything_is_fetched(empty, monkeypatch):
    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    empty.mkdir()
    monkeypatch.setattr(os, "open", refused)  # with which the lock opens its file
    with pytest.raises(DataError, match=rf"write to {empty} \(Permission denied\); set NBKIT_DATA"):
        load("cifar10")


def test_images_are_mapped_and_not_read_into_memory(full):
    cached = load("cifar10")
    for split in cache.SPLITS:
        assert isinstance(getattr(cached, split).images.base, np.memmap)


@pytest.mark.parametrize("dataset", SOURCES)
def test_an_archive_has_mirrors_on_several_hosts(dataset):
    mirrors = SOURCES[dataset].archive.mirrors
    assert len({urlsplit(mirror).hostname for mirror in mirrors}) == len(mirrors) >= 2
    assert all(mirror.endswith(f"/{SOURCES[dataset].archive.file}") for mirror in mirrors)


def test_a_cache_that_is_whole_and_read_only_is_read(full, monkeypatch):
    @contextlib.contextmanager
    def refused(path, **_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        yield

    monkeypatch.setattr(paths, "writing", refused)
    assert len(load("cifar10").train.labels) == 400
    assert not (full / "cifar10" / "manifest.json").exists()
    unseen = fingerprint("vehicles")
    monkeypatch.undo()
    monkeypatch.setenv("NBKIT_DATA", str(full))
    load("cifar10")
    assert unseen == vehicles().fingerprint


def test_a_link_to_nowhere_is_named_before_anything_is_fetched(empty):
    empty.mkdir()
    (empty / "cifar10").symlink_to("/nowhere/cifar10")
    with pytest.raises(DataError, match="is a link to /nowhere/cifar10, which is not there"):
        cifar()


def test_a_cache_that_cannot_be_entered_is_named(empty, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_symlink", refused)
    with pytest.raises(DataError, match="Permission denied"):
        load("cifar10")


def test_without_data_or_network_the_error_tells_the_way_out(empty):
    with pytest.raises(DataError) as caught:
        cifar()
    archive = SOURCES["cifar10"].archive
    for needed in (archive.file, archive.sha256, str(empty), "digits"):
        assert needed in str(caught.value)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def edit(path, change):
    array = np.load(path)
    np.save(path, change(array))


def bump(array):
    array[0] += 100
    return array


BREAKAGES = {
    "missing array": ("test_images.npy", os.unlink),
    "shortened array": ("train_images.npy", cut),
    "fewer images than labels": ("train_images.npy", lambda p: edit(p, lambda a: a[:-1])),
    "empty file": ("train_labels.npy", lambda p: p.write_bytes(b"")),
    "text file": ("train_labels.npy", lambda p: p.write_text("<html>")),
    "another dtype": ("test_labels.npy", lambda p: edit(p, lambda a: a.astype(np.int32))),
    "another shape": ("test_images.npy", lambda p: edit(p, lambda a: a[:, :16])),
    "labels out of range": ("test_labels.npy", lambda p: edit(p, bump)),
    "missing names": ("classes.txt", os.unlink),
    "fewer names": ("classes.txt", lambda p: p.write_text("airplane\n")),
    "damaged archive": ("train_labels.npy", lambda p: p.write_bytes(b"PK\x03\x04and no more")),
    "several arrays": ("test_labels.npy", lambda p: np.savez(p.open("wb"), np.zeros(3, np.uint8))),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
@pytest.mark.parametrize("seen", [False, True])
def test_a_broken_cache_is_never_used(full, breakage, seen):
    if seen:
        load("cifar10")
    file, harm = BREAKAGES[breakage]
    harm(full / "cifar10" / file)
    with pytest.raises(DataError, match="cifar10 is broken") as caught:
        load("cifar10")
    assert "nbkit data fetch" in str(caught.value)


def swap(array):
    array[[0, 1]] = array[[1, 0]]
    return array


def touch(array):
    array[7, 3, 2, 1] ^= 1
    return array


@pytest.mark.parametrize("change", [swap, touch])
def test_images_that_differ_from_the_manifest_are_refused(full, change):
    load("cifar10")
    edit(full / "cifar10" / "train_images.npy", change)
    with pytest.raises(DataError, match=r"manifest\.json"):
        load("cifar10")


def test_names_that_differ_from_the_manifest_are_refused(full):
    load("cifar100")
    path = full / "cifar100" / "classes.txt"
    path.write_text("\n".join(reversed(path.read_text().split())))
    with pytest.raises(DataError, match=r"classes\.txt are not those of manifest\.json"):
        load("cifar100")


def test_other_names_for_the_published_images_are_refused(full, monkeypatch):
    load("cifar10")
    monkeypatch.setitem(NAMES, fingerprint("vehicles"), "another hash")
    said = r"cifar10 is broken .*names in classes\.txt are not those of the published images"
    with pytest.raises(DataError, match=said):
        load("cifar10")
    assert len(verify("cifar10")[1]) == 1


def test_a_manifest_of_before_names_were_in_it_is_renewed(full):
    load("cifar100")
    path = full / "cifar100" / "manifest.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({name: whole[name] for name in ("train", "test")}))
    load("cifar100")
    assert json.loads(path.read_text()) == whole


def test_data_that_are_replaced_are_read_again(full):
    before = vehicles(), cifar(200)
    assert (fingerprint("vehicles"), fingerprint("cifar")) == tuple(s.fingerprint for s in before)
    for name in ("cifar10", "cifar100"):
        shutil.rmtree(full / name)
    fake_cifar.write_cache(full, seed=1)
    load("cifar10")
    for kind, old, new in zip(("vehicles", "cifar"), before, (vehicles(), cifar(200)), strict=True):
        assert old.fingerprint != new.fingerprint == fingerprint(kind)
        assert (old.train_inputs != new.train_inputs).any()


def test_the_manifest_tells_counts_and_channel_means(full):
    load("cifar10")
    manifest = json.loads((full / "cifar10" / "manifest.json").read_text())["train"]
    images, labels = fake_cifar.arrays("cifar10")["train"]
    assert manifest["counts"] == np.bincount(labels).tolist()
    np.testing.assert_allclose(manifest["means"], images.mean((0, 1, 2)), atol=1e-4)


def test_the_union_has_cifar_10_as_positives_and_cifar_100_as_class_0(full):
    split = cifar()
    assert split.classes == ("others", *fake_cifar.NAMES["cifar10"])
    assert split.prior == 0.5
    images, labels = fake_cifar.arrays("cifar10")["test"]
    known = {image.tobytes(): label + 1 for image, label in zip(images, labels, strict=True)}
    expected = [known.get(image.tobytes(), 0) for image in split.test_inputs]
    assert split.test_labels.tolist() == expected
    names = np.array(split.categories)[split.test_categories]
    assert [split.classes[label] for label in expected if label] == names[
        names_of(expected)
    ].tolist()


def names_of(labels):
    return np.flatnonzero(np.array(labels) > 0)


def test_near_positives_are_counted_by_their_name(full):
    split = cifar()
    names = np.array(split.categories)[split.test_categories]
    np.testing.assert_array_equal(near_positive(split), (names == "bus") | (names == "wolf"))


def test_the_data_set_does_not_depend_on_the_order_of_its_files(full, tmp_path, monkeypatch):
    first, mark = cifar(), fingerprint("cifar")
    other = fake_cifar.write_cache(tmp_path / "other")
    order = np.random.default_rng(1).permutation(400)
    for kind in ("images", "labels"):
        edit(other / "cifar100" / f"train_{kind}.npy", lambda array: array[order])
    monkeypatch.setenv("NBKIT_DATA", str(other))
    np.testing.assert_array_equal(cifar().train_inputs, first.train_inputs)
    assert fingerprint("cifar") == mark == cifar().fingerprint


def test_a_subset_is_balanced_and_part_of_the_whole(full):
    whole, part = cifar(), cifar(400)
    assert np.bincount(part.train_categories).tolist() == [20] * 10 + [2] * 100
    everything = {image.tobytes() for image in whole.train_inputs}
    assert all(image.tobytes() in everything for image in part.train_inputs)
    np.testing.assert_array_equal(part.test_inputs, whole.test_inputs)


@pytest.mark.parametrize("images", [-200, 100, 300])
def test_a_subset_that_cannot_be_balanced_is_refused(full, images):
    with pytest.raises(ValueError, match="images must be"):
        cifar(images)


def test_a_subset_larger_than_the_cache_is_refused(full):
    with pytest.raises(DataError, match="fewer"):
        cifar(1000)


def test_vehicles_are_two_fifths_of_cifar_10(full):
    split = vehicles()
    names = np.array(split.categories)[split.train_categories]
    wheels = np.isin(names, ["airplane", "automobile", "ship", "truck"])
    np.testing.assert_array_equal(split.train_labels, wheels)
    assert split.prior == pytest.approx(0.4)


def test_published_results_are_found_without_the_images(empty):
    assert fingerprint("cifar").startswith("cifar-")
    assert fingerprint("cifar") != fingerprint("vehicles")
    assert not empty.exists()


def test_duplicates_between_train_and_test_are_counted(full):
    images = np.load(full / "cifar10" / "train_images.npy")
    twins = np.load(full / "cifar100" / "test_images.npy")
    twins[5:8] = images[:3]
    np.save(full / "cifar100" / "test_images.npy", twins)
    (*_, foreign, count), flaws = verify()
    assert not flaws
    assert count.startswith("3 test images")
    assert foreign.startswith("vehicles: its content, cifar-")
    assert "is not that of the published cifar-" in foreign


def test_verify_tells_of_every_broken_data_set_and_of_the_others(full, capsys):
    for name in ("cifar10", "cifar100"):
        (full / name / "test_labels.npy").unlink()
        lines, flaws = verify()
        assert name in flaws[-1]
    assert len(flaws) == 2
    assert cli.main(["data", "verify"]) == 1
    assert capsys.readouterr().err.splitlines() == flaws
    assert lines == []


def test_where_names_what_is_missing_and_its_checksum(empty):
    for line, source in zip(where(), SOURCES.values(), strict=True):
        assert source.archive.sha256 in line
    fake_cifar.write_cache(empty)
    assert all(line.endswith("(there)") for line in where())


def test_an_archive_in_a_wrong_folder_is_sent_to_the_right_one(empty, monkeypatch, capsys):
    made = fake_cifar.arrays("cifar10")
    inside = empty / "cifar10"  # where it does not belong
    empty.mkdir()
    put_archive(
        inside, monkeypatch, "cifar10", lambda path: fake_cifar.write_archive(path, "cifar10", made)
    )
    archive = inside / SOURCES["cifar10"].archive.file
    with pytest.raises(DataError, match=rf"Move .* archive in it belongs in {empty}\)") as caught:
        load("cifar10")
    assert "delete" not in str(caught.value).lower()
    archive.rename(empty / archive.name)
    inside.rmdir()
    assert cli.main(["data", "where"]) == 0
    assert f"fetch cifar10` makes it from {empty / archive.name} (" in capsys.readouterr().out
    assert len(load("cifar10").train.labels) == 400


def test_arrays_shortened_alike_before_they_were_seen_are_told_from_the_published(
    full, monkeypatch, capsys
):
    for kind in OFFICIAL:
        monkeypatch.setitem(OFFICIAL, kind, fingerprint(kind))
    assert cli.main(["data", "fetch"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [*SOURCES]
    for part in ("images", "labels"):
        edit(full / "cifar10" / f"train_{part}.npy", lambda array: array[:-1])
    (full / "cifar10" / "manifest.json").unlink()
    assert cli.main(["data", "fetch"]) == 0
    *_, both, ten = capsys.readouterr().out.splitlines()
    for line, kind in ((both, "cifar"), (ten, "vehicles")):
        assert line.startswith(f"{kind}: its content, cifar-")
        assert f"is not that of the published {OFFICIAL[kind]}" in line


def test_fetching_what_is_there_verifies_it(full):
    assert [line.split(":")[0] for line in fetch_all()] == [*SOURCES, *OFFICIAL]
    (full / "cifar100" / "train_labels.npy").unlink()
    with pytest.raises(DataError, match="cifar100 is broken"):
        fetch_all()
