"""Losses with one value a position: cross-entropy and its noise-aware relatives.

In the docstrings p is the softmax, y the observed label, e_y its one-hot vector, H the entropy in
nats; U is label 0. Every value is multiplied by the class weight of the observed label.
"""

import math

import torch
from torch import Tensor, nn

from nbkit import checks
from nbkit.losses.base import Loss, picked


class CrossEntropy(Loss):
    """L = -log p_y; dL/dz = p - e_y. The draft's CrossEntropyU: U counts as negative."""

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        return -picked(log_p, y)


class Weighted(CrossEntropy):
    """L = -w_y log p_y, the draft's WeightedU: cross-entropy that must be given its ratio.

    Parameters
    ----------
    weight_ratio : float
        r = w_U / w_P. Balanced weights are r = ``balanced_ratio(prior, kept)``; Bayes' decision
        at 1/2 needs r = c / (2 - c), c = kept.
    """

    def __init__(self, weight_ratio: float):
        super().__init__(weight_ratio)


class Exponential(Loss):
    """Cross-entropy on labelled positives, 1 - p_0 on U: the draft's ExponentialU.

    The name is the draft's; nothing in it is exponential. On U it is the absolute difference
    |1 - p_0|, which for two classes is the sigmoid of the margin z_1 - z_0. Its logit gradient on
    U, p_0 (p - e_0), is that of cross-entropy times p_0: once the network is sure that an
    unlabelled example is positive, the pull back to "negative" vanishes. (Code of the author, 2017;
    thesis of J. Ju, TU Delft: "sigmoid loss".)
    """

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        return torch.where(y == 0, -torch.expm1(log_p[:, 0]), -picked(log_p, y))


class BootstrapHard(Loss):
    """Hard bootstrapping of U: L = -sum_k t_k log p_k, t = b_y e_y + (1 - b_y) e_argmax(p).

    b_0 = ``beta`` and b_k = 1 for the positive labels, as in the author's moons experiment; the
    argmax carries no gradient. Reed et al. 2014, eq. 7.

    Parameters
    ----------
    beta : float
        Trust in the label 0, in [0, 1].
    """

    def __init__(self, beta: float = 0.5, weight_ratio: float = 1.0):
        super().__init__(weight_ratio)
        self.beta = checks.fraction("beta", beta)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        given, own = -picked(log_p, y), -log_p.amax(1)
        return torch.where(y == 0, self.beta * given + (1 - self.beta) * own, given)


class BootstrapHardAsRun(Loss):
    """What the author's CIFAR "hard bootstrapping" really trained: L = c m (1 - p_y).

    The arguments of the loss were swapped, so that the clipped one-hot label stood inside the
    logarithm: c = -log 1e-7 = 16.118, and m = 1/2 where argmax p = 0, else 1. An absolute-error
    loss on every class, kept here because a row of Table 2 is its result. It jumps where class 0
    becomes the likeliest, and may be least at that edge; ``threshold`` gives the posterior at which
    its gradient turns, which is what training follows.
    """

    scale = -math.log(1e-7)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        halved = torch.where(log_p.argmax(1) == 0, 0.5, 1.0)
        return self.scale * halved * -torch.expm1(picked(log_p, y))


class BootstrapSoft(Loss):
    """Soft bootstrapping: L = beta CE + (1 - beta) H(p). Reed et al. 2014, eq. 6.

    The draft calls it minimum-entropy regularisation, which it is, for every label.

    Parameters
    ----------
    beta : float
        Trust in the labels, in [0, 1].
    """

    def __init__(self, beta: float = 0.95, weight_ratio: float = 1.0):
        super().__init__(weight_ratio)
        self.beta = checks.fraction("beta", beta)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        return -self.beta * picked(log_p, y) + (1 - self.beta) * _entropy(log_p)


class EntropyMin(Loss):
    """Cross-entropy plus entropy on U: L = -log p_y + [y = 0] weight H(p).

    Grandvalet and Bengio 2005, eq. 5, with U kept as negative: its cross-entropy is what prevents
    the collapse to one class that entropy alone allows.

    Parameters
    ----------
    weight : float
        At least 0 and below 2, up to which the minimiser moves with the posterior without a jump.
    """

    def __init__(self, weight: float = 0.5, weight_ratio: float = 1.0):
        super().__init__(weight_ratio)
        self.weight = checks.finite("weight", weight, least=0)
        if self.weight >= 2:
            raise ValueError(f"weight must be in [0, 2), got {weight!r}")

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        return -picked(log_p, y) + torch.where(y == 0, self.weight * _entropy(log_p), 0)


