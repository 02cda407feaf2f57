"""Tiny data sets in the layout of the cache and in that of the official archives."""

import io
import pickle
import tarfile

import numpy as np

from nbkit.data import cache

CLASSES = {"cifar10": 10, "cifar100": 100}
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
NAMES = {
    "cifar10": ["airplane", "automobile", *ANIMALS, "ship", "truck"],
    "cifar100": ["bus", "wolf", *(f"thing_{i}" for i in range(98))],
}


def arrays(dataset, train=400, test=100):
    """Images and labels by split; the mean colour of an image tells its class."""
    classes, rng = CLASSES[dataset], np.random.default_rng(CLASSES[dataset])
    tints, made = rng.integers(0, 200, (classes, 3)), {}
    for split, size in (("train", train), ("test", test)):
        labels = rng.permutation(np.arange(size) % classes)
        images = rng.integers(0, 56, (size, 32, 32, 3)) + tints[labels][:, None, None]
        made[split] = images.astype(np.uint8), labels.astype(np.uint8)
    return made


def write_cache(root, **sizes):
    """Write both data sets as cache folders and return the root."""
    for dataset in CLASSES:
        (root / dataset).mkdir(parents=True)
        cache.write(root / dataset, NAMES[dataset], arrays(dataset, **sizes))
    return root


def write_archive(path, dataset, made):
    """Write arrays as an archive like the official one."""
    names = [name.encode() for name in NAMES[dataset]]
    if dataset == "cifar10":
        folder, key = "cifar-10-batches-py", b"labels"
        parts = np.array_split(np.arange(len(made["train"][1])), 5)
        files = {
            f"data_batch_{i}": _batch(made["train"], part, key) for i, part in enumerate(parts, 1)
        }
        files |= {"test_batch": _batch(made["test"], slice(None), key)}
        files |= {"batches.meta": {b"label_names": names}}
    else:
        folder, key = "cifar-100-python", b"fine_labels"
        files = {split: _batch(made[split], slice(None), key) for split in made}
        files |= {"meta": {b"fine_label_names": names}}
    write_pickles(path, {f"{folder}/{name}": content for name, content in files.items()})


def write_pickles(path, files):
    """Write a tar of pickles by member name."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            data = pickle.dumps(content, protocol=4)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _batch(part, index, key):
    images, labels = part[0][index], part[1][index]
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return {b"data": planes, key: labels.tolist()}
