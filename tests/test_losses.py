"""Every loss against its formula, its gradient, and the contract that all of them keep."""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nbkit import losses
from nbkit.experiments import cifar, classification, moons, segmentation, thresholds, transfer

HYPER = {
    "weighted": {"weight_ratio": 0.4},
    "forward": {"kept": 0.6},
    "backward": {"kept": 0.6},
    "noise_layer": {"num_classes": 4},
    "upu": {"prior": 0.4},
    "nnpu": {"prior": 0.4},
    "dist_pu": {"prior": 0.4, "warm_up": 0},
}


def make(name, **hyper):
    return losses.create(name, **(HYPER.get(name, {}) | hyper))


SEPARABLE = [name for name in losses.names() if make(name).separable]
RISKS = [name for name in losses.names() if not make(name).separable]


def batch(rng, size=24, classes=4):
    """Float64 logits and labels in which every class occurs."""
    logits = torch.tensor(2 * rng.standard_normal((size, classes)), requires_grad=True)
    return logits, torch.tensor(rng.permutation(np.arange(size) % classes))


def gradient(value, logits):
    return torch.autograd.grad(value, logits)[0].numpy()


def numeric_gradient(function, z, step=1e-5):
    """Central differences of a scalar function of a float64 array."""
    slope = np.zeros_like(z)
    for place in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[place] += step
        down[place] -= step
        slope[place] = (function(up) - function(down)) / (2 * step)
    return slope


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def entropy(p):
    return -(p * np.log(p)).sum()


def one_hot(k, classes):
    return np.eye(classes)[k]


def missing_transition(classes, kept):
    """Row-stochastic matrix of labels of which a share ``kept`` of the positives survives."""
    matrix = kept * np.eye(classes)
    matrix[:, 0] += 1 - kept
    return matrix


def spread_transition(classes, stay):
    off = (1 - stay) / (classes - 1)
    return off + (stay - off) * np.eye(classes)


def hard_target(p, y, beta):
    own = one_hot(p.argmax(), len(p))
    return one_hot(y, len(p)) if y else beta * one_hot(0, len(p)) + (1 - beta) * own


# each formula by hand: the softmax p and the label y of one position give its unweighted loss
FORMULAS = {
    "cross_entropy": lambda p, y: -np.log(p[y]),
    "weighted": lambda p, y: -np.log(p[y]),
    "exponential": lambda p, y: -np.log(p[y]) if y else 1 - p[0],
    "bootstrap_hard": lambda p, y: -(hard_target(p, y, 0.5) * np.log(p)).sum(),
    "bootstrap_hard_as_run": lambda p, y: (
        np.log(1e7) * (0.5 if p.argmax() == 0 else 1) * (1 - p[y])
    ),
    "bootstrap_soft": lambda p, y: -((0.95 * one_hot(y, len(p)) + 0.05 * p) * np.log(p)).sum(),
    "entropy_min": lambda p, y: -np.log(p[y]) + (y == 0) * 0.5 * entropy(p),
    "gce": lambda p, y: (1 - p[y] ** 0.7) / 0.7,
    "symmetric_ce": lambda p, y: (
        -0.1 * np.log(p[y]) - (p * np.log(np.clip(one_hot(y, len(p)), 1e-4, 1))).sum()
    ),
    "forward": lambda p, y: -np.log(missing_transition(len(p), 0.6).T @ p)[y],
    "backward": lambda p, y: -(np.linalg.inv(missing_transition(len(p), 0.6)) @ np.log(p))[y],
    "noise_layer": lambda p, y: -np.log(spread_transition(len(p), 0.95).T @ p)[y] + 0.1 * 0.95,
}

# the closed logit gradients, where the author's code or the literature gives one
GRADIENTS = {
    "cross_entropy": lambda p, y: p - one_hot(y, len(p)),
    "weighted": lambda p, y: p - one_hot(y, len(p)),
    "exponential": lambda p, y: (1 if y else p[0]) * (p - one_hot(y, len(p))),
    "bootstrap_hard": lambda p, y: p - hard_target(p, y, 0.5),
    "bootstrap_hard_as_run": lambda p, y: (
        16.118095651 * (0.5 if p.argmax() == 0 else 1) * p[y] * (p - one_hot(y, len(p)))
    ),
    "bootstrap_soft": lambda p, y: (
        0.95 * (p - one_hot(y, len(p))) - 0.05 * p * (np.log(p) + entropy(p))
    ),
}


