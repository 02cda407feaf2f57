"""What is refused, and whether the message says what was given and what is expected."""

import numpy as np
import pandas as pd
import pytest
import torch

from nbkit import data, losses, metrics, models, noise, optim, statistics, train
from nbkit.experiments import moons
from nbkit.experiments.classification import ClassificationRun
from nbkit.experiments.pretraining import TransferRun
from nbkit.experiments.segmentation import SegmentationRun

RNG = np.random.default_rng(0)
Y = np.array([0, 1, 2, 1, 0, 255])
MAP = np.array([[0, 1], [2, 255]])
NAN = float("nan")


def logits(*shape):
    return torch.zeros(shape)


def labels(*values, dtype=torch.int64):
    return torch.tensor(values, dtype=dtype)


def fit(inputs=None, targets=None, **changes):
    """Train a (2, 2) network on four points, with some arguments replaced."""
    model = models.MLP((2, 2), [0])
    inputs = torch.zeros(4, 2) if inputs is None else inputs
    targets = torch.tensor([[0, 1, 0, 1]]) if targets is None else targets
    usual = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}
    return train.fit(model, inputs, targets, losses.create("gce"), **(usual | changes))


BAD = {
    # noise
    "rate above 1": (lambda: noise.missing(Y, 1.5, rng=RNG), r"rate must be in \[0, 1\], got 1.5"),
    "rate below 0": (lambda: noise.misannotated(Y, -0.1, 3, rng=RNG), r"rate must .*got -0.1"),
    "rate NaN": (lambda: noise.missing(Y, NAN, rng=RNG), r"rate must be a finite number, got nan"),
    "rate a text": (lambda: noise.missing(Y, "half", rng=RNG), r"rate must be a number.*'half'"),
    "rate a bool": (lambda: noise.missing(Y, True, rng=RNG), r"rate must be a number, got True"),
    "all dropped": (lambda: noise.missing(Y, 1, rng=RNG), r"dropped all 3 positives"),
    "no positive": (lambda: noise.missing(Y * 0, 0.5, rng=RNG), r"no positive \(1..K\)"),
    "empty labels": (lambda: noise.missing(Y[:0], 0.5, rng=RNG), r"non-empty vector.*\(0,\)"),
    "2-D labels": (lambda: noise.subsample(MAP, 0.5, rng=RNG), r"vector of unit labels.*\(2, 2\)"),
    "float labels": (lambda: noise.missing(Y / 1, 0.5, rng=RNG), r"integers, got dtype float64"),
    "bool labels": (lambda: noise.missing(Y > 0, 0.5, rng=RNG), r"integers, got dtype bool"),
    "label below 0": (lambda: noise.missing(-Y, 0.5, rng=RNG), r"0..255 .*got \[-255, -2, -1\]"),
    "label above K": (
        lambda: noise.misclassified(Y, 0.5, 3, rng=RNG) and noise.misannotated(Y, 0.5, 2, rng=RNG),
        r"in 0..1 or 255 \(void\), got \[2\]",
    ),
    "one category": (
        lambda: noise.misclassified(Y, 0.5, 2, rng=RNG),
        r"num_classes must be a whole number of at least 3, got 2",
    ),
    "300 classes": (lambda: noise.misannotated(Y, 0.5, 300, rng=RNG), r"at most 255, got 300"),
    "a seed for rng": (lambda: noise.missing(Y, 0.5, rng=0), r"numpy.random.Generator, got int"),
    "legacy rng": (
        lambda: noise.subsample(Y, 0.5, rng=np.random.RandomState(0)),
        r"Generator, got RandomState",
    ),
    "short difficulty": (
        lambda: noise.missing(Y, 0.5, rng=RNG, difficulty=np.zeros(2)),
        r"difficulty must be one value a unit, \(6,\), got float64 \(2,\)",
    ),
    "NaN difficulty": (
        lambda: noise.missing(Y, 0.5, rng=RNG, difficulty=np.full(6, NAN)),
        r"difficulty must be finite",
    ),
    "integer candidates": (
        lambda: noise.misannotated(Y, 0.5, 3, rng=RNG, candidates=Y),
        r"candidates must be one value a unit.*got int64",
    ),
    "kept 0": (lambda: noise.subsample(Y, 0, rng=RNG), r"kept must be in \(0, 1\], got 0"),
    "class left empty": (
        lambda: noise.subsample(Y, 1e-9, rng=RNG),
        r"kept 1e-09 left class\(es\) \[0, 1, 2\] empty",
    ),
    "two lengths": (
        lambda: noise.transition_matrix(Y, Y[:3], 3),
        r"differ in length: 6 and 3",
    ),
    "float map": (lambda: noise.paint(Y, MAP / 1), r"\(H, W\) integer map, got float64"),
    "flat map": (lambda: noise.paint(Y, MAP.ravel()), r"\(H, W\) integer map, got int64 \(4,\)"),
    "empty map": (lambda: noise.paint(Y, MAP[:0]), r"\(H, W\) integer map, got int64 \(0, 2\)"),
    "id without label": (lambda: noise.paint(Y[:1], MAP), r"ids \[2\] have no label: 1 label"),
    "id above 255": (lambda: noise.paint(Y, MAP + 1), r"ids 0..255, got 1..256"),
    "255 instances": (lambda: noise.paint(np.zeros(255, int), MAP), r"at most 254 .*got 255"),
    # losses: making one
    "unknown loss": (lambda: losses.create("focal"), r"one of cross_entropy, .*; got 'focal'"),
    "unknown hyper": (lambda: losses.create("gce", gamma=1), r"gce takes no gamma; it takes q"),
    "missing hyper": (lambda: losses.create("upu"), r"upu needs prior"),
    "q of 0": (lambda: losses.create("gce", q=0), r"q must be in \(0, 1\], got 0"),
    "beta of 2": (lambda: losses.create("bootstrap_hard", beta=2), r"beta must be in \[0, 1\]"),
    "entropy weight of 2": (
        lambda: losses.create("entropy_min", weight=2),
        r"weight must be in \[0, 2\), got 2",
    ),
    "entropy weight a text": (
        lambda: losses.create("entropy_min", weight="1"),
        r"weight must be a number, got '1'",
    ),
    "alpha of 0": (lambda: losses.create("symmetric_ce", alpha=0), r"alpha .*greater than 0"),
    "kept above 1": (lambda: losses.create("forward", kept=1.1), r"kept must be in \(0, 1\]"),
    "stay of 1": (
        lambda: losses.create("noise_layer", num_classes=3, stay=1.0),
        r"stay must be in \(0, 1\), got 1.0",
    ),
    "prior of 0": (lambda: losses.create("nnpu", prior=0.0), r"prior must be in \(0, 1\), got 0"),
    "prior of 1": (lambda: losses.create("dist_pu", prior=1), r"prior must be in \(0, 1\), got 1"),
    "unknown setting": (
        lambda: losses.create("upu", prior=0.5, setting="both"),
        r"setting must be one of one_sample, two_sample; got 'both'",
    ),
    "unknown surrogate": (
        lambda: losses.create("upu", prior=0.5, surrogate="hinge"),
        r"surrogate must be one of sigmoid, logistic; got 'hinge'",
    ),
    "unknown variant": (
        lambda: losses.create("nnpu", prior=0.5, variant="abs"),
        r"variant must be one of kiryo, clamp, flip_total, minus; got 'abs'",
    ),
    "beta below 0": (lambda: losses.create("nnpu", prior=0.5, beta=-1), r"beta must be .*got -1"),
    "mixup alpha of 0": (lambda: losses.create("vpu", alpha=0), r"alpha must be .*got 0"),
    "warm-up of 1.5": (
        lambda: losses.create("dist_pu", prior=0.5, warm_up=1.5),
        r"warm_up must be a whole number of at least 0, got 1.5",
    ),
    "ratio of 0": (lambda: losses.create("gce", weight_ratio=0), r"weight_ratio .*got 0"),
    "ratio infinite": (
        lambda: losses.create("weighted", weight_ratio=float("inf")),
        r"weight_ratio must be a finite number greater than 0, got inf",
    ),
    "balance of a risk": (
        lambda: losses.with_balance(losses.create("upu", prior=0.5), 0.5),
        r"UPU is a PU risk: set its prior",
    ),
    "balance of a name": (lambda: losses.with_balance("gce", 0.5), r"loss must be a Loss.*str"),
    "fade-in of a name": (lambda: losses.FadeIn("gce"), r"FadeIn wraps a Loss, got str"),
    "parse nothing": (lambda: losses.parse(""), r"name\(key=value, key='text', ...\), got ''"),
    "parse a number": (lambda: losses.parse(3), r"name\(key=value, key='text', ...\), got 3"),
    "parse a name twice": (lambda: losses.parse("gce(q=0.5, q=0.3)"), r"got 'gce\(q=0.5, q=0.3\)'"),
    "parse no name": (lambda: losses.parse("gce(**{'q': 0.5})"), r"write a loss as name"),
    "parse by position": (lambda: losses.parse("gce(0.5)"), r"got 'gce\(0.5\)'"),
    "parse a variable": (lambda: losses.parse("gce(q=x)"), r"got 'gce\(q=x\)'"),
    "parse a call": (
        lambda: losses.parse("gce(q=open('f'))"),
        r"name\(key=value, key='text', ...\)",
    ),
    "parse a weight ratio": (
        lambda: losses.parse("gce(weight_ratio=0.3)"),
        "the weight ratio is a parameter of the run",
    ),
    "parse two losses": (lambda: losses.parse("gce + upu"), r"got 'gce \+ upu'"),
    "parse an unknown loss": (lambda: losses.parse("focal(gamma=2)"), r"one of .*got 'focal'"),
    # losses: calling one
    "logits of numpy": (
        lambda: losses.create("gce")(np.zeros((2, 3)), labels(0, 1)),
        "logits must be a tensor, got ndarray",
    ),
    "noise of other classes": (
        lambda: losses.create("noise_layer", num_classes=3)(logits(2, 4), labels(0, 1)),
        "logits have 4 classes, the noise 3",
    ),
    "a stack for one network": (
        lambda: models.VGG8(3, [0]).eval()(torch.zeros(2, 1, 3, 32, 32)),
        r"no stack: expected \(1, B, ...\), got \(2, 1, 3, 32, 32\)",
    ),
    "training without an epoch": (
        lambda: models.VGG8(3, [0])(torch.zeros(1, 1, 3, 32, 32)),
        "begin_epoch starts the dropout",
    ),
    "integer logits": (
        lambda: losses.create("gce")(logits(2, 3).long(), labels(0, 1)),
        r"logits must be floats .*got torch.int64 \(2, 3\)",
    ),
    "flat logits": (
        lambda: losses.create("gce")(logits(3), labels(0, 1, 2)),
        r"shape \(B, C, ...\), got torch.float32 \(3,\)",
    ),
    "one class": (
        lambda: losses.create("gce")(logits(2, 1), labels(0, 0)),
        r"at least 2 classes \(axis 1\), got 1",
    ),
    "short target": (
        lambda: losses.create("upu", prior=0.5)(logits(2, 3), labels(0, 1, 2)),
        r"target must be integers of shape \(2,\), got torch.int64 \(3,\)",
    ),
    "float target": (
        lambda: losses.create("gce")(logits(2, 3), torch.zeros(2)),
        r"integers of shape \(2,\), got torch.float32",
    ),
    "bool target": (
        lambda: losses.create("gce").per_example(logits(2, 3), torch.ones(2).bool()),
        r"got torch.bool \(2,\)",
    ),
    "ratio of a network infinite": (
        lambda: fit(weight_ratio=torch.tensor([float("inf")])),
        r"1 finite numbers greater than 0",
    ),
    "ratio of a network 0": (
        lambda: fit(weight_ratio=torch.zeros(1)),
        r"1 finite numbers greater than 0",
    ),
    "ratios of too many networks": (
        lambda: fit(weight_ratio=torch.ones(2)),
        r"1 finite numbers greater than 0.*\(2,\)",
    ),
    "no trust in U to balance": (
        lambda: losses.bayes_ratio("bootstrap_hard", 0.5, beta=0.0),
        r"beta = 0 does not trust U",
    ),
    "contrasts of no pair": (
        lambda: statistics.contrasts(
            pd.DataFrame({"row": ["a"], "seed": [0], "f1": [0.5]}),
            {"one": ("a", "b")},
            by="row",
            value="f1",
        ),
        r"both rows of none of the pairs: one",
    ),
    "target above K": (
        lambda: losses.create("gce")(logits(2, 3), labels(0, 3)),
        r"target must be in 0..2 or 255 \(void\), got \[3\]",
    ),
    "target below 0": (
        lambda: losses.create("vpu")(logits(2, 3), labels(0, -1)),
        r"target must be in 0..2 or 255 \(void\), got \[-1\]",
    ),
    # thresholds
    "threshold without form": (
        lambda: losses.threshold("noise_layer", kept=0.5),
        r"no closed-form threshold for 'noise_layer'; there is one for cross_entropy",
    ),
    "threshold at kept 0": (lambda: losses.threshold("gce", kept=0), r"kept must be in \(0, 1\]"),
    "threshold at ratio -1": (
        lambda: losses.threshold("gce", kept=0.5, weight_ratio=-1),
        r"weight_ratio must be .*got -1",
    ),
    "threshold without prior": (lambda: losses.threshold("upu", kept=0.5), r"upu needs prior"),
    "threshold without posterior": (
        lambda: losses.threshold("dist_pu", kept=0.5, prior=0.5),
        r"dist_pu needs the posteriors",
    ),
    "threshold of posterior 2": (
        lambda: losses.threshold("vpu", kept=0.5, posterior=np.array([0.5, 2.0])),
        r"posterior must be .*in \[0, 1\].*\[0.5, 2.0\]",
    ),
    "threshold of no posterior": (
        lambda: losses.threshold("dist_pu", kept=0.5, prior=0.5, posterior=np.zeros(0)),
        r"posterior must be a vector .*got shape \(0,\)",
    ),
    "threshold of NaN": (
        lambda: losses.threshold("nnpu", kept=0.5, prior=0.5, posterior=np.array([NAN])),
        r"posterior must be .*\[nan\]",
    ),
    "Bayes ratio of a risk": (
        lambda: losses.bayes_ratio("upu", 0.5),
        r"no Bayes ratio for 'upu': there is one for cross_entropy",
    ),
    "balance at prior 1": (lambda: losses.balanced_ratio(1.0, 0.5), r"prior must be in \(0, 1\)"),
    "balance at kept 2": (lambda: losses.balanced_ratio(0.5, 2), r"kept must be in \(0, 1\]"),
    # models
    "one layer size": (lambda: models.MLP((2,), [0]), r"at least 2 classes, got \(2,\)"),
    "one output": (lambda: models.MLP((2, 8, 1), [0]), r"at least 2 classes, got \(2, 8, 1\)"),
    "layer of 0": (lambda: models.MLP((2, 0, 2), [0]), r"every layer size must be .*got 0"),
    "layer of 2.5": (lambda: models.MLP((2, 2.5, 2), [0]), r"every layer size must .*got 2.5"),
    "no seed": (lambda: models.MLP((2, 2), []), r"the number of seeds must be .*got 0"),
    "negative seed": (lambda: models.MLP((2, 2), [-1]), r"every seed must be .*least 0, got -1"),
    "dropout of 1": (
        lambda: models.MLP((2, 2), [0], dropout=1.0),
        r"dropout must be in \[0, 1\), got 1.0",
    ),
    "bias spread below 0": (
        lambda: models.MLP((2, 2), [0], bias_std=-1),
        r"bias_std must be .*got -1",
    ),
    # metrics
    "float classes": (
        lambda: metrics.confusion_matrix(Y / 1, Y, 3),
        r"true labels must be integers, got float64",
    ),
    "predicted class 3": (
        lambda: metrics.confusion_matrix(Y[:5], Y[:5] + 1, 3),
        r"predicted labels must be in 0..2, got 1..3",
    ),
    "two numbers of examples": (
        lambda: metrics.confusion_matrix(Y, Y[:1], 3),
        r"end in the same N examples, got shapes \(6,\) and \(1,\)",
    ),
    "oblong matrix": (lambda: metrics.classification(np.ones((2, 3))), r"C, C\), got shape \(2, 3"),
    "AUC of one class": (lambda: metrics.auc(np.ones(3), np.ones(3, bool)), r"one is empty"),
    "AUC of labels": (lambda: metrics.auc(Y / 1, Y), r"positive must be booleans, got int64"),
    "AUC of NaN": (
        lambda: metrics.auc(np.array([NAN, 0]), Y[:2] > 0),
        r"scores and probabilities must be finite",
    ),
    "AUC of nothing": (lambda: metrics.auc(np.ones(0), np.ones(0, bool)), r"at least one"),
    "confidence of 2": (
        lambda: metrics.calibration_error(np.array([0.5, 2]), Y[:2] > 0),
        r"confidence must be in \[0, 1\], got 0.5..2.0",
    ),
    "no bin": (
        lambda: metrics.calibration_error(np.ones(2), Y[:2] > 0, bins=0),
        r"bins must be a whole number of at least 1, got 0",
    ),
    "calibration of classes": (
        lambda: metrics.calibration_error(np.ones(2), Y[:2]),
        r"correct must be booleans, got int64",
    ),
    "proxy of probabilities": (
        lambda: metrics.proxy_accuracy(np.ones(6), Y, 0.5),
        r"predicted must be integer classes, got float64",
    ),
    "proxy without positives": (lambda: metrics.proxy_accuracy(Y, Y * 0, 0.5), r"one is empty"),
    "proxy at prior 0": (lambda: metrics.proxy_accuracy(Y, Y, 0), r"prior must be in \(0, 1\)"),
    "proxy of another setting": (
        lambda: metrics.proxy_accuracy(Y, Y, 0.5, setting="three_sample"),
        r"setting must be one of one_sample, two_sample; got 'three_sample'",
    ),
    "a confusion of NaN": (
        lambda: metrics.classification(np.full((3, 3), NAN)),
        r"counts, which are 0 or more",
    ),
    "a share of impossible probabilities": (
        lambda: metrics.labelled_share([1.5, 0.2], np.array([1, 0])),
        r"probabilities must be in \[0, 1\]",
    ),
    "PU-AUC of void": (lambda: metrics.pu_auc(Y / 1, Y, 0.5), r"no void \(255\)"),
    "PU-AUC of bools": (lambda: metrics.pu_auc(Y / 1, Y == 1, 0.5), r"integer labels, got bool"),
    # data
    "scenes of 4 objects": (
        lambda: data.scenes(2, objects=4),
        r"objects must be \(fewest, most\), got 4",
    ),
    "moons of seed -1": (lambda: data.moons(-1), r"seed must be .*at least 0, got -1"),
    "moons of 4 points": (lambda: data.moons(0, examples=4), r"examples must be .*8, got 4"),
    "moons of noise -1": (lambda: data.moons(0, noise=-1), r"noise must be .*got -1"),
    "moons of noise NaN": (lambda: data.moons(0, noise=NAN), r"noise must be .*got nan"),
    "no Gaussian point": (lambda: data.gaussians(0, rng=RNG), r"examples must be .*1, got 0"),
    "Gaussians of prior 1": (lambda: data.gaussians(9, prior=1, rng=RNG), r"\(0, 1\), got 1"),
    "Gaussians at distance 0": (
        lambda: data.gaussians(9, distance=0, rng=RNG),
        r"distance must be .*greater than 0, got 0",
    ),
    "Gaussians of a seed": (lambda: data.gaussians(9, rng=0), r"rng must be .*Generator, got int"),
    # training
    "no epoch": (lambda: fit(epochs=0), r"epochs must be a whole number of at least 1, got 0"),
    "batches of 0": (lambda: fit(batch_size=0), r"batch_size must be .*got 0"),
    "learning rate of 0": (lambda: fit(learning_rate=0), r"learning_rate must be .*got 0"),
    "unknown schedule": (lambda: fit(schedule="step"), r"schedule must be one of .*got 'step'"),
    "targets of two networks": (
        lambda: fit(targets=torch.zeros(2, 4).long()),
        r"targets must be an int64 tensor of shape \(1, N\), got torch.int64 \(2, 4\)",
    ),
    "float targets": (lambda: fit(targets=torch.ones(1, 4)), r"int64 .*got torch.float32 \(1, 4\)"),
    "target 2 of 2 classes": (
        lambda: fit(targets=torch.tensor([[0, 1, 2, 1]])),
        r"targets must be in 0..1 or 255 \(void\)",
    ),
    "targets without positives": (
        lambda: fit(targets=torch.tensor([[0, 255, 0, 0]])),
        r"network\(s\) \[0\] have no labelled positive",
    ),
    "five inputs": (
        lambda: fit(inputs=torch.zeros(5, 2)),
        r"inputs must be a float32 tensor of shape \(4, F",
    ),
    "integer inputs": (lambda: fit(inputs=torch.zeros(4, 2).long()), r"float32 .*got torch.int64"),
    "float64 inputs": (lambda: fit(inputs=torch.zeros(4, 2).double()), r"float32 .*float64"),
    "inputs of NumPy": (lambda: fit(inputs=np.zeros((4, 2))), r"float32 tensor .*got ndarray"),
    "targets of NumPy": (
        lambda: fit(targets=np.zeros((1, 4), dtype=np.int64)),
        r"targets must be an int64 tensor .*got ndarray",
    ),
    "a number for the weight ratios": (
        lambda: fit(weight_ratio=2.0),
        r"weight_ratio must be a tensor of 1 finite .*got float",
    ),
    "a number for seeds": (
        lambda: models.MLP([2, 2], 0),
        r"seeds must be a list, one a network, as \[0\], got 0",
    ),
    "NaN inputs": (lambda: fit(inputs=torch.full((4, 2), NAN)), r"inputs .*not finite"),
    "text for a flag": (
        lambda: losses.create("nnpu", prior=0.5, imbalanced="False"),
        r"imbalanced must be True or False, got 'False'",
    ),
    "class weights of a risk": (
        lambda: ClassificationRun(loss="nnpu", weight_ratio=0.2),
        r"nnpu has a prior and takes no class weights: weight_ratio must be 1 .*got 0.2",
    ),
    "size that the stride does not divide": (
        lambda: TransferRun(images=60, objects=3, size=100),
        r"size must be a multiple of 8 with network='narrow', got 100",
    ),
    "loss of a pre-training without masks": (
        lambda: TransferRun(images=60, objects=3, source="autoencoder", balance="balanced"),
        r"source='autoencoder' has no masks, .*got loss='cross_entropy', balance='balanced'",
    ),
    "class weights of a risk on masks": (
        lambda: SegmentationRun(images=60, objects=1, loss="nnpu", balance="half"),
        r"nnpu has a prior and takes no class weights: .* balance 'none', got 1.0 and 'half'",
    ),
    "no name of a data set": (lambda: TransferRun(dataset=""), r"dataset must be scenes, .*got ''"),
    "class weights of a risk on moons": (
        lambda: moons.MoonsRun(loss="dist_pu", weight_ratio=0.2),
        r"dist_pu has a prior and takes no class weights",
    ),
    "prior per image of digits": (
        lambda: ClassificationRun(loss="nnpu(per_image=True)"),
        r"only the masks of a segmentation have a prior per image",
    ),
    "prior per image of a pre-training": (
        lambda: TransferRun(images=60, objects=3, loss="nnpu(per_image=True)"),
        r"only the masks of a segmentation have a prior per image",
    ),
    "rate of an unknown schedule": (
        lambda: optim.learning_rate_at("cosine", 0.1, 10),
        r"schedule must be one of constant, one_cycle; got 'cosine'",
    ),
    "peak of NaN": (
        lambda: optim.learning_rate_at("constant", NAN, 10),
        r"learning_rate .*got nan",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
