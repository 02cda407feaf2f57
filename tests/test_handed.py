"""Every parameter of a run reaches its training: no default stands in for one."""

import dataclasses

import fake_cifar
import pytest
from conftest import handed

from nbkit import data, fcn, losses
from nbkit.experiments import cifar, classification, moons, pretraining, segmentation, transfer
from nbkit.experiments import thresholds as gaussians
from nbkit.experiments.cifar import CifarRun
from nbkit.experiments.classification import ClassificationRun
from nbkit.experiments.moons import MoonsRun
from nbkit.experiments.pretraining import TransferRun
from nbkit.experiments.segmentation import SegmentationRun
from nbkit.experiments.thresholds import ThresholdRun

LOSS = {"loss": "forward", "fade_in": True, "seed": 5}
POINTS = {"kept": 0.4, "epochs": 3}
LOOP = {"epochs": 3, "batch_size": 24, "learning_rate": 0.007, "dropout": 0.35}
SCENES = {"dataset": "scenes", "images": 90, "objects": 3, "size": 128, "network": "half"}
PRETRAINING = SCENES | LOOP | {"folds": 3, "fold": 2, "source_epochs": 2, "seed": 5}
RUNS = {  # every value differs from its default; one name a call of the training loop
    "moons": MoonsRun(**LOSS | POINTS, weight_ratio=0.3, learning_rate=0.007),
    "digits": ClassificationRun(**LOSS | POINTS | LOOP, weight_ratio=0.3),
    "cifar": CifarRun(**LOSS | POINTS | LOOP, images=200, weight_ratio=0.3, precision="reference"),
    "thresholds": ThresholdRun(loss="forward", **POINTS, weight_ratio=0.3, prior=0.3, seed=5),
    "segmentation": SegmentationRun(**SCENES | LOSS | LOOP, kept=0.4),
    "pre-training": TransferRun(**PRETRAINING | LOSS, source="missing", rate=0.6),
    "autoencoder": TransferRun(**PRETRAINING, source="autoencoder"),
    "image labels": TransferRun(**PRETRAINING, source="image_labels"),
    "fine-tuning": TransferRun(**PRETRAINING),
}


@pytest.fixture(autouse=True)
def cache(sandbox):
    fake_cifar.write_cache(sandbox / "data", train=200)


def told(monkeypatch, name, run):
    """What the training loop is given of the run of that name."""
    compute = {
        "moons": lambda: moons.fit([run]),
        "digits": lambda: classification.fit([run]),
        "cifar": lambda: cifar.fit(run),
        "thresholds": lambda: gaussians.compute([run], "cpu"),
        "segmentation": lambda: segmentation.fit(run),
        "fine-tuning": lambda: transfer.finetune(run, pretraining.Source({})),
    }
    return handed(monkeypatch, compute.get(name, lambda: pretraining.pretrain(run)))


def share_dropped(model):
    return model.rates[-1] if hasattr(model, "rates") else model.dropout


@pytest.mark.parametrize("name", RUNS)
def test_what_is_asked_for_here_is_no_default(name):
    asked = {*POINTS, *LOOP, "weight_ratio", "network", "precision", "source_epochs", "seed"}
    given = [field for field in dataclasses.fields(RUNS[name]) if field.name in asked]
    assert given
    assert [f.name for f in given if getattr(RUNS[name], f.name) == f.default] == []


@pytest.mark.parametrize("name", RUNS)
def test_the_loop_is_given_the_run_s_own_settings(name, monkeypatch):
    run = RUNS[name]
    given = told(monkeypatch, name, run)
    own = run.parameters
    assert given["model"].seeds == [run.seed]
    for setting in {"batch_size", "learning_rate", "precision"} & set(own):
        assert given[setting] == own[setting]
    pre_trained = name in ("pre-training", "autoencoder", "image labels")
    assert given["epochs"] == (run.source_epochs if pre_trained else run.epochs)
    assert given.get("schedule", "constant") == ("constant" if name == "moons" else "one_cycle")
    if "dropout" in own:
        assert share_dropped(given["model"]) == own["dropout"]
    if "network" in own:
        assert given["model"].features[0].out_channels == fcn.TRUNKS[run.network].widths[0]
    if "weight_ratio" in own:
        assert given["weight_ratio"].tolist() == pytest.approx([run.weight_ratio])


@pytest.mark.parametrize("name", [name for name, run in RUNS.items() if run.loss == "forward"])
def test_the_loss_is_the_run_s_own(name, monkeypatch):
    run = RUNS[name]
    loss = told(monkeypatch, name, run)["loss"]
    assert isinstance(loss, losses.FadeIn) == getattr(run, "fade_in", False)
    assert type(loss.bare) is losses.LOSSES["forward"]
    assert loss.bare.kept == 0.4
    plain = dataclasses.replace(run, **{"fade_in": False} if hasattr(run, "fade_in") else {})
    assert not isinstance(told(monkeypatch, name, plain)["loss"], losses.FadeIn)


def test_the_prior_of_a_risk_is_that_of_its_data(monkeypatch):
    priors = {
        "moons": 0.5,
        "digits": (data.digits().train_labels > 0).mean(),
        "cifar": 0.5,
        "thresholds": 0.45,
    }
    for name, prior in priors.items():
        run = dataclasses.replace(RUNS[name], loss="nnpu", weight_ratio=1.0)
        if name == "thresholds":
            run = dataclasses.replace(run, assumed_prior=prior)
        assert told(monkeypatch, name, run)["loss"].bare.prior == pytest.approx(prior, abs=0.01)


def test_vehicles_have_the_prior_of_the_literature(monkeypatch):
    run = CifarRun(dataset="vehicles", annotation="two-sample", labelled=30, loss="nnpu", epochs=1)
    assert told(monkeypatch, "cifar", run)["loss"].prior == pytest.approx(0.4)


def test_distractors_are_background_for_the_source_alone():
    run = TransferRun(**PRETRAINING)
    (source, target), (fewer, same) = (
        pretraining.divide(dataclasses.replace(run, distractors=count)) for count in (0, 5)
    )
    before, after = source.unit_labels, fewer.unit_labels
    targets = len(source.classes) - 5
    assert fewer.classes == source.classes[:targets]
    assert (before >= targets).any()
    assert ((before < targets) | (after == 0)).all()
    assert (after == before)[before < targets].all()
    assert (same.unit_labels == target.unit_labels).all()
    assert same.classes == target.classes
