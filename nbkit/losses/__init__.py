"""Every loss and risk of the study, and the closed-form thresholds.

``create(name, **hyper)`` makes a module: ``loss(logits, target) -> scalar`` with logits (B, C, ...)
and target (B, ...), class 0 negative or unlabelled, 255 void; the mean over the non-void positions.
Separable losses also have ``loss.per_example(logits, target)``.
"""

import ast
import inspect

from nbkit import checks
from nbkit.losses import risks, separable
from nbkit.losses.base import FadeIn, Loss, SquaredError
from nbkit.losses.thresholds import balanced_ratio, bayes_ratio, threshold

__all__ = [
    "FadeIn",
    "Loss",
    "SquaredError",
    "balanced_ratio",
    "bayes_ratio",
    "build",
    "checked",
    "create",
    "names",
    "parse",
    "takes",
    "threshold",
    "weight_ratio",
    "with_balance",
]

LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": separable.CrossEntropy,
    "weighted": separable.Weighted,
    "exponential": separable.Exponential,
    "bootstrap_hard": separable.BootstrapHard,
    "bootstrap_hard_as_run": separable.BootstrapHardAsRun,
    "bootstrap_soft": separable.BootstrapSoft,
    "entropy_min": separable.EntropyMin,
    "gce": separable.GCE,
    "symmetric_ce": separable.SymmetricCE,
    "forward": separable.Forward,
    "backward": separable.Backward,
    "noise_layer": separable.NoiseLayer,
    "upu": risks.UPU,
    "nnpu": risks.NNPU,
    "vpu": risks.VPU,
    "dist_pu": risks.DistPU,
}
BALANCES = ("none", "balanced", "half", "bayes")


def names() -> list[str]:
    """Return the name of every loss."""
    return list(LOSSES)


def create(name: str, **hyper) -> Loss:
    """Make a loss.

    Parameters
    ----------
    name : str
        One of ``names()``.
    **hyper
        Its hyper-parameters: the docstring of its class tells its own, and that of the class it
        extends what it shares.

    Raises
    ------
    ValueError
        For an unknown name or hyper-parameter, or a value outside its range.

    Examples
    --------
    >>> import torch
    >>> loss = create("exponential")
    >>> round(loss(torch.tensor([[0.0, 0.0]]), torch.tensor([0])).item(), 3)  # 1 - p_0
    0.5
    """
    kind = LOSSES[checks.choice("loss", name, LOSSES)]
    known = isinstance(kind, type) and issubclass(kind, Loss)
    if not known or (kind.formula is Loss.formula and kind.value is Loss.value):
        raise ValueError(
            f"{name}: {getattr(kind, '__name__', kind)} must be a class, a Loss with a formula, "
            "one term an example, or a value, a risk of the batch (and no forward of its own)"
        )
    accepted = inspect.signature(kind).parameters
    unknown = set(hyper) - set(accepted)
    if unknown:
        raise ValueError(
            f"{name} takes no {', '.join(sorted(unknown))}; it takes {', '.join(accepted)}"
        )
    needed = [key for key, p in accepted.items() if p.default is p.empty and key not in hyper]
    if needed:
        raise ValueError(f"{name} needs {', '.join(needed)}")
    return kind(**hyper)


def parse(spec: str) -> tuple[str, dict]:
    """Split a loss written as text, such as ``gce(q=0.5)``, into its name and hyper-parameters.

    Raises
    ------
    ValueError
        For another form, an unknown loss, or a weight ratio or number of classes, which are the
        run's.

    Examples
    --------
    >>> parse("nnpu(variant='clamp', gamma=0.5)")
    ('nnpu', {'variant': 'clamp', 'gamma': 0.5})
    """
    try:
        node, hyper = ast.parse(spec.strip(), mode="eval").body, {}
        if isinstance(node, ast.Call) and not node.args:
            names = [key.arg for key in node.keywords]
            hyper = {key.arg: ast.literal_eval(key.value) for key in node.keywords}
            if None in names or len(hyper) < len(names):
                raise ValueError("an argument without a name, or one given twice")
            node = node.func
        name = node.id
    except (AttributeError, SyntaxError, TypeError, ValueError) as error:
        message = f"write a loss as name or name(key=value, key='text', ...), got {spec!r}"
        raise ValueError(message) from error
    if "weight_ratio" in hyper:
        raise ValueError(f"{spec}: the weight ratio is a parameter of the run, not of its loss")
    if "num_classes" in hyper:
        raise ValueError(f"{spec}: the number of classes is that of the data; leave it out")
    return checks.choice("loss", name, LOSSES), hyper


