"""What every loss shares: the contract, the class weight, and the fade-in."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nbkit import checks
from nbkit.checks import VOID


class Loss(nn.Module):
    """A loss over logits and observed labels.

    Subclasses define ``formula`` (separable losses: one value a position) or ``value`` (risks that
    need the whole batch). Class 0 is negative or unlabelled, 1..K are the positive categories, 255
    is void.

    Parameters
    ----------
    weight_ratio : float
        r = w_U / w_P, the weight of label 0 over that of every positive label. The weights are
        2r / (1 + r) and 2 / (1 + r), so that they average to 1.

    Attributes
    ----------
    mixup : str or None
        Which partner a loss wants for its mixed examples: ``"labelled"``, ``"any"`` or none at all.
    per_image : bool
        Whether ``value`` wants the prior of each image of a batch as its third argument.
    """

    mixup: str | None = None
    per_image: bool = False

    def __init__(self, weight_ratio: float = 1.0):
        super().__init__()
        self.weight_ratio = checks.finite("weight_ratio", weight_ratio, above=0)

    @property
    def separable(self) -> bool:
        """Whether the loss is a mean of one value a position."""
        return type(self).formula is not Loss.formula

    @property
    def bare(self) -> "Loss":
        """The loss without a fade-in."""
        return self

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        """Return the unweighted loss of each position.

        Parameters
        ----------
        log_p : (B, C, ...) tensor
            Log-probabilities.
        y : (B, ...) int64 tensor
            Observed labels, without void.
        """
        raise TypeError(f"{type(self).__name__} is not separable: it has no per-example value")

    def terms(self, log_p: Tensor, y: Tensor) -> Tensor:
        """Return ``formula``; ValueError unless it is one term a position."""
        terms = self.formula(log_p, y)
        if not isinstance(terms, Tensor) or terms.shape != y.shape:
            got = tuple(terms.shape) if isinstance(terms, Tensor) else type(terms).__name__
            raise ValueError(
                f"the formula of {type(self).__name__} must return one term a position, of shape "
                f"{tuple(y.shape)}, got {got}: the mean is taken later, with the class weights"
            )
        return terms

    def unweighted(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return ``formula`` at every position, 0 where the target is void; shape of target."""
        valid = target != VOID
        y = torch.where(valid, target, 0).long()
        return torch.where(valid, self.terms(wide(logits).log_softmax(1), y), 0)

    def per_example(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the weighted loss of each position, 0 where void; shape of target.

        Raises
        ------
        TypeError
            If the loss is not separable.
        ValueError
            For shapes, dtypes or labels outside the contract.
        """
        check_batch(logits, target)
        return self.unweighted(logits, target) * class_weight(target, self.weight_ratio)

    def value(self, logits: Tensor, target: Tensor, weight_ratio: Tensor | None = None) -> Tensor:
        """Return the mean over non-void positions, without checking the arguments.

        ``weight_ratio`` takes the place of the loss's own.
        """
        ratio = self.weight_ratio if weight_ratio is None else weight_ratio
        losses = self.unweighted(logits, target) * class_weight(target, ratio)
        return losses.sum() / (target != VOID).sum().clamp(min=1)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        logits : (B, C, ...) float tensor
        target : (B, ...) integer tensor
            0..C-1, or 255 for void.

        Returns
        -------
        () tensor

        Raises
        ------
        ValueError
            For shapes, dtypes or labels outside the contract.
        """
        check_batch(logits, target)
        return self.value(logits, target)

    def stacked(self, logits: Tensor, target: Tensor, weight_ratio: Tensor | None = None) -> Tensor:
        """Return the loss of each of S networks, unchecked.

        Parameters
        ----------
        logits : (S, B, C) tensor
        target : (S, B) tensor
        weight_ratio : (S,) tensor, optional
            A ratio for each network, in place of the loss's own; separable losses only.

        Returns
        -------
        (S,) tensor
        """
        if not self.separable:
            return over_networks(self.value, logits, target)
        losses = self.unweighted(logits.transpose(1, 2), target)
        ratio = self.weight_ratio if weight_ratio is None else weight_ratio[:, None]
        losses = losses * class_weight(target, ratio)
        return losses.sum(1) / (target != VOID).sum(1).clamp(min=1)

    def set_epoch(self, epoch: int) -> None:
        """Tell a loss that changes with time which epoch begins (from 0)."""


class FadeIn(Loss):
    """Begin with cross-entropy and fade a loss in (the draft's warm-up).

    L = a_e CE + (1 - a_e) loss, a_e = .95^(e(e+1)/2) for epoch e < 10 and 0 afterwards, which is
    the schedule of the author's code: 1, .95, .857, .735, .599, .463, .341, .238, .158, .099, 0.

    Parameters
    ----------
    loss : Loss
        What is faded in; its weight ratio also weighs the cross-entropy.

    Raises
    ------
    ValueError
        If it is no ``Loss``.
    """

    epochs = 10

    def __init__(self, loss: Loss):
        if not isinstance(loss, Loss):
            raise ValueError(f"FadeIn wraps a Loss, got {type(loss).__name__}")
        super().__init__(loss.weight_ratio)
        self.loss, self.mixup, self.per_image = loss, loss.mixup, loss.per_image
        self.register_buffer("alpha", torch.tensor(1.0))

    @property
    def separable(self) -> bool:
        return self.loss.separable

    @property
    def bare(self) -> Loss:
        return self.loss

    def set_epoch(self, epoch: int) -> None:
        self.alpha.fill_(0.95 ** (epoch * (epoch + 1) / 2) if epoch < self.epochs else 0.0)
        self.loss.set_epoch(epoch)

    def formula(self, log_p: Tensor, y: Tensor) -> Tensor:
        start = -picked(log_p, y)
        return self.alpha * start + (1 - self.alpha) * self.loss.terms(log_p, y)

    def value(
        self,
        logits: Tensor,
        target: Tensor,
        weight_ratio: Tensor | None = None,
        prior: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch; ``prior``, (B,), is for a risk with ``per_image``."""
        if self.separable:
            return super().value(logits, target, weight_ratio)
        own = {"prior": prior} if self.per_image else {}
        return self._fade(logits, target, self.loss.value(logits, target, **own))

    def with_mixup(self, logits: Tensor, target: Tensor, *mixed: Tensor) -> Tensor:
        """Fade in a loss that wants mixed examples; see ``risks.PURisk.with_mixup``."""
        return self._fade(logits, target, self.loss.with_mixup(logits, target, *mixed))

    def _fade(self, logits: Tensor, target: Tensor, late: Tensor) -> Tensor:
        valid = target != VOID
        start = -picked(wide(logits).log_softmax(1), torch.where(valid, target, 0).long())
        return self.alpha * masked_mean(start, valid) + (1 - self.alpha) * late


class SquaredError(Loss):
    """Mean squared error of a network that reconstructs its inputs; no labels, only ``stacked``."""

    def stacked(self, logits: Tensor, target: Tensor, weight_ratio: Tensor | None = None) -> Tensor:
        """Return the error of each of S networks, (S,), of the same shape ``logits`` and target."""
        return (wide(logits) - target).square().flatten(1).mean(1)


def over_networks(function: Callable[..., Tensor], *batches: Tensor) -> Tensor:
    """Apply a risk to each of S networks, (S, ...) tensors -> (S,).

    A network alone is computed beside a copy of itself: sums over a single batch take another path
    in the library, and its last bits would depend on the size of the stack.
    """
    networks = len(batches[0])
    if networks == 1:
        batches = tuple(batch.expand(2, *batch.shape[1:]) for batch in batches)
    return torch.vmap(function)(*batches)[:networks]


def class_weight(target: Tensor, weight_ratio: float | Tensor) -> Tensor:
    """Return the weight of each position by its observed label (255 counts as a positive label)."""
    return torch.where(target == 0, 2 * weight_ratio, 2.0) / (1 + weight_ratio)


def picked(log_p: Tensor, y: Tensor) -> Tensor:
    """Return log p_y: the class axis 1 of ``log_p`` indexed by ``y``."""
    return log_p.gather(1, y.unsqueeze(1)).squeeze(1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` where ``mask`` holds, 0 where it holds nowhere."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def check_batch(logits: Tensor, target: Tensor) -> None:
    """Refuse a batch outside the contract of ``Loss.forward``.

    The range of the labels is checked on the CPU alone: reading it back would stall a GPU, where
    ``train.fit`` has checked the whole data set beforehand.
    """
    for name, value in (("logits", logits), ("target", target)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(value).__name__}")
    if logits.ndim < 2 or not logits.is_floating_point():
        raise ValueError(
            f"logits must be floats of shape (B, C, ...), got {logits.dtype} {tuple(logits.shape)}"
        )
    expected = (logits.shape[0], *logits.shape[2:])
    if target.shape != expected or target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(
            f"target must be integers of shape {expected}, got {target.dtype} {tuple(target.shape)}"
        )
    if logits.shape[1] < 2:
        raise ValueError(f"logits need at least 2 classes (axis 1), got {logits.shape[1]}")
    if target.device.type == "cpu" and target.numel():
        outside = (target != VOID) & ((target < 0) | (target >= logits.shape[1]))
        if outside.any():
            raise ValueError(
                f"target must be in 0..{logits.shape[1] - 1} or {VOID} (void), "
                f"got {target[outside][:5].tolist()}"
            )


def check_priors(loss: Loss, priors: Tensor | None, targets: Tensor | None) -> None:
    """Refuse priors of images, (N,), unless a loss wants them, and masks (1, N, H, W) without."""
    if not loss.per_image and priors is None:
        return
    if not loss.per_image or priors is None or targets is None or targets.ndim != 4:
        raise ValueError("a loss with per_image=True, and only it, takes masks and their priors")
    if priors.shape != targets.shape[1:2] or not ((priors >= 0) & (priors <= 1)).all():
        raise ValueError(
            f"priors must be {targets.shape[1]} shares in [0, 1], one an image, got "
            f"shape {tuple(priors.shape)}"
        )


def wide(logits: Tensor) -> Tensor:
    """Return the logits in at least float32: losses are never computed in half precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
