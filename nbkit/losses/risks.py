"""PU risks: uPU, nnPU and its variants, VPU and Dist-PU, in one multi-positive form.

The published risks are binary. Here the binary score of K + 1 logits is

    f = logsumexp(z_1, ..., z_K) - z_0,  so that  sigmoid(f) = 1 - p_0,

and the labelled positives add prior times their cross-entropy over the K categories alone. With
K = 1 that term vanishes and f = z_1 - z_0: the published form. E_P is the mean over labelled
positives, E_U the mean over the sample of the whole population. In the two-sample setting that
sample is U (label 0); in the one-sample setting U lacks the labelled positives, and P and U are
pooled to get it back.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nbkit import checks
from nbkit.checks import SETTINGS, VOID
from nbkit.losses.base import Loss, masked_mean, picked, wide

SURROGATES = {"sigmoid": lambda f: torch.sigmoid(-f), "logistic": lambda f: F.softplus(-f)}


class PURisk(Loss):
    """A binary PU risk on f plus the category term.

    Parameters
    ----------
    prior : float
        The share of positives in the population, in (0, 1).
    setting : {"one_sample", "two_sample"}
        Where the sample of the population comes from: P and U pooled, or U alone.
    """

    def __init__(self, prior: float, setting: str = "one_sample"):
        super().__init__()
        self.prior = checks.fraction("prior", prior, low_open=True, high_open=True)
        self.setting = checks.choice("setting", setting, SETTINGS)

    def risk(self, f: Tensor, labelled: Tensor, population: Tensor) -> Tensor:
        """Return the binary risk of scores f given the masks of P and of the population."""
        raise NotImplementedError

    def split(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the score f and the masks of P and of the population sample."""
        z = wide(logits)
        labelled = (target > 0) & (target != VOID)
        population = target != VOID if self.setting == "one_sample" else target == 0
        return z[:, 1:].logsumexp(1) - z[:, 0], labelled, population

    def value(self, logits: Tensor, target: Tensor) -> Tensor:
        risk = self.risk(*self.split(logits, target))
        return risk + self.prior * _category_loss(logits, target)


class UPU(PURisk):
    """Unbiased PU risk: prior E_P[l(f) - l(-f)] + E_U[l(-f)]. du Plessis et al. 2015, eq. 3.

    Parameters
    ----------
    surrogate : {"sigmoid", "logistic"}
        l(f) = sigmoid(-f), bounded, or softplus(-f), with which the risk is unbounded below.
    """

    def __init__(self, prior: float, setting: str = "one_sample", surrogate: str = "sigmoid"):
        super().__init__(prior, setting)
        self.surrogate = SURROGATES[checks.choice("surrogate", surrogate, SURROGATES)]

    def parts(self, f: Tensor, labelled: Tensor, population: Tensor) -> tuple[Tensor, Tensor]:
        """Return R+ = prior E_P l(f) and R- = E_U l(-f) - prior E_P l(-f)."""
        loss = self.surrogate
        positive = self.prior * masked_mean(loss(f), labelled)
        taken = self.prior * masked_mean(loss(-f), labelled)
        return positive, masked_mean(loss(-f), population) - taken

    def risk(self, f: Tensor, labelled: Tensor, population: Tensor) -> Tensor:
        positive, negative = self.parts(f, labelled, population)
        return positive + negative


