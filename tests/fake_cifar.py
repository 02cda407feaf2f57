"""Tiny data sets in the layout of the cache and in that of the official archives."""

import io
import pickle
import tarfile

import numpy as np

from nbkit.data import cache
from nbkit.experiments import scoring
from nbkit.experiments.cifar import CifarRun

CRITERIA = ("last", "last_3", "proxy_accuracy", "pu_auc", "oracle", "test")
CLASSES = {"cifar10": 10, "cifar100": 100}
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
NAMES = {
    "cifar10": ["airplane", "automobile", *ANIMALS, "ship", "truck"],
    "cifar100": ["bus", "wolf", *(f"thing_{i}" for i in range(98))],
}


def arrays(dataset, train=400, test=100, seed=0):
    """Images and labels by split; the mean colour of an image tells its class."""
    classes, rng = CLASSES[dataset], np.random.default_rng(CLASSES[dataset] + seed)
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


def made_up(run, categories=100):
    """A result of nobody's training: scores drawn from the key of the run, marked as fake."""
    draw = np.random.default_rng(int(run.key, 16))
    base = 0.4 + 0.4 * run.kept * draw.random()
    names = [*scoring.MACRO, *scoring.DETECTION]
    by_criterion = {
        criterion: {name: base + 0.02 * draw.random() for name in names} | {"epoch": 1}
        for criterion in CRITERIA
    }
    by_criterion["test"]["accuracy"] = base + 0.03  # whoever peeks does best
    final = [name for name in CifarRun.score_names if name not in names]
    by_criterion["last"] |= {name: 0.1 + 0.8 * draw.random() for name in final}
    rates = {"bus": 0.9, **{f"thing_{i}": draw.random() for i in range(categories - 1)}}
    return {
        "metrics": by_criterion,
        "curves": {"accuracy": np.linspace(0, base, run.epochs).tolist()},
        "called_positive": rates,
        "false_positives": [[i, 1 + i % 10, 1 - i / 20] for i in range(int(12 * draw.random()))],
        "reliability": [[20 * i, (i + 0.5) / 15, draw.random() * (i > 0)] for i in range(15)],
        "provenance": {"device": "fake"},
        "precision": "bf16" if run.precision == "auto" else "fp32",
        "kept": 0.36,  # of a run that estimates it
    }


def write_results(store, grid):
    """Store made-up results of the runs of a grid."""
    for run in grid:
        store.save(run, made_up(run))