def class_weights(ratio):
    """w_0, w_+ with w_0 / w_+ = ratio and mean 1."""
    return 2 * ratio / (1 + ratio), 2 / (1 + ratio)


def create_separable(name, classes, ratio):
    hyper = {"num_classes": classes} if name == "noise_layer" else {}
    return make(name, weight_ratio=ratio, **hyper)


@pytest.mark.parametrize("ratio", [1.0, 0.3])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", SEPARABLE)
def test_value_is_the_formula(name, classes, ratio, rng):
    logits, target = batch(rng, classes=classes)
    weights = class_weights(ratio)
    rows = zip(logits.detach().numpy(), target.tolist(), strict=True)
    expected = [weights[y > 0] * FORMULAS[name](softmax(z), y) for z, y in rows]
    loss = create_separable(name, classes, ratio)
    np.testing.assert_allclose(
        loss.per_example(logits, target).detach().numpy(), expected, rtol=1e-6, atol=1e-9
    )
    assert loss(logits, target).item() == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", SEPARABLE)
def test_gradient_is_the_slope_of_the_formula(name, classes, rng):
    logits, target = batch(rng, size=8, classes=classes)
    weights = class_weights(0.3)
    rows = zip(logits.detach().numpy(), target.tolist(), strict=True)
    expected = [
        weights[y > 0] * numeric_gradient(lambda z, y=y: FORMULAS[name](softmax(z), y), z)
        for z, y in rows
    ]
    actual = gradient(
        create_separable(name, classes, 0.3).per_example(logits, target).sum(), logits
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient_is_the_published_one(name, classes, rng):
    logits, target = batch(rng, classes=classes)
    weights = class_weights(0.3)
    rows = zip(logits.detach().numpy(), target.tolist(), strict=True)
    expected = [weights[y > 0] * GRADIENTS[name](softmax(z), y) for z, y in rows]
    actual = gradient(
        create_separable(name, classes, 0.3).per_example(logits, target).sum(), logits
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "hyper", "p", "y", "value"),
    [
        ("exponential", {}, (0.5, 0.5), 0, 0.5),
        ("exponential", {"weight_ratio": 1 / 3}, (0.1, 0.8, 0.1), 0, 0.45),
        ("bootstrap_hard", {"beta": 0.5}, (0.4, 0.6), 0, 0.7136),
        ("bootstrap_hard_as_run", {}, (1 - 1e-9, 1e-9), 1, 0.5 * 16.118),
        ("bootstrap_hard_as_run", {}, (1e-9, 1 - 1e-9), 0, 16.118),
    ],
)
def test_author_anchor(name, hyper, p, y, value):
    logits = torch.tensor([p], dtype=torch.float64).log()
    assert make(name, **hyper)(logits, torch.tensor([y])).item() == pytest.approx(value, abs=5e-4)


def test_exponential_gradient_anchor():
    logits = torch.tensor([[0.1, 0.8, 0.1]], dtype=torch.float64).log().requires_grad_()
    value = make("exponential", weight_ratio=1 / 3)(logits, torch.tensor([0]))
    np.testing.assert_allclose(gradient(value, logits), [[-0.045, 0.04, 0.005]], atol=1e-12)


