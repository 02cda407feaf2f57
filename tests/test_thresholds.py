"""The closed-form thresholds against measured ones: networks trained on the expected loss.

The population has one feature u, uniform on [0, 1], and the posterior eta = low + (high - low) u. A
small monotone network is trained on the loss of that population, starting from a boundary in the
middle; the measured threshold is the posterior at which its decision flips. Nothing in the
measurement knows the closed form.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nbkit import losses
from nbkit.losses import thresholds

TOLERANCE = 0.03
RATIOS, KEPT = (0.4, 0.6, 0.8), (0.6, 0.9)
CASES = [(ratio, kept) for ratio in RATIOS for kept in KEPT]
# backward correction is unbounded below for r < 1, forward shares its threshold
CORRECTED_CASES = [(ratio, kept) for ratio in (1.0, 1.5, 2.5) for kept in KEPT]
SEPARABLE = [
    name for name in losses.names() if name not in ("noise_layer", "upu", "nnpu", "vpu", "dist_pu")
]
POPULATIONS = ((0.0, 0.6), (0.1, 0.7), (0.2, 1.0))  # priors .3, .4 and .6


class Monotone(nn.Module):
    """S smooth increasing functions of one feature: (S, N) to logits (S, N, 2)."""

    def __init__(self, networks, units=8):
        super().__init__()
        self.weight = nn.Parameter(torch.full((networks, 1, units), -1.0))
        self.slope = nn.Parameter(torch.zeros(networks, 1, units))
        self.centre = nn.Parameter(torch.linspace(-3.5, 3.5, units).repeat(networks, 1, 1))
        self.bias = nn.Parameter(torch.zeros(networks, 1))

    def forward(self, x):
        steps = torch.tanh(F.softplus(self.slope) * (x[:, :, None] - self.centre))
        score = self.bias + (F.softplus(self.weight) * steps).sum(2)
        return torch.stack([-score / 2, score / 2], dim=2)


def flips(u, spans, objective, *, steps=140, learning_rate=0.05):
    """Train one network a row of ``u`` and return the posterior at which each changes its mind.

    Parameters
    ----------
    u : (S, N) array
        The feature of each network's examples.
    spans : S pairs
        The posterior at u = 0 and at u = 1.
    objective : callable
        (logits (S, N, 2), features (S, N), model) -> S losses.
    """
    x = torch.as_tensor(8 * u - 4).float()
    model = Monotone(len(x))
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * min(1, 2 * (1 - step / steps))
        optimizer.zero_grad()
        sum(objective(model(x), x, model)).backward()
        optimizer.step()
    grid = torch.linspace(0, 1, 2001)
    with torch.no_grad():
        logits = model((8 * grid - 4).expand(len(x), -1))
    negative = (logits[..., 1] <= logits[..., 0]).sum(1)
    at = grid[negative.clamp(max=2000)].tolist()
    return [low + (high - low) * u for u, (low, high) in zip(at, spans, strict=True)]


def measured_separable(name, cases, **hyper):
    """Thresholds under the expected loss: label 1 with weight c eta, label 0 with 1 - c eta."""
    eta = torch.linspace(0, 1, 101)
    one, zero = torch.ones(101, dtype=torch.long), torch.zeros(101, dtype=torch.long)
    made = [
        losses.create(
            name, weight_ratio=r, **({"kept": c} if name in thresholds.CORRECTED else {}) | hyper
        )
        for r, c in cases
    ]

    def objective(logits, *_):
        expected = []
        for z, loss, (_, c) in zip(logits, made, cases, strict=True):
            labelled, unlabelled = loss.per_example(z.repeat(2, 1), torch.cat([one, zero])).view(
                2, -1
            )
            expected.append((c * eta * labelled + (1 - c * eta) * unlabelled).mean())
        return expected

    return flips(eta.expand(len(cases), -1), [(0, 1)] * len(cases), objective)


def quantiles(density, size):
    """Return ``size`` features in [0, 1] spread evenly under a density."""
    fine = np.linspace(0, 1, 10_001)
    mass = np.cumsum(density(fine))
    return np.interp((np.arange(size) + 0.5) / size, mass / mass[-1], fine)


def sample(low, high, kept, drawn, size=200):
    """Return u and observed labels of an evenly spread sample.

    One-sample: ``size`` points, a share ``kept`` of the positives labelled. Two-sample: ``size``
    unlabelled points and the labelled ones besides, filled up with void to 2 ``size``.
    """

    def eta(u):
        return low + (high - low) * u

    labelled = round(kept * size * (low + high) / 2)
    if drawn == "one_sample":
        rest, void = quantiles(lambda u: 1 - kept * eta(u), size - labelled), np.zeros(0)
    else:
        rest, void = quantiles(np.ones_like, size), np.zeros(size - labelled)
    u = np.concatenate([rest, quantiles(eta, labelled), void])
    return u, np.repeat([0, 1, 255], [rest.size, labelled, void.size])


def measured_risk(name, cases, *, drawn, setting=None, steps=140, learning_rate=0.05, **hyper):
    """Thresholds of a PU risk; a case is (low, high, kept, assumed prior / true prior)."""
    samples = [sample(low, high, kept, drawn) for low, high, kept, _ in cases]
    targets = [torch.as_tensor(label) for _, label in samples]
    made = [
        losses.create(name, prior=factor * (low + high) / 2, setting=setting or drawn, **hyper)
        for low, high, _, factor in cases
    ]
    mixing = np.random.default_rng(0)

    def objective(logits, x, model):
        rows = zip(made, logits, targets, strict=True)
        if made[0].mixup is None:
            return [loss.value(z, y) for loss, z, y in rows]
        share = torch.tensor(mixing.beta(made[0].alpha, made[0].alpha)).float()
        drawn_from = [np.flatnonzero(y == 1) for y in targets]
        partner = torch.as_tensor(np.stack([mixing.choice(p, x.shape[1]) for p in drawn_from]))
        mixed = model(share * x + (1 - share) * x.gather(1, partner))
        rows = zip(rows, mixed, partner, strict=True)
        return [loss.with_mixup(z, y, m, p, share) for (loss, z, y), m, p in rows]

    u = np.stack([features for features, _ in samples])
    spans = [(low, high) for low, high, _, _ in cases]
    return flips(u, spans, objective, steps=steps, learning_rate=learning_rate)


def agree(measured, closed):
    assert np.abs(np.subtract(measured, closed)).max() <= TOLERANCE, (measured, closed)


@pytest.mark.parametrize("name", SEPARABLE)
def test_separable_loss_flips_at_its_closed_form(name):
    cases = CORRECTED_CASES if name in thresholds.CORRECTED else CASES
    closed = [losses.threshold(name, kept=c, weight_ratio=r) for r, c in cases]
    agree(measured_separable(name, cases), closed)


@pytest.mark.parametrize(
    ("name", "hyper", "known"),
    [
        ("bootstrap_hard", {"beta": 0.6}, {"beta": 0.6}),
        ("bootstrap_hard", {"beta": 0.9}, {"beta": 0.9}),
        ("forward", {"kept": 0.45}, {"assumed_kept": 0.45}),
        ("backward", {"kept": 0.95}, {"assumed_kept": 0.95}),
    ],
)
def test_a_hyper_parameter_moves_the_threshold_as_the_closed_form_says(name, hyper, known):
    cases = CORRECTED_CASES if name in thresholds.CORRECTED else CASES
    closed = [losses.threshold(name, kept=c, weight_ratio=r, **known) for r, c in cases]
    agree(measured_separable(name, cases, **hyper), np.minimum(closed, 1))


@pytest.mark.parametrize(
    ("drawn", "setting"),
    [("one_sample", "one_sample"), ("two_sample", "two_sample"), ("one_sample", "two_sample")],
    ids=["pooled", "two_sample", "not_pooled"],
)
@pytest.mark.parametrize("name", ["upu", "nnpu"])
def test_pu_risk_flips_at_its_closed_form(name, drawn, setting):
    """Three assumed priors; ``not_pooled`` is the two-sample estimator on one-sample data."""
    cases = [(0.0, 0.8, c, factor) for factor in (0.8, 1.0, 1.2) for c in KEPT]
    closed = [
        losses.threshold(
            name,
            kept=c,
            prior=0.4,
            assumed_prior=factor * 0.4,
            pooled=setting == drawn,
            posterior=np.linspace(0, 0.8, 1001),
        )
        for *_, c, factor in cases
    ]
    agree(measured_risk(name, cases, drawn=drawn, setting=setting), closed)


@pytest.mark.parametrize("variant", ["kiryo", "clamp", "minus"])
def test_nnpu_with_too_large_a_prior_goes_below_upu(variant):
    """R- would be negative at uPU's threshold of .25; holding it at 0 moves the threshold to .2."""
    cases = [(0.0, 0.8, c, 2.0) for c in KEPT]
    eta = np.linspace(0, 0.8, 1001)
    closed = [
        losses.threshold("nnpu", kept=c, prior=0.4, assumed_prior=0.8, posterior=eta) for c in KEPT
    ]
    agree(measured_risk("nnpu", cases, drawn="one_sample", variant=variant), closed)