class NNPU(UPU):
    """Non-negative PU risk. Kiryo et al. 2017, algorithm 1, and what others released as nnPU.

    Four codes of that name differ in the step they take once R- is negative:

    - ``kiryo``: the step of -gamma R- alone if R- < -beta (published);
    - ``clamp``: the gradient of R+ + max(R-, 0), so that of R+ alone;
    - ``flip_total``: the gradient of the whole risk, its sign flipped if the *total* is negative;
    - ``minus``: the gradient of R+ - gamma R-; with the sigmoid loss and gamma = 1 the labelled
      positives then cancel out.

    Where R- >= 0 all four step on R+ + R-. The value reported is R+ + max(R-, -beta).

    Parameters
    ----------
    variant : {"kiryo", "clamp", "flip_total", "minus"}
    beta, gamma : float
        Tolerance, at least 0, and step size, in [0, 1], of the correction.
    imbalanced : bool
        Weigh positives and negatives by 1/2 each instead of prior and 1 - prior (Su et al. 2021);
        with ``per_image`` over the whole data set, so that an image without positives may stand.
    per_image : bool
        For masks: the population of each image is held against its own prior, and the correction
        is made image by image; images count by their positions, and the labelled positives are
        those of the batch, since an image may have none. With equal priors, and no R- below
        -beta, it is the risk of the whole batch. ``train.fit`` is then given ``priors``.
    """

    variants = ("kiryo", "clamp", "flip_total", "minus")

    def __init__(
        self,
        prior: float,
        setting: str = "one_sample",
        surrogate: str = "sigmoid",
        variant: str = "kiryo",
        beta: float = 0.0,
        gamma: float = 1.0,
        imbalanced: bool = False,
        per_image: bool = False,
    ):
        super().__init__(prior, setting, surrogate)
        self.variant = checks.choice("variant", variant, self.variants)
        self.beta = checks.finite("beta", beta, least=0)
        self.gamma = checks.fraction("gamma", gamma)
        self.imbalanced = checks.flag("imbalanced", imbalanced)
        self.per_image = checks.flag("per_image", per_image)

    def value(self, logits: Tensor, target: Tensor, prior: Tensor | None = None) -> Tensor:
        """Return the risk of a batch; ``prior``, (B,), holds that of each image."""
        if prior is None:
            return super().value(logits, target)
        f, labelled, population = self.split(logits, target)
        number = population.flatten(1).sum(1)
        missed = torch.where(population, self.surrogate(-f), 0).flatten(1).sum(1)
        taken = prior * masked_mean(self.surrogate(-f), labelled)
        positive = prior * masked_mean(self.surrogate(f), labelled)
        steps = self.corrected(positive, missed / number.clamp(min=1) - taken)
        share = number / number.sum().clamp(min=1)
        return (share * steps).sum() + self.prior * _category_loss(logits, target)

    def risk(self, f: Tensor, labelled: Tensor, population: Tensor) -> Tensor:
        return self.corrected(*self.parts(f, labelled, population))

    def corrected(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return R+ + max(R-, -beta), with the gradient of the step that the variant takes."""
        if self.imbalanced:
            positive, negative = positive / (2 * self.prior), negative / (2 * (1 - self.prior))
        total = positive + negative
        if self.variant == "kiryo":
            step = torch.where(negative >= -self.beta, total, -self.gamma * negative)
        elif self.variant == "clamp":
            step = positive + negative.clamp(min=0)
        elif self.variant == "flip_total":
            step = torch.where(total >= 0, total, -total)
        else:
            step = torch.where(negative >= 0, total, positive - self.gamma * negative)
        reported = positive + negative.clamp(min=-self.beta)
        return step + (reported - step).detach()


class MixupRisk(PURisk):
    """A PU risk that regularises itself on mixed examples.

    ``train.fit`` draws for every example a partner and a share g ~ Beta(alpha, alpha), runs the
    network on g x + (1 - g) x_partner as well, and calls ``with_mixup``.

    Parameters
    ----------
    mixup_weight : float
        At least 0; 0 trains the bare risk.
    alpha : float
        Of the Beta distribution, greater than 0.
    """

    partner = "any"

    def __init__(self, prior: float, setting: str, mixup_weight: float, alpha: float):
        super().__init__(prior, setting)
        self.mixup_weight = checks.finite("mixup_weight", mixup_weight, least=0)
        self.alpha = checks.finite("alpha", alpha, above=0)
        self.mixup = self.partner if self.mixup_weight > 0 else None

    def penalty(self, f: Tensor, f_mix: Tensor, partner: Tensor, share: Tensor) -> Tensor:
        """Return the mixup term of each example."""
        raise NotImplementedError

    def with_mixup(
        self, logits: Tensor, target: Tensor, mixed: Tensor, partner: Tensor, share: Tensor
    ) -> Tensor:
        """Return the loss with its mixup term.

        Parameters
        ----------
        logits, mixed : (B, C) tensors
            Of the examples, and of ``share * x + (1 - share) * x[partner]``.
        target : (B,) integer tensor
        partner : (B,) int64 tensor
            Indices into the batch.
        share : () tensor
            In [0, 1].
        """
        f, labelled, population = self.split(logits, target)
        f_mix = self.split(mixed, target)[0]
        if self.mixup == "labelled":
            population = population & labelled.any()  # else the partner is no labelled positive
        term = masked_mean(self.penalty(f, f_mix, partner, share), population)
        return self.value(logits, target) + self.mixup_weight * term


class VPU(MixupRisk):
    """Variational PU: log E_U[phi] - E_P[log phi], phi = 1 - p_0. Chen et al. 2020, eq. 6 and 9.

    Needs no prior for its risk; ``prior`` weighs the category term alone. The mixup term is
    (log y_mix - log phi(x_mix))^2, x_mix = g x_U + (1 - g) x_P and y_mix = g phi(x_U) + 1 - g; a
    batch without labelled positives has none. The risk leaves the scale of phi open, and the
    authors' code divides phi by its largest value before it cuts at 1/2; here phi is cut as it is,
    and the mixup fixes its scale. (``experiments.cifar`` scores the authors' cut too.)
    """

    partner = "labelled"

    def __init__(
        self,
        prior: float = 0.5,
        setting: str = "one_sample",
        mixup_weight: float = 0.03,
        alpha: float = 0.3,
    ):
        super().__init__(prior, setting, mixup_weight, alpha)

    def risk(self, f: Tensor, labelled: Tensor, population: Tensor) -> Tensor:
        log_phi = F.logsigmoid(f)
        flat, mask = log_phi.flatten(), population.flatten()
        total = torch.where(mask, flat, -torch.inf).logsumexp(0)
        mean = torch.where(mask.any(), total - mask.sum().clamp(min=1).log(), 0)
        return mean - masked_mean(log_phi, labelled)

    def penalty(self, f: Tensor, f_mix: Tensor, partner: Tensor, share: Tensor) -> Tensor:
        wanted = share * torch.sigmoid(f) + (1 - share)
        return (wanted.clamp(min=1e-12).log() - F.logsigmoid(f_mix)) ** 2


class DistPU(MixupRisk):
    """Label-distribution alignment: 2 prior |1 - E_P s(f)| + |prior - E_U s(f)|, s = sigmoid.

    Zhao et al. 2022, eq. 8, with its entropy term on U and its mixup (cross-entropy to the mixed
    pseudo-labels plus entropy of the mixed prediction) after ``warm_up`` epochs. The authors' code
    differs where the paper is silent: its pseudo-labels of labelled positives are 1, its entropy
    is over U without P, also in the warm-up, and its weights are 5 for the mixup's cross-entropy,
    .04 for its entropy and .004 for that of U, of a risk divided by 2 prior.

    Parameters
    ----------
    entropy : float
        Weight of the entropy of the predictions on the population, at least 0.
    warm_up : int
        Epochs of the bare risk.
    """

    def __init__(
        self,
        prior: float,
        setting: str = "one_sample",
        entropy: float = 0.1,
        mixup_weight: float = 0.1,
        alpha: float = 6.0,
        warm_up: int = 10,
    ):
        super().__init__(prior, setting, mixup_weight, alpha)
        self.entropy = checks.finite("entropy", entropy, least=0)
        self.warm_up = checks.count("warm_up", warm_up, least=0)
        self.register_buffer("warm", torch.tensor(1.0))

    def set_epoch(self, epoch: int) -> None:
        self.warm.fill_(float(epoch >= self.warm_up))

    def risk(self, f: Tensor, labelled: Tensor, population: Tensor) -> Tensor:
        score = torch.sigmoid(f)
        labels = 2 * self.prior * (1 - masked_mean(score, labelled)).abs()
        aligned = labels + (self.prior - masked_mean(score, population)).abs()
        aligned = torch.where(population.any(), aligned, 0)  # of void alone
        return aligned + self.warm * self.entropy * masked_mean(_binary_entropy(f), population)

    def penalty(self, f: Tensor, f_mix: Tensor, partner: Tensor, share: Tensor) -> Tensor:
        pseudo = torch.sigmoid(f).detach()
        wanted = share * pseudo + (1 - share) * pseudo[partner]
        fit = F.softplus(f_mix) - wanted * f_mix  # binary cross-entropy with logits
        return self.warm * (fit + _binary_entropy(f_mix))


def _binary_entropy(f: Tensor) -> Tensor:
    return F.softplus(f) - f * torch.sigmoid(f)


def _category_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled positives over the K categories alone; 0 if K = 1."""
    labelled = (target > 0) & (target != VOID)
    category = torch.where(labelled, target - 1, 0).long()
    log_p = wide(logits)[:, 1:].log_softmax(1)
    return masked_mean(-picked(log_p, category), labelled)