# --- the contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("faded", [False, True], ids=["bare", "faded"])
@pytest.mark.parametrize("name", losses.names())
def test_void_counts_nowhere(name, faded, rng):
    """Whatever the logits of void positions, value and gradients of the rest stay as they were."""
    loss = losses.FadeIn(make(name)) if faded else make(name)
    loss.set_epoch(5)
    logits, target = batch(rng)
    wild = torch.tensor([[1e30, -1e30, 0, 0], [-1e4, 1e4, 1e4, 0], [0, 0, 0, -1e30]]).double()
    longer = torch.cat([wild, logits.detach(), wild]).requires_grad_()
    void = torch.full((3,), 255)
    value = loss(logits, target)
    padded = loss(longer, torch.cat([void, target, void]))
    assert padded.item() == pytest.approx(value.item(), rel=1e-12)
    slope = gradient(padded, longer)
    assert (slope[:3] == 0).all()
    assert (slope[-3:] == 0).all()
    np.testing.assert_allclose(slope[3:-3], gradient(value, logits), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "present", [(), (0,), (1, 2, 3)], ids=["all_void", "no_positive", "no_unlabelled"]
)
@pytest.mark.parametrize("name", losses.names())
def test_batch_without_a_group_is_finite(name, present, rng):
    logits, target = batch(rng)
    target[~torch.isin(target, torch.tensor(present))] = 255
    value = make(name)(logits, target)
    assert torch.isfinite(value)
    assert np.isfinite(gradient(value, logits)).all()
    if not present and name != "noise_layer":  # whose trace has no examples
        assert value == 0


@pytest.mark.parametrize("name", losses.names())
def test_confident_network_has_a_finite_gradient(name):
    """Float32 logits far apart, for right and for wrong labels."""
    hyper = {"kept": 1.0} if name in ("forward", "backward") else {}
    logits = 60 * torch.eye(4)[[0, 1, 2, 3, 0, 1]]
    logits.requires_grad_()
    value = make(name, **hyper)(logits, torch.tensor([0, 1, 2, 0, 3, 0]))
    assert torch.isfinite(value)
    assert np.isfinite(gradient(value, logits)).all()


@pytest.mark.parametrize("name", losses.names())
def test_dense_logits_are_positions_of_one_batch(name, rng):
    logits, target = batch(rng)
    dense = logits.reshape(2, 3, 4, 4).permute(0, 3, 1, 2)
    value = make(name)(dense, target.reshape(2, 3, 4))
    assert value.item() == pytest.approx(make(name)(logits, target).item(), rel=1e-12)