def canonical(spec: str) -> str:
    """Return a text in one spelling: order, spaces, quotes; ValueError as in ``parse``.

    Examples
    --------
    >>> canonical(" nnpu( variant='clamp', gamma=.5)")
    "nnpu(gamma=0.5, variant='clamp')"
    """
    name, hyper = parse(spec)
    given = ", ".join(f"{key}={value!r}" for key, value in sorted(hyper.items()))
    return f"{name}({given})" if given else name


def build(
    spec: str,
    *,
    kept: float,
    prior: float,
    num_classes: int,
    setting: str = "one_sample",
    fade_in: bool = False,
) -> Loss:
    """Make the loss of a run from its text, filling in what the text leaves open.

    ``gce(q=0.5)`` is taken as it stands; a loss that needs ``kept``, ``prior``, ``setting`` or
    ``num_classes`` and does not name it gets the true value given here. Its weight ratio is 1, see
    ``with_balance``. With ``fade_in`` it begins with cross-entropy, see ``FadeIn``.
    """
    name, hyper = parse(spec)
    known = {
        "kept": kept,
        "prior": prior,
        "setting": setting,
        "num_classes": num_classes,
        "weight_ratio": 1.0,
    }
    accepted = inspect.signature(LOSSES[name]).parameters
    loss = create(name, **{key: known[key] for key in known if key in accepted} | hyper)
    return FadeIn(loss) if fade_in else loss


def checked(
    spec: str, *, weight_ratio: float = 1.0, balance: str = "none", per_image: bool = False
) -> str:
    """Return the text of a run's loss as ``canonical`` does, after a look at what the run has.

    Parameters
    ----------
    spec : str
        As in ``parse``.
    weight_ratio : float
        Greater than 0, and 1 for a PU risk.
    balance : {"none", "balanced", "half", "bayes"}
        "none" for a PU risk.
    per_image : bool
        Whether the run knows the prior of each image.

    Raises
    ------
    ValueError
        Unless a loss can be built from the text and takes what the run has for it.
    """
    spec = canonical(spec)
    loss = build(spec, kept=0.5, prior=0.5, num_classes=2)
    if loss.per_image and not per_image:
        raise ValueError(f"only the masks of a segmentation have a prior per image; got {spec!r}")
    ratio = checks.finite("weight_ratio", weight_ratio, above=0)
    checks.choice("balance", balance, BALANCES)
    if not loss.separable and (ratio, balance) != (1, "none"):
        raise ValueError(
            f"{spec} has a prior and takes no class weights: weight_ratio must be 1 and balance "
            f"'none', got {weight_ratio} and {balance!r}"
        )
    return spec


def takes(spec: str, key: str) -> bool:
    """Whether the loss of a text has a hyper-parameter that the text leaves open."""
    name, hyper = parse(spec)
    return key in inspect.signature(LOSSES[name]).parameters and key not in hyper


def weight_ratio(spec: str, balance: str, *, kept: float, balanced: float) -> float | None:
    """Return the weight ratio w_U / w_P of a rule of balance for the loss of a run.

    Parameters
    ----------
    spec : str
        As in ``parse``.
    balance : {"none", "balanced", "half", "bayes"}
        1; ``balanced``; half of that; or the ratio at which the loss decides at 1/2.
    kept : float
        c, for "bayes".
    balanced : float
        Labelled over unlabelled, n_P / n_U.

    Returns
    -------
    float, or None for a PU risk, which is balanced by its prior

    Raises
    ------
    ValueError
        For an unknown balance, and as in ``parse``; for "bayes" also as in ``bayes_ratio``, unless
        the loss is a PU risk.
    """
    checks.choice("balance", balance, BALANCES)
    name, hyper = parse(spec)
    if LOSSES[name].formula is Loss.formula:
        return None
    if balance == "bayes":
        return bayes_ratio(name, kept, assumed_kept=hyper.get("kept"), beta=hyper.get("beta", 0.5))
    return {"none": 1.0, "balanced": balanced, "half": balanced / 2}[balance]


def with_balance(loss: Loss, weight_ratio: float) -> Loss:
    """Set the class weights of a separable loss to the ratio w_U / w_P, and return the loss.

    Raises
    ------
    ValueError
        For a PU risk, which is balanced by its prior, or a ratio that is not positive.
    """
    if not isinstance(loss, Loss):
        raise ValueError(f"loss must be a Loss, made by create, got {type(loss).__name__}")
    if not loss.separable:
        raise ValueError(f"{type(loss).__name__} is a PU risk: set its prior, not a weight ratio")
    loss.weight_ratio = checks.finite("weight_ratio", weight_ratio, above=0)
    return loss
