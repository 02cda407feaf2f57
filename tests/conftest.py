"""What every test shares: one thread, a generator from one seed, and folders to write to."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sweep_fake
import torch

from nbkit import experiments, paths, runs, train

FOLDERS = ("RESULTS", "FIGURES", "DATA", "RUNS")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Keep the tests of an ``xdist_group`` on one worker.

    pytest 9.2 no longer looks at the id that pytest-xdist 3.8 changes to that end, and says nothing
    (pytest-dev/pytest-xdist#1386). Without effect where grouping works.
    """
    for item in items if getattr(config.option, "loadgroup", False) else []:
        for mark in item.iter_markers("xdist_group"):
            if hasattr(item, "_id") and "@" not in item.nodeid:
                item._id = type(item._id).parse(f"{item.nodeid}@{mark.args[0]}")


needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
EVERYWHERE = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_card])]


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Keep torch to one thread: the tests are small, and pytest-xdist runs several at once."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the kernels and commands that tests start


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def folders(root: Path) -> dict[str, str]:
    """Return the environment that keeps all that nbkit writes below ``root``."""
    return {f"NBKIT_{name}": str(root / name.lower()) for name in FOLDERS}


@pytest.fixture
def sandbox(tmp_path, monkeypatch) -> Path:
    """A folder for all that nbkit writes in this test, in this process and its children."""
    for name, folder in folders(tmp_path).items():
        monkeypatch.setenv(name, folder)
    return tmp_path


@pytest.fixture
def store(tmp_path) -> runs.Store:
    return runs.Store(tmp_path / "results")


@pytest.fixture
def fake_experiment(monkeypatch):
    """Offer the fake experiment to this process for the time of a test."""
    monkeypatch.setattr(experiments, "EXPERIMENTS", (*experiments.EXPERIMENTS, "fake"))
    monkeypatch.setitem(sys.modules, "nbkit.experiments.fake", sweep_fake)


def handed(monkeypatch, compute: Callable[[], object]) -> dict:
    """Return what is handed to the training loop, by name; the first call ends ``compute``."""
    told = {}

    class EnoughError(Exception):
        pass

    def fit(model, inputs, targets, loss, **options):
        told.update(model=model, inputs=inputs, targets=targets, loss=loss, **options)
        raise EnoughError

    with monkeypatch.context() as patch:
        patch.setattr(train, "fit", fit)
        with pytest.raises(EnoughError):
            compute()
    return told


@pytest.fixture(scope="session")
def committed_results(tmp_path_factory) -> Path:
    """A copy of the committed results, so that a test that computes leaves the project clean."""
    root = tmp_path_factory.mktemp("committed") / "results"
    source = paths.ROOT / "data" / "results"
    if not ((paths.ROOT / ".git").exists() and shutil.which("git")):
        return Path(shutil.copytree(source, root, ignore=shutil.ignore_patterns("errors", "*.tmp")))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=source, check=True, capture_output=True)
    for name in listed.stdout.decode().split("\0")[:-1]:  # what a sweep has added since is not
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, root / name)
    return root
