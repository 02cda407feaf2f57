"""The threshold calculus: which posterior does a loss call positive?

A network that minimises the expected loss at every point predicts "positive" where eta = P(Y=1|x)
reaches a threshold t that the loss, the labelled fraction c (``kept``) and the weight ratio
r = w_U / w_P fix beforehand. Bayes' decision is t = 1/2.
"""

import numpy as np

from nbkit import checks

# a point with a = c eta of label mass P and 1 - a of U is called positive where a > s r (1 - a)
SHARE_OF_U = {
    "cross_entropy": 1.0,
    "weighted": 1.0,
    "gce": 1.0,
    "symmetric_ce": 1.0,
    "bootstrap_soft": 1.0,
    "bootstrap_hard_as_run": 1.0,
    "entropy_min": 1.0,
    "exponential": 0.5,
    "bootstrap_hard": 0.5,  # its beta
}
CORRECTED = ("forward", "backward")
RISKS = ("upu", "nnpu")


def threshold(
    name: str,
    *,
    kept: float,
    weight_ratio: float = 1.0,
    assumed_kept: float | None = None,
    beta: float = 0.5,
    prior: float | None = None,
    assumed_prior: float | None = None,
    imbalanced: bool = False,
    pooled: bool = True,
    posterior: np.ndarray | None = None,
) -> float:
    """Return the posterior from which a loss predicts "positive", for SCAR labels.

    Parameters
    ----------
    name : str
        A loss of ``losses.names()``.
    kept : float
        c = P(labelled | positive), in (0, 1].
    weight_ratio : float
        r = w_U / w_P, for the separable losses.
    assumed_kept : float, optional
        The share that ``forward`` and ``backward`` were given; the true one by default.
    beta : float
        Of ``bootstrap_hard``.
    prior, assumed_prior : float, optional
        True share of positives and the one that the risk was given (the same by default); for
        ``upu``, ``nnpu`` and ``dist_pu``.
    imbalanced : bool
        Of ``nnpu``.
    pooled : bool
        Whether the sample of the population that a PU risk sees is one: P and U pooled, or U that
        was drawn on its own. False gives the threshold of a two-sample estimator fed with the U of
        one-sample data.
    posterior : (N,) float array, optional
        Posteriors of a sample of the population, for the risks whose threshold depends on their
        distribution: Dist-PU (needed: it matches a count), VPU (1 is the largest by default) and
        nnPU (by default R- >= 0 is taken for granted).

    Returns
    -------
    float
        May exceed 1: then nothing is ever called positive.

    Raises
    ------
    ValueError
        For an unknown loss, one without a closed form (``noise_layer``), or a missing argument.

    Notes
    -----
    Cross-entropy and every loss of the same form on both classes: t = r / (c (1 + r)); of
    ``bootstrap_hard_as_run``, which has a jump, it is where the gradient turns, not the minimiser.
    Exponential: r / (c (2 + r)). Hard bootstrapping of U: beta r / (c (1 + beta r)). Forward and
    backward correction that assume a share b: b r / (c (2 - b + b r)). uPU and nnPU with a
    symmetric surrogate and assumed prior q: prior / (2 q), or, two-sample estimator on one-sample
    data, from 2 q E_P against E_U; imbalanced nnPU: the prior itself, whatever q is. nnPU stays
    below that where R- would be negative (q too large): it stops where R- is 0, in every variant
    but ``flip_total``. VPU: half of the largest posterior, 1/2 for separable supports; its mixup,
    which fixes the scale of phi, pulls the threshold down, by about .03 at the default weight.
    Dist-PU's bare risk: the smaller of prior / (2 q) and the posterior that a share q of the
    population exceeds.

    Examples
    --------
    >>> threshold("cross_entropy", kept=0.5)
    1.0
    >>> round(threshold("exponential", kept=0.5), 3)
    0.667
    >>> round(threshold("weighted", kept=0.5, weight_ratio=bayes_ratio("weighted", 0.5)), 3)
    0.5
    """
    c = checks.fraction("kept", kept, low_open=True)
    r = checks.finite("weight_ratio", weight_ratio, above=0)
    if name in SHARE_OF_U:
        share = _share_of_u(name, beta)
        return share * r / (c * (1 + share * r))
    if name in CORRECTED:
        b = _assumed(assumed_kept, c)
        return b * r / (c * (2 - b + b * r))
    if name in (*RISKS, "vpu", "dist_pu"):
        eta = None if posterior is None else _posteriors(posterior)
        taken = 0.0 if pooled else c  # of the positives, from the sample
        if name == "vpu":
            largest = 1.0 if eta is None else eta[0]
            return float(largest / (2 - taken * largest))
        prior = _needed(name, "prior", prior)
        assumed = prior if assumed_prior is None else _needed(name, "assumed_prior", assumed_prior)
        weight = 0.5 if imbalanced and name == "nnpu" else assumed  # of E_P against E_U
        unbiased = prior / (2 * weight * (1 - taken * prior) + taken * prior)
        if name == "dist_pu":
            if eta is None:
                raise ValueError("dist_pu needs the posteriors of a sample: it matches a count")
            called = np.cumsum(1 - taken * eta)  # how much of the sample exceeds each posterior
            return float(min(unbiased, eta[np.searchsorted(called, assumed * called[-1])]))
        if name == "nnpu" and eta is not None:
            return _not_negative(unbiased, eta, prior, assumed, taken)
        return unbiased
    known = [*SHARE_OF_U, *CORRECTED, *RISKS, "vpu", "dist_pu"]
    raise ValueError(f"no closed-form threshold for {name!r}; there is one for {', '.join(known)}")