@pytest.mark.parametrize("faded", [False, True], ids=["bare", "faded"])
@pytest.mark.parametrize("name", losses.names())
def test_stack_equals_one_network_at_a_time(name, faded, rng):
    loss = losses.FadeIn(make(name)) if faded else make(name)
    loss.set_epoch(5)
    batches = [batch(rng) for _ in range(3)]
    logits = torch.stack([z.detach() for z, _ in batches]).requires_grad_()
    target = torch.stack([y for _, y in batches])
    target[1, :5] = 255
    together = loss.stacked(logits, target)
    alone = torch.stack([loss(logits[i], target[i]) for i in range(3)])
    np.testing.assert_allclose(together.detach(), alone.detach(), rtol=1e-9)
    np.testing.assert_allclose(
        gradient(together.sum(), logits), gradient(alone.sum(), logits), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize("name", SEPARABLE)
def test_stack_takes_a_ratio_for_each_network(name, rng):
    logits, target = batch(rng)
    ratios = [0.2, 1.0, 3.0]
    together = make(name).stacked(
        logits.expand(3, -1, -1), target.expand(3, -1), torch.tensor(ratios).double()
    )
    alone = [losses.with_balance(make(name), r)(logits, target).item() for r in ratios]
    np.testing.assert_allclose(together.detach(), alone, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", losses.names())
def test_half_precision_logits_give_a_float32_loss(name, dtype, rng):
    logits, target = batch(rng)
    low = logits.detach().to(dtype)
    value = make(name)(low, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(make(name)(low.double(), target).item(), rel=1e-4)


@pytest.mark.parametrize("name", RISKS)
def test_risk_has_no_value_of_one_example(name, rng):
    with pytest.raises(TypeError, match="not separable"):
        make(name).per_example(*batch(rng))


# --- fade-in --------------------------------------------------------------------------------------


def test_fade_in_schedule():
    expected = [1, 0.95, 0.857, 0.735, 0.599, 0.463, 0.341, 0.238, 0.158, 0.099, 0, 0]
    loss = losses.FadeIn(make("exponential"))
    for epoch, share in enumerate(expected):
        loss.set_epoch(epoch)
        assert loss.alpha.item() == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("name", losses.names())
def test_fade_in_mixes_cross_entropy_and_the_loss(name, rng):
    logits, target = batch(rng)
    loss = losses.FadeIn(make(name))
    late = loss.loss(logits, target).item()
    start = make("cross_entropy", weight_ratio=loss.weight_ratio)(logits, target).item()
    for epoch in (0, 4, 10):
        loss.set_epoch(epoch)
        share = loss.alpha.item()
        mixed = share * start + (1 - share) * late
        assert loss(logits, target).item() == pytest.approx(mixed, rel=1e-6)


# --- PU risks -------------------------------------------------------------------------------------

PRIOR = 0.4


def sigmoid(f):
    return 1 / (1 + np.exp(-f))


SURROGATES = {
    "sigmoid": (lambda f: sigmoid(-f), lambda f: -sigmoid(f) * sigmoid(-f)),
    "logistic": (lambda f: np.log1p(np.exp(-f)), lambda f: -sigmoid(-f)),
}


def groups(target, setting):
    """Masks of P and of the sample of the population."""
    return target == 1, (target >= 0 if setting == "one_sample" else target == 0)


def binary_entropy(f):
    s = sigmoid(f)
    return -(s * np.log(s) + (1 - s) * np.log(1 - s))


def published(name, f, target, setting):
    p, u = groups(target, setting)
    if name in ("upu", "nnpu"):
        loss = SURROGATES["sigmoid"][0]
        positive, taken = PRIOR * loss(f[p]).mean(), PRIOR * loss(-f[p]).mean()
        negative = loss(-f[u]).mean() - taken
        return positive + (negative if name == "upu" else max(negative, 0))
    if name == "vpu":
        return np.log(sigmoid(f[u]).mean()) - np.log(sigmoid(f[p])).mean()
    labels = 2 * PRIOR * abs(1 - sigmoid(f[p]).mean())
    return labels + abs(PRIOR - sigmoid(f[u]).mean()) + 0.1 * binary_entropy(f[u]).mean()


@pytest.mark.parametrize("setting", ["one_sample", "two_sample"])
@pytest.mark.parametrize("name", RISKS)
def test_one_category_is_the_published_binary_risk(name, setting, rng):
    logits, target = batch(rng, classes=2)
    z, y = logits.detach().numpy(), target.numpy()

    def risk(z):
        return published(name, z[:, 1] - z[:, 0], y, setting)

    value = make(name, setting=setting)(logits, target)
    assert value.item() == pytest.approx(risk(z), rel=1e-6)
    np.testing.assert_allclose(
        gradient(value, logits), numeric_gradient(risk, z), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("setting", ["one_sample", "two_sample"])
@pytest.mark.parametrize("name", RISKS)
def test_many_categories_add_their_cross_entropy(name, setting, rng):
    """f is the logit of 1 - p_0; labelled positives add prior times CE among the categories."""
    logits, target = batch(rng)
    z, y = logits.detach().numpy(), target.numpy()
    p = np.apply_along_axis(softmax, 1, z)
    f = np.log((1 - p[:, 0]) / p[:, 0])
    labelled = y > 0
    category = -np.log(p[labelled, y[labelled]] / (1 - p[labelled, 0])).mean()
    expected = published(name, f, (y > 0).astype(int), setting)
    # vpu's prior weighs the category term alone and is 1/2 unless given
    prior = 0.5 if name == "vpu" else PRIOR
    actual = make(name, setting=setting)(logits, target).item()
    assert actual == pytest.approx(expected + prior * category, rel=1e-6)


def test_logistic_surrogate_of_upu(rng):
    logits, target = batch(rng, classes=2)
    f = (logits[:, 1] - logits[:, 0]).detach().numpy()
    p, u = groups(target.numpy(), "two_sample")
    loss = SURROGATES["logistic"][0]
    expected = PRIOR * (loss(f[p]) - loss(-f[p])).mean() + loss(-f[u]).mean()
    value = make("upu", setting="two_sample", surrogate="logistic")(logits, target)
    assert value.item() == pytest.approx(expected, rel=1e-10)


VARIANTS = ("kiryo", "clamp", "flip_total", "minus")


def described_gradient(variant, f, target, setting, surrogate, beta, gamma):
    """dR/df as each published code takes it, and R-, from the gradients of R+ and of R-."""
    loss, slope = SURROGATES[surrogate]
    p, u = groups(target, setting)
    positive = PRIOR * loss(f[p]).mean()
    negative = loss(-f[u]).mean() - PRIOR * loss(-f[p]).mean()
    up = np.where(p, PRIOR * slope(f) / p.sum(), 0)
    down = np.where(u, -slope(-f) / u.sum(), 0) + np.where(p, PRIOR * slope(-f) / p.sum(), 0)
    steps = {
        "kiryo": up + down if negative >= -beta else -gamma * down,
        "clamp": up + down if negative >= 0 else up,
        "flip_total": up + down if positive + negative >= 0 else -(up + down),
        "minus": up + down if negative >= 0 else up - gamma * down,
    }
    return steps[variant], positive, negative


# mean score of P and of U, with the signs of R- and of the whole risk that follow
BATCHES = {
    "early": (0.0, 0.0, 1, 1),
    "turning": (0.0, -3.0, -1, 1),
    "overfitted": (3.0, -3.0, -1, -1),
}


def pu_batch(rng, kind):
    target = torch.tensor([1] * 6 + [0] * 10)
    of_p, of_u, *_ = BATCHES[kind]
    f = np.where(target == 1, of_p, of_u) + 0.1 * rng.standard_normal(16)
    return torch.tensor(np.stack([np.zeros(16), f], 1), requires_grad=True), target, f


@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize(("gamma", "beta"), [(1.0, 0.0), (0.5, 0.0), (1.0, 0.1)])
@pytest.mark.parametrize("surrogate", ["sigmoid", "logistic"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_nnpu_steps_as_described(variant, surrogate, gamma, beta, kind, rng):
    logits, target, f = pu_batch(rng, kind)
    hyper = {"variant": variant, "surrogate": surrogate, "gamma": gamma, "setting": "two_sample"}
    value = make("nnpu", **hyper, beta=beta)(logits, target)
    expected, positive, negative = described_gradient(
        variant, f, target.numpy(), "two_sample", surrogate, beta, gamma
    )
    assert (np.sign(negative), np.sign(positive + negative)) == BATCHES[kind][2:]
    assert negative < -beta or kind == "early"
    assert value.item() == pytest.approx(positive + max(negative, -beta), rel=1e-9)
    np.testing.assert_allclose(gradient(value, logits)[:, 1], expected, rtol=1e-8, atol=1e-14)


def variant_gradients(rng, kind, setting="two_sample"):
    logits, target, _ = pu_batch(rng, kind)
    rows = {
        variant: gradient(make("nnpu", variant=variant, setting=setting)(logits, target), logits)
        for variant in VARIANTS
    }
    return rows, gradient(make("upu", setting=setting)(logits, target), logits)


def test_nnpu_variants_differ_once_the_negative_risk_is_negative(rng):
    rows, unbiased = variant_gradients(rng, "overfitted")
    different = [*rows.values(), unbiased]
    for i, one in enumerate(different):
        for other in different[:i]:
            assert np.abs(one - other).max() > 0.1 * np.abs(unbiased).max()


def test_nnpu_variants_are_upu_before_that(rng):
    rows, unbiased = variant_gradients(rng, "early")
    for row in rows.values():
        np.testing.assert_allclose(row, unbiased, rtol=1e-12)


def test_minus_variant_cancels_the_gradient_of_labelled_positives(rng):
    """With the sigmoid loss and gamma 1, only the category term is left on P."""
    logits, target, _ = pu_batch(rng, "overfitted")
    loss = make("nnpu", variant="minus", setting="two_sample")
    slope = gradient(loss(logits, target), logits)
    assert np.abs(slope[target == 1]).max() < 1e-15
    assert np.abs(slope[target == 0]).min() > 1e-4

    wide = torch.cat([logits.detach(), logits.detach()[:, 1:] - 1], 1).requires_grad_()
    labels = torch.where(target == 1, 1 + torch.arange(16) % 2, 0)
    p = labels > 0
    category = F.cross_entropy(wide[p][:, 1:], labels[p] - 1)
    np.testing.assert_allclose(
        gradient(loss(wide, labels), wide)[p],
        PRIOR * gradient(category, wide)[p],
        rtol=1e-9,
        atol=1e-15,
    )


def test_what_is_faded_in_hears_of_every_epoch():
    loss = losses.FadeIn(make("dist_pu", warm_up=3))
    warm = []
    for epoch in (2, 3):
        loss.set_epoch(epoch)
        warm.append(loss.bare.warm.item())
    assert warm == [0, 1]


def test_nnpu_tolerates_a_negative_risk_above_minus_beta(rng):
    logits, target, _ = pu_batch(rng, "overfitted")
    tolerant = make("nnpu", beta=1.0, setting="two_sample")(logits, target)
    unbiased = make("upu", setting="two_sample")(logits, target)
    assert tolerant.item() == pytest.approx(unbiased.item(), rel=1e-12)
    np.testing.assert_allclose(gradient(tolerant, logits), gradient(unbiased, logits), rtol=1e-12)


def test_imbalanced_nnpu_weighs_both_classes_alike(rng):
    logits, target, f = pu_batch(rng, "early")
    _, positive, negative = described_gradient(
        "clamp", f, target.numpy(), "two_sample", "sigmoid", 0, 1
    )
    value = make("nnpu", imbalanced=True, setting="two_sample")(logits, target).item()
    assert value == pytest.approx(positive / PRIOR / 2 + negative / (1 - PRIOR) / 2, rel=1e-10)


def test_vpu_mixup_is_the_squared_log_ratio(rng):
    logits, target = batch(rng, classes=2)
    mixed, _ = batch(rng, classes=2)
    partner = torch.tensor(rng.choice(np.flatnonzero(target == 1), target.numel()))
    loss = make("vpu", mixup_weight=0.7)
    f, f_mix = ((z[:, 1] - z[:, 0]).detach().numpy() for z in (logits, mixed))
    wanted = 0.3 * sigmoid(f) + 0.7
    term = ((np.log(wanted) - np.log(sigmoid(f_mix))) ** 2).mean()
    actual = loss.with_mixup(logits, target, mixed, partner, torch.tensor(0.3, dtype=torch.float64))
    assert actual.item() == pytest.approx(loss(logits, target).item() + 0.7 * term, rel=1e-9)


def test_vpu_mixes_nothing_in_a_batch_without_labelled_positives(rng):
    logits, target = batch(rng, classes=2)
    mixed, _ = batch(rng, classes=2)
    partner, none = torch.arange(target.numel()), torch.zeros_like(target)
    loss = make("vpu", mixup_weight=0.7)
    value = loss.with_mixup(logits, none, mixed, partner, torch.tensor(0.3))
    assert value.item() == pytest.approx(loss(logits, none).item(), rel=1e-12)


def test_dist_pu_mixup_is_cross_entropy_to_mixed_pseudo_labels_plus_entropy(rng):
    logits, target = batch(rng, classes=2)
    mixed, _ = batch(rng, classes=2)
    partner = torch.tensor(rng.permutation(target.numel()))
    loss = make("dist_pu", mixup_weight=0.7)
    f, f_mix = ((z[:, 1] - z[:, 0]).detach().numpy() for z in (logits, mixed))
    wanted = 0.3 * sigmoid(f) + 0.7 * sigmoid(f)[partner]
    s = sigmoid(f_mix)
    fit = -(wanted * np.log(s) + (1 - wanted) * np.log(1 - s))
    term = (fit + binary_entropy(f_mix)).mean()
    actual = loss.with_mixup(logits, target, mixed, partner, torch.tensor(0.3, dtype=torch.float64))
    assert actual.item() == pytest.approx(loss(logits, target).item() + 0.7 * term, rel=1e-9)


def test_dist_pu_warms_up_with_its_bare_risk(rng):
    logits, target = batch(rng, classes=2)
    mixed, _ = batch(rng, classes=2)
    partner = torch.tensor(rng.permutation(target.numel()))
    loss = make("dist_pu", warm_up=3)
    bare = make("dist_pu", warm_up=3, entropy=0.0)(logits, target).item()
    for epoch, warm in ((0, False), (2, False), (3, True)):
        loss.set_epoch(epoch)
        plain = loss(logits, target).item()
        mixing = loss.with_mixup(logits, target, mixed, partner, torch.tensor(0.3).double()).item()
        assert (plain == pytest.approx(bare, rel=1e-12)) != warm
        assert (mixing == plain) != warm


# --- limits and corrections -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("gce", {"q": 1e-7}),
        ("forward", {"kept": 1.0}),
        ("backward", {"kept": 1.0}),
        ("bootstrap_hard", {"beta": 1.0}),
        ("bootstrap_soft", {"beta": 1.0}),
        ("entropy_min", {"weight": 0.0}),
        ("weighted", {"weight_ratio": 1.0}),
        ("noise_layer", {"stay": 1 - 1e-9, "trace": 0.0}),
    ],
)
def test_limit_is_cross_entropy(name, hyper, rng):
    logits, target = batch(rng)
    value = make(name, **hyper)(logits, target)
    plain = F.cross_entropy(logits, target)
    assert value.item() == pytest.approx(plain.item(), rel=1e-5)
    np.testing.assert_allclose(gradient(value, logits), gradient(plain, logits), atol=1e-6)


def test_gce_at_one_is_the_absolute_error(rng):
    logits, target = batch(rng)
    expected = 1 - logits.softmax(1).gather(1, target[:, None])[:, 0]
    np.testing.assert_allclose(
        make("gce", q=1.0).per_example(logits, target).detach(), expected.detach(), rtol=1e-12
    )


@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_forward_correction_is_minimised_by_the_clean_posterior(kept, rng):
    """The expected loss under noisy labels has no slope there, and is larger anywhere near."""
    clean = rng.dirichlet(np.ones(4))
    noisy = torch.tensor(missing_transition(4, kept).T @ clean)

    def expected(logits):
        return (noisy * make("forward", kept=kept).per_example(logits, torch.arange(4))).sum()

    logits = torch.tensor(np.log(clean)).repeat(4, 1).requires_grad_()
    best = expected(logits)
    np.testing.assert_allclose(gradient(best, logits).sum(0), 0, atol=1e-12)
    for _ in range(5):
        shift = torch.tensor(0.3 * rng.standard_normal(4))
        assert expected(logits + shift) > best


@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_backward_correction_is_unbiased(kept, rng):
    """Averaged over the noisy labels of each true class it is the clean cross-entropy."""
    row = torch.tensor(rng.standard_normal(4))
    per_label = make("backward", kept=kept).per_example(row.repeat(4, 1), torch.arange(4)).numpy()
    np.testing.assert_allclose(
        missing_transition(4, kept) @ per_label, -row.log_softmax(0).numpy(), rtol=1e-9
    )


def test_noise_layer_is_row_stochastic_with_the_diagonal_asked_for():
    matrix = make("noise_layer", stay=0.8).transition.detach().numpy()
    np.testing.assert_allclose(matrix, spread_transition(4, 0.8), rtol=1e-6)


def test_noise_layer_learns_every_row(rng):
    loss = make("noise_layer", trace=0.0)
    loss(*batch(rng)).backward()
    assert (loss.rows.grad.abs().sum(1) > 0).all()


def test_trace_penalty_of_the_noise_layer_lowers_its_diagonal(rng):
    logits, target = batch(rng)
    bare, penalised = make("noise_layer", trace=0.0), make("noise_layer", trace=0.5)
    for loss in (bare, penalised):
        loss(logits, target).backward()
    difference = (penalised.rows.grad - bare.rows.grad).diag()
    assert (difference > 0).all()


# --- making a loss --------------------------------------------------------------------------------


def test_names_are_the_losses_of_the_design():
    assert set(losses.names()) == {*FORMULAS, "upu", "nnpu", "vpu", "dist_pu"}


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("gce", ("gce", {})),
        (" gce(q=0.5) ", ("gce", {"q": 0.5})),
        (
            "nnpu(variant='clamp', gamma=.5, imbalanced=True)",
            ("nnpu", {"variant": "clamp", "gamma": 0.5, "imbalanced": True}),
        ),
        ("dist_pu(warm_up=3)", ("dist_pu", {"warm_up": 3})),
        ("upu()", ("upu", {})),
    ],
)
def test_parse_splits_name_and_hyper_parameters(spec, parsed):
    assert losses.parse(spec) == parsed
    assert losses.parse(losses.canonical(spec)) == parsed


SCENES = {"images": 40, "objects": 1}


@pytest.mark.parametrize(
    "kind",
    [
        classification.ClassificationRun,
        cifar.CifarRun,
        moons.MoonsRun,
        thresholds.ThresholdRun,
        functools.partial(segmentation.SegmentationRun, **SCENES),
        functools.partial(transfer.TransferRun, **SCENES),
    ],
)
def test_texts_that_mean_the_same_loss_are_one_run(kind):
    texts = ("nnpu(gamma=0.5, variant='clamp')", ' nnpu( variant = "clamp", gamma=.5 ) ')
    first, second = (kind(loss=text) for text in texts)
    assert first.loss == texts[0]
    assert first == second


def test_build_fills_in_what_the_text_leaves_open():
    known = {"kept": 0.7, "prior": 0.3, "num_classes": 5}
    assert losses.build("forward", **known).kept == 0.7
    assert losses.build("vpu", setting="two_sample", **known).setting == "two_sample"
    assert losses.build("upu", **known).prior == 0.3
    assert losses.build("noise_layer", **known).rows.shape == (5, 5)
    assert losses.build("weighted", **known).weight_ratio == 1


def test_build_keeps_what_the_text_says():
    known = {"kept": 0.7, "prior": 0.3, "num_classes": 5}
    assert losses.build("forward(kept=0.9)", **known).kept == 0.9
    assert losses.build("nnpu(prior=0.4)", **known).prior == 0.4


@pytest.mark.parametrize("name", losses.names())
def test_no_loss_is_computed_in_half_precision(name, rng):
    logits, target = batch(rng)
    logits, loss = logits.detach().float(), losses.build(name, kept=0.7, prior=0.3, num_classes=4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(logits, target)
    assert torch.equal(inside, loss(logits, target))


def test_with_balance_sets_the_ratio_of_the_class_weights(rng):
    logits, target = batch(rng)
    loss = losses.with_balance(make("gce"), 0.25)
    plain = make("gce").per_example(logits, target)
    weighed = loss.per_example(logits, target) / plain
    unlabelled = weighed[target == 0].mean()
    assert (unlabelled / weighed[target > 0].mean()).item() == pytest.approx(0.25)
    assert ((unlabelled + weighed[target > 0].mean()) / 2).item() == pytest.approx(1)


def test_as_run_constant_is_the_log_of_the_clip():
    assert make("bootstrap_hard_as_run").scale == pytest.approx(16.118, abs=5e-4)
    assert math.exp(-make("bootstrap_hard_as_run").scale) == pytest.approx(1e-7)


@pytest.mark.parametrize(
    ("formula", "got"),
    [
        (lambda self, log_p, y: -log_p.sum(1).mean(), r"got \(\)"),
        (lambda self, log_p, y: -log_p, r"got \(4, 3\)"),
        (lambda self, log_p, y: None, "got NoneType"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda loss: loss, losses.FadeIn], ids=["bare", "faded in"])
def test_a_formula_of_ones_own_must_give_one_term_a_position(monkeypatch, formula, got, wrap):
    kind = type("Mine", (losses.Loss,), {"formula": formula})
    monkeypatch.setitem(losses.LOSSES, "mine", kind)
    message = rf"formula of Mine must return one term a position, of shape \(4,\), {got}"
    with pytest.raises(ValueError, match=message):
        wrap(losses.create("mine"))(torch.zeros(4, 3), torch.tensor([0, 1, 2, 255]))


def test_a_function_is_no_loss(monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "own", lambda logits, target: logits.mean())
    with pytest.raises(ValueError, match="must be a class"):
        losses.checked("own")


class Overridden(losses.Loss):
    def forward(self, logits, target):
        return logits.mean()


@pytest.mark.parametrize("kind", [Overridden, torch.nn.Module, torch.nn.CrossEntropyLoss])
def test_a_loss_of_ones_own_that_breaks_the_contract_is_told_so(monkeypatch, kind):
    monkeypatch.setitem(losses.LOSSES, "own", kind)
    with pytest.raises(ValueError, match=rf"own: {kind.__name__} must be a class, a Loss with"):
        losses.checked("own")