class GCE(Loss):
    """Generalised cross-entropy: L = (1 - p_y^q) / q. Zhang and Sabuncu 2018, eq. 6.

    Parameters
    ----------
    q : float
        In (0, 1]: towards 0 cross-entropy, at 1 the mean absolute error.
    """

    def __init__(self, q: float = 0.7, weight_ratio: float = 1.0):
        super().__init__(weight_ratio)
        self.q = checks.fraction("q", q, low_open=True)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        return -torch.expm1(self.q * picked(log_p, y)) / self.q


class SymmetricCE(Loss):
    """L = alpha CE + beta RCE, RCE = -log(1e-4) (1 - p_y). Wang et al. 2019, eq. 7.

    Parameters
    ----------
    alpha, beta : float
        Weights of the cross-entropy and of the reverse one, greater than 0.
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, weight_ratio: float = 1.0):
        super().__init__(weight_ratio)
        self.alpha = checks.finite("alpha", alpha, above=0)
        self.beta = checks.finite("beta", beta, above=0)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        log_p_y = picked(log_p, y)
        return -self.alpha * log_p_y - self.beta * math.log(1e4) * torch.expm1(log_p_y)


class Forward(Loss):
    """Forward correction: L = -log (T^T p)_y for one-sided noise. Patrini et al. 2017, theorem 2.

    T keeps class 0 and moves 1 - kept of every category into it, so that its population minimiser
    is the clean posterior.

    Parameters
    ----------
    kept : float
        c, the share of positives that keep their label, in (0, 1]; true or estimated.
    """

    def __init__(self, kept: float, weight_ratio: float = 1.0):
        super().__init__(weight_ratio)
        self.kept = checks.fraction("kept", kept, low_open=True)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        # p~_k = c p_k and p~_0 = p_0 + (1 - c)(1 - p_0) = c p_0 + 1 - c, finite even at c = 1
        lost = math.log1p(-self.kept) if self.kept < 1 else -math.inf
        noisy = math.log(self.kept) + log_p
        noisy_negative = torch.logaddexp(noisy[:, 0], torch.full_like(noisy[:, 0], lost))
        return -torch.where(y == 0, noisy_negative, picked(noisy, y))


class Backward(Loss):
    """Backward correction: L = (T^-1 (-log p))_y. Patrini et al. 2017, theorem 1.

    Unbiased, and unbounded below as soon as a network can memorise: it credits a labelled positive
    with (1 - c)/c times the loss of calling it negative.

    Parameters
    ----------
    kept : float
        c, in (0, 1].
    """

    def __init__(self, kept: float, weight_ratio: float = 1.0):
        super().__init__(weight_ratio)
        self.kept = checks.fraction("kept", kept, low_open=True)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        positive = ((1 - self.kept) * log_p[:, 0] - picked(log_p, y)) / self.kept
        return torch.where(y == 0, -log_p[:, 0], positive)


class NoiseLayer(Loss):
    """Cross-entropy behind a learned transition matrix: L = -log (T^T p)_y.

    T is row-stochastic, trained with the network and penalised by its trace, which pushes the noise
    out of the network into the layer. Sukhbaatar et al. 2014, section 3.3. Not identifiable without
    the penalty, and its threshold has no closed form.

    Parameters
    ----------
    num_classes : int
        C = K + 1.
    stay : float
        The diagonal of T at the start, in (0, 1).
    trace : float
        Weight of trace(T) / C, at least 0.
    """

    def __init__(
        self, num_classes: int, stay: float = 0.95, trace: float = 0.1, weight_ratio: float = 1.0
    ):
        super().__init__(weight_ratio)
        checks.count("num_classes", num_classes, least=2)
        stay = checks.fraction("stay", stay, low_open=True, high_open=True)
        self.trace = checks.finite("trace", trace, least=0)
        diagonal = math.log(stay * (num_classes - 1) / (1 - stay))
        self.rows = nn.Parameter(diagonal * torch.eye(num_classes))

    @property
    def transition(self) -> Tensor:
        """The row-stochastic (C, C) matrix, rows = true classes; learned after ``train.fit``."""
        return self.rows.softmax(1)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        if log_p.shape[1] != len(self.rows):
            raise ValueError(f"logits have {log_p.shape[1]} classes, the noise {len(self.rows)}")
        with torch.autocast(log_p.device.type, enabled=False):  # it would take the product in bf16
            noisy = torch.einsum("bc...,cd->bd...", log_p.exp(), self.transition.to(log_p.dtype))
        return -picked(noisy, y).clamp(min=1e-12).log() + self.trace * self.transition.diag().mean()


def _entropy(log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_p).sum(1)
