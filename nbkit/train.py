"""One training loop, for one network or a stack of networks, on the CPU or a GPU.

The data set lives on the device as one tensor; batches are gathered there by index. A step makes no
host synchronisation: losses stay on the device until the epoch ends. On a GPU it is recorded, and
all of it is one CUDA graph; see ``graphs``.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from nbkit import checkpoints, checks
from nbkit.batches import batch_order, gather, mixing, partners
from nbkit.checkpoints import TrainingError
from nbkit.checks import VOID
from nbkit.graphs import Replayed, recorder_on
from nbkit.images import Images
from nbkit.losses import Loss, SquaredError
from nbkit.losses.base import check_priors, over_networks
from nbkit.optim import Adam, learning_rate_at, repeatable, tune_allocator
from nbkit.precision import autocast, precision_on

LABELS = (torch.int64, torch.uint8, torch.int16)  # int16: more classes than a byte can name


@dataclass
class History:
    """What ``fit`` leaves behind.

    Attributes
    ----------
    epochs : list
        What ``on_epoch`` returned, one entry an epoch.
    losses : list of (S,) tensors
        Mean training loss of each network, one entry an epoch.
    diverged : dict
        Network index -> first epoch (from 1) whose loss was not finite.
    """

    epochs: list = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    diverged: dict[int, int] = field(default_factory=dict)

    def failure(self, network: int, loss: Loss) -> TrainingError | None:
        """Return why a network has no result, or None."""
        if network not in self.diverged:
            return None
        where = f"{type(loss.bare).__name__} is not finite in epoch {self.diverged[network]}"
        return TrainingError(f"the loss {where}; try a lower learning rate")


@repeatable()
def fit(
    model: nn.Module,
    inputs: Tensor | Images,
    targets: Tensor | None,
    loss: Loss,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    schedule: str = "constant",
    precision: str = "fp32",
    weight_ratio: Tensor | None = None,
    priors: Tensor | None = None,
    on_epoch: Callable[[int], object] | None = None,
    checkpoint: Path | None = None,
) -> History:
    """Train a stack of networks with Adam.

    Parameters
    ----------
    model : module with ``seeds`` (S ints), ``classes`` (C), ``generators`` and ``begin_epoch``
        Maps (S, B, ...) inputs to (S, B, C, ...) logits. Batches follow from the seeds: networks of
        equal seed see the same examples in the same order. The generators, of whatever it draws,
        are there after the first ``begin_epoch`` and stay the same objects.
    inputs : (N, F) or (S, N, F) float32 tensor, or Images
        Shared by all networks, or each network's own. Images are for one network alone, which sees
        them augmented.
    targets : (S, N) int64 tensor; with Images also (1, N, K) or (1, N, H, W), any of ``LABELS``
        Observed labels, 255 for void: of examples, of K things each, or of pixels, whose masks move
        with their images. The loss sees every pixel of a batch as an example. None for a network
        that reconstructs its inputs, with the loss SquaredError.
    loss : Loss
        What it learns itself, such as a transition matrix, is left in it, of the first network.
    epochs, batch_size : int
    learning_rate : float
    schedule : {"constant", "one_cycle"}
        ``one_cycle`` rises linearly over the first 30 % of the steps and falls as a cosine to 0.
    precision : {"fp32", "bf16", "auto", "reference"}
        Of the network's arithmetic, see ``precision``; weights and loss are always float32.
    weight_ratio : (S,) tensor, optional
        Class weight ratio w_U / w_P of each network; the loss's own by default.
    priors : (N,) tensor, optional
        Share of positives in each image, for a loss that is ``per_image``.
    on_epoch : callable, optional
        Called after each epoch with its number (from 1), in evaluation mode, without gradients.
    checkpoint : path, optional
        Written after the first epoch and then every ``checkpoints.EVERY`` seconds (under another
        name first, then renamed), and continued from if it is there: an interrupted training ends
        in the same weights. One of other seeds or sizes, precision, kind of loss, batch size or
        learning rate, or of more epochs, is refused.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        For arguments outside their range or shapes that disagree.
    TrainingError
        If every network has diverged (the error names the epoch and the loss), or if the checkpoint
        cannot be written or read.
    """
    batch_size = checks.count("batch_size", batch_size)
    _check_loss(loss, len(model.seeds), weight_ratio)
    size = _check_data(model, inputs, targets, loss)
    check_priors(loss, priors, targets)
    steps = math.ceil(size / batch_size)
    epochs = checks.count("epochs", epochs)
    total = epochs * steps
    rate_at = learning_rate_at(schedule, learning_rate, total)
    tune_allocator()
    device = inputs.device
    own = _own_parameters(loss, len(model.seeds), device)
    parameters = [*model.parameters(), *own.values()]
    images = isinstance(inputs, Images)
    # unfused on the CPU, a step of a network has the same bits whatever its neighbours are
    optimizer = Adam(parameters, fused=images or device.type == "cuda")
    history, precision = History(), precision_on(device, precision)
    state = [*(p.detach() for p in parameters), *optimizer.state]
    training = {
        "seeds": list(model.seeds),
        "precision": precision,
        "loss": type(loss.bare).__name__,
        "batch_size": batch_size,
        "learning_rate": float(learning_rate),
        "schedule": schedule if schedule == "constant" else f"{schedule}, {epochs} epochs",
    }
    if checkpoint is not None:
        checkpoint = Path(checkpoint)
        vars(history).update(checkpoints.load(checkpoint, state, epochs, **training) or {})
    running, saved = torch.zeros(len(model.seeds), device=device), -math.inf

    def step(index: Tensor, rate: float | Tensor, *mixed: Tensor) -> None:
        x, y = gather(inputs, targets, index)
        with autocast(device, precision):
            prior = None if priors is None else priors[index[0]]
            values = _losses(model, loss, own, x, y, weight_ratio, mixed, prior)
        values.sum().backward()
        optimizer.step(rate)
        running.add_(values.detach())

    recorder = recorder_on(device, model)
    take = Replayed(step, recorder) if recorder else step
    for epoch in range(len(history.losses), epochs):
        model.train()
        model.begin_epoch(epoch)
        if images:
            inputs.begin_epoch(model.seeds[0], epoch)
        loss.set_epoch(epoch)
        order = batch_order(model.seeds, size, epoch).to(device)
        drawn = mixing(loss, model.seeds, epoch, steps, batch_size, device)
        rates = [rate_at(epoch * steps + i) for i in range(steps)]
        if recorder:
            rates = torch.tensor(rates, device=device)
        running.zero_()
        for i in range(steps):
            index = order[:, i * batch_size : (i + 1) * batch_size]
            mixed = (drawn[0][:, i], drawn[1][:, i, : index.shape[1]]) if drawn else ()
            take(index, rates[i], *mixed)
        history.losses.append((running / steps).cpu())
        _note_divergence(history, epoch, loss)
        if on_epoch is not None:
            model.eval()
            with torch.no_grad():
                history.epochs.append(on_epoch(epoch + 1))
        if checkpoint is not None and time.monotonic() - saved >= checkpoints.EVERY:
            checkpoints.save(checkpoint, state, history=vars(history), **training)
            saved = time.monotonic()
    model.eval()
    for name, parameter in loss.named_parameters():
        parameter.data = own[name].detach()[0]
    return history


def _check_data(
    model: nn.Module, inputs: Tensor | Images, targets: Tensor | None, loss: Loss
) -> int:
    networks = len(model.seeds)
    if isinstance(inputs, Images):
        size = _check_images(networks, inputs, targets, loss)
    else:
        _check_targets(networks, targets, (2,), (torch.int64,))
        size = targets.shape[1]
        shapes = ((size,), (networks, size))
        known = isinstance(inputs, Tensor) and inputs.dtype == torch.float32
        if not known or inputs.shape[:-1] not in shapes:
            raise ValueError(
                f"inputs must be a float32 tensor of shape ({size}, F) or ({networks}, {size}, F), "
                f"got {_kind(inputs)}"
            )
        if not torch.isfinite(inputs).all():
            raise ValueError("inputs hold values that are not finite")
    if not size:
        raise ValueError("there is no example to train on")
    if targets is None:
        return size
    known, classes = torch.where(targets == VOID, 0, targets), model.classes
    if known.min() < 0 or known.max() >= classes:
        raise ValueError(f"targets must be in 0..{classes - 1} or {VOID} (void)")
    labelled = (known > 0).flatten(1).any(1)
    if not labelled.all():
        bare = (~labelled).nonzero().flatten().tolist()[:5]
        raise ValueError(
            f"network(s) {bare} have no labelled positive to learn from; keep more labels"
        )
    return size


def _check_images(networks: int, images: Images, targets: Tensor | None, loss: Loss) -> int:
    size, sides = len(images), images.pixels.shape[1:3]
    if (targets is None) != isinstance(loss, SquaredError):
        raise ValueError("a network that reconstructs its inputs has no targets, and SquaredError")
    if targets is not None:
        _check_targets(networks, targets, (2, 3, 4), LABELS)
    if networks != 1 or (targets is not None and targets.shape[1] != size):
        raise ValueError(
            f"{size} images for {networks} network(s) and targets {_kind(targets)}: images are "
            "for one network, one target each"
        )
    if targets is None or targets.ndim == 2:
        return size
    if targets.ndim == 4 and targets.shape[2:] != sides:
        raise ValueError(f"masks are {tuple(targets.shape[2:])} where images are {tuple(sides)}")
    if loss.mixup is not None:
        name = type(loss.bare).__name__
        raise ValueError(
            f"{name} mixes whole examples, and pixels are no whole examples: set mixup_weight=0"
        )
    return size


def _check_targets(networks: int, targets: Tensor | None, axes: tuple, kinds: tuple) -> None:
    if (
        not isinstance(targets, Tensor)
        or targets.ndim not in axes
        or targets.shape[0] != networks
        or targets.dtype not in kinds
    ):
        more = " or, with Images, uint8, int16 or int64 masks (1, N, H, W)" if 4 in axes else ""
        raise ValueError(
            f"targets must be an int64 tensor of shape ({networks}, N){more}, got {_kind(targets)}"
        )


def _kind(given: object) -> str:
    if not isinstance(given, Tensor):
        return "None" if given is None else type(given).__name__
    return f"{given.dtype} {tuple(given.shape)}"


def _check_loss(loss: Loss, networks: int, weight_ratio: Tensor | None) -> None:
    if not isinstance(loss, Loss):
        raise ValueError(f"loss must be a Loss (see losses.create), got {type(loss).__name__}")
    if weight_ratio is None:
        return
    known = isinstance(weight_ratio, Tensor) and weight_ratio.shape == (networks,)
    if not known or not ((weight_ratio > 0) & weight_ratio.isfinite()).all():
        raise ValueError(
            f"weight_ratio must be a tensor of {networks} finite numbers greater than 0, one a "
            f"network, got {_kind(weight_ratio)}"
        )


def _own_parameters(loss: Loss, networks: int, device: torch.device) -> dict[str, nn.Parameter]:
    """One copy a network of what the loss itself learns."""
    return {
        name: nn.Parameter(p.detach().to(device).expand(networks, *p.shape).clone())
        for name, p in loss.named_parameters()
    }


def _losses(
    model: nn.Module,
    loss: Loss,
    own: dict[str, Tensor],
    x: Tensor,
    y: Tensor,
    weight_ratio: Tensor | None,
    mixed: tuple[Tensor, ...] = (),
    prior: Tensor | None = None,
) -> Tensor:
    """Return the loss of each of S networks, (S,), on its batch; ``own`` is learned by the loss."""
    logits = model(x)
    if own:
        return _learned(loss, own, logits, y, weight_ratio)
    if y.ndim > 2 and not y.is_floating_point():  # one network; every position is an example
        given = {"weight_ratio": weight_ratio} if loss.separable else {}
        given |= {"prior": prior} if loss.per_image else {}
        return loss.value(logits[0], y[0], **given)[None]
    if not mixed:
        return loss.stacked(logits, y, weight_ratio)
    share, pick = mixed
    partner = partners(loss.mixup, y, pick)
    other = torch.stack([inputs[chosen] for inputs, chosen in zip(x, partner, strict=True)])
    weight = share.view(-1, *[1] * (x.ndim - 1))
    between = model(weight * x + (1 - weight) * other)
    return over_networks(loss.with_mixup, logits, y, between, partner, share)


def _learned(
    loss: Loss, own: dict[str, Tensor], logits: Tensor, y: Tensor, weight_ratio: Tensor | None
) -> Tensor:
    if weight_ratio is None:
        weight_ratio = torch.full((len(logits),), loss.weight_ratio, device=logits.device)

    def value(own: dict[str, Tensor], *batch: Tensor) -> Tensor:
        named = {f"loss.{name}": parameter for name, parameter in own.items()}
        return torch.func.functional_call(_Value(loss), named, batch, strict=False)

    return torch.vmap(value)(own, logits, y, weight_ratio)


class _Value(nn.Module):
    """``loss.value`` as a module call, for torch.func."""

    def __init__(self, loss: Loss):
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, target: Tensor, weight_ratio: Tensor) -> Tensor:
        return self.loss.value(logits, target, weight_ratio)


def _note_divergence(history: History, epoch: int, loss: Loss) -> None:
    for network in (~torch.isfinite(history.losses[-1])).nonzero().flatten().tolist():
        history.diverged.setdefault(network, epoch + 1)
    if len(history.diverged) == len(history.losses[-1]):
        raise history.failure(0, loss)