def test_imbalanced_nnpu_flips_at_the_prior_whatever_it_was_told():
    cases = [(0.0, 0.8, c, factor) for factor in (0.8, 1.2) for c in KEPT]
    closed = [
        losses.threshold("nnpu", kept=c, prior=0.4, assumed_prior=factor * 0.4, imbalanced=True)
        for *_, c, factor in cases
    ]
    assert closed == pytest.approx([0.4] * 4)
    agree(measured_risk("nnpu", cases, drawn="one_sample", imbalanced=True), closed)


def test_dist_pu_matches_the_share_that_it_was_told():
    cases = [(0.1, 0.7, c, factor) for factor in (0.6, 1.5) for c in KEPT]
    closed = [
        losses.threshold(
            "dist_pu",
            kept=c,
            prior=0.4,
            assumed_prior=factor * 0.4,
            posterior=np.linspace(0.1, 0.7, 1001),
        )
        for *_, c, factor in cases
    ]
    bare = {"mixup_weight": 0.0, "entropy": 0.0}
    agree(measured_risk("dist_pu", cases, drawn="one_sample", **bare), closed)


@pytest.mark.parametrize(
    ("populations", "setting"),
    [(POPULATIONS, "one_sample"), (POPULATIONS[1:2], "two_sample")],
    ids=["pooled", "not_pooled"],
)
@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("vpu", {"mixup_weight": 0.006, "steps": 250, "learning_rate": 0.02}),
        ("dist_pu", {"mixup_weight": 0.0, "entropy": 0.0}),
    ],
    ids=["vpu", "dist_pu"],
)
def test_distribution_risk_flips_at_its_closed_form(name, hyper, populations, setting):
    """VPU with a small mixup weight, which fixes its scale and little else; Dist-PU's bare risk."""
    cases = [(low, high, c, 1.0) for low, high in populations for c in KEPT]
    closed = [
        losses.threshold(
            name,
            kept=c,
            prior=(low + high) / 2,
            pooled=setting == "one_sample",
            posterior=np.linspace(low, high, 1001),
        )
        for low, high, c, _ in cases
    ]
    agree(measured_risk(name, cases, drawn="one_sample", setting=setting, **hyper), closed)


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("name", SEPARABLE)
def test_bayes_ratio_puts_the_threshold_at_one_half(name, kept):
    ratio = losses.bayes_ratio(name, kept)
    assert losses.threshold(name, kept=kept, weight_ratio=ratio) == pytest.approx(0.5)


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_bayes_ratio_knows_how_far_bootstrapping_trusts_the_label(beta):
    ratio = losses.weight_ratio(f"bootstrap_hard(beta={beta})", "bayes", kept=0.6, balanced=1.0)
    found = losses.threshold("bootstrap_hard", kept=0.6, weight_ratio=ratio, beta=beta)
    assert found == pytest.approx(0.5)