def bayes_ratio(
    name: str, kept: float, *, assumed_kept: float | None = None, beta: float = 0.5
) -> float:
    """Return the weight ratio r at which a separable loss decides at 1/2.

    c / (2 - c) for cross-entropy and its kin, twice that for ``exponential``, 1 / beta times that
    for ``bootstrap_hard``, and c (2 - b) / (b (2 - c)) for the corrected losses that assume a share
    b, which is 1 if it is the true one, as by default.

    Raises
    ------
    ValueError
        For a loss without such a ratio: PU risks, ``noise_layer``, ``bootstrap_hard`` at beta = 0.
    """
    c = checks.fraction("kept", kept, low_open=True)
    if name not in SHARE_OF_U and name not in CORRECTED:
        known = ", ".join([*SHARE_OF_U, *CORRECTED])
        raise ValueError(f"no Bayes ratio for {name!r}: there is one for {known}")
    if name in CORRECTED:
        b = _assumed(assumed_kept, c)
        return c * (2 - b) / (b * (2 - c))
    share = _share_of_u(name, beta)
    if not share:
        raise ValueError("bootstrap_hard with beta = 0 does not trust U: no ratio balances it")
    return c / (2 - c) / share


def balanced_ratio(prior: float, kept: float) -> float:
    """Return r = n_P / n_U, labelled over unlabelled: the "balanced" class weights.

    It equals the Bayes ratio of the weighted loss, c / (2 - c), only if the prior is 1/2.

    Raises
    ------
    ValueError
        For a prior outside (0, 1), or ``kept`` outside (0, 1].
    """
    prior = checks.fraction("prior", prior, low_open=True, high_open=True)
    labelled = prior * checks.fraction("kept", kept, low_open=True)
    return labelled / (1 - labelled)


def _share_of_u(name: str, beta: float) -> float:
    return checks.fraction("beta", beta) if name == "bootstrap_hard" else SHARE_OF_U[name]


def _assumed(kept: float | None, true: float) -> float:
    return true if kept is None else checks.fraction("assumed_kept", kept, low_open=True)


def _needed(name: str, argument: str, value: float | None) -> float:
    if value is None:
        raise ValueError(f"the threshold of {name} needs {argument}")
    return checks.fraction(argument, value, low_open=True, high_open=True)


def _posteriors(values: np.ndarray) -> np.ndarray:
    """Return the posteriors of a sample, largest first."""
    eta = np.asarray(values, dtype=float)
    if eta.ndim != 1 or not eta.size or not ((eta >= 0) & (eta <= 1)).all() or not eta.any():
        raise ValueError(
            "posterior must be a vector of numbers in [0, 1], not all 0, "
            f"got shape {eta.shape} and {np.ravel(eta)[:5].tolist()}"
        )
    return -np.sort(-eta)


def _not_negative(
    unbiased: float, eta: np.ndarray, prior: float, assumed: float, taken: float
) -> float:
    """The largest threshold, up to ``unbiased``, with R- = E_U[f > 0] - q E_P[f > 0] >= 0."""
    density = (1 - taken * eta) / (1 - taken * prior) - assumed * eta / prior
    allowed = (eta < unbiased) & (np.cumsum(density) >= 0)
    if density[eta >= unbiased].sum() >= 0 or not allowed.any():
        return unbiased
    return float(eta[allowed][0])