@pytest.mark.parametrize("assumed", [0.3, 1.0])
@pytest.mark.parametrize("name", thresholds.CORRECTED)
def test_bayes_ratio_knows_the_share_that_a_correction_assumes(name, assumed):
    ratio = losses.weight_ratio(f"{name}(kept={assumed})", "bayes", kept=0.6, balanced=1.0)
    found = losses.threshold(name, kept=0.6, weight_ratio=ratio, assumed_kept=assumed)
    assert found == pytest.approx(0.5)


@pytest.mark.parametrize("kept", KEPT)
def test_balanced_weights_are_bayes_only_at_prior_one_half(kept):
    bayes = losses.bayes_ratio("weighted", kept)
    assert losses.balanced_ratio(0.5, kept) == pytest.approx(bayes)
    for prior in (0.1, 0.45, 0.55, 0.9):
        assert losses.balanced_ratio(prior, kept) != pytest.approx(bayes, rel=0.01)


def test_balanced_ratio_is_labelled_over_unlabelled():
    """CIFAR at 50 %: 24,968 labelled positives and 75,032 unlabelled images."""
    assert losses.balanced_ratio(0.49936, 0.5) == pytest.approx(24968 / 75032)


def test_every_loss_has_a_closed_form_but_the_noise_layer():
    known = [
        *thresholds.SHARE_OF_U,
        *thresholds.CORRECTED,
        *thresholds.RISKS,
        "vpu",
        "dist_pu",
    ]
    assert set(losses.names()) - set(known) == {"noise_layer"}
