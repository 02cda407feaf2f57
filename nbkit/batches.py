"""Which examples a step sees: their order, their batch, and the partners that some losses mix in.

Everything here follows from a network's seed and the epoch, so that training can resume at any
epoch and networks of equal seed see the same examples.
"""

import torch
from torch import Tensor

from nbkit.checks import VOID
from nbkit.images import Images
from nbkit.losses import Loss
from nbkit.rng import generator, torch_generator


def batch_order(seeds: list[int], size: int, epoch: int) -> Tensor:
    """Return the order of the examples of each network in an epoch, (S, size) int64."""
    drawn = {
        seed: torch.randperm(size, generator=torch_generator(seed, "batches", epoch))
        for seed in dict.fromkeys(seeds)
    }
    return torch.stack([drawn[seed] for seed in seeds])


def gather(inputs: Tensor | Images, targets: Tensor | None, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the batch of each network: (S, B, ...) inputs and (S, B, ...) targets.

    Parameters
    ----------
    inputs : (N, F) or (S, N, F) tensor, or Images
    targets : (S, N) tensor; with Images also (1, N, K), (1, N, H, W), or None
        Masks, (1, N, H, W), move with their images. None: the inputs are the targets.
    index : (S, B) int64 tensor
    """
    if isinstance(inputs, Images):
        chosen = index[0]
        x = inputs.augmented(chosen)[None]
        if targets is None:
            return x, x
        masks = targets.ndim == 4
        return x, inputs.moved(chosen, targets[0])[None] if masks else targets[:, chosen]
    y = targets.gather(1, index)
    if inputs.ndim == 2:
        return inputs[index], y
    return inputs.gather(1, index[:, :, None].expand(-1, -1, inputs.shape[2])), y


def partners(kind: str, y: Tensor, pick: Tensor) -> Tensor:
    """Return whom each example is mixed with, (S, B) int64.

    ``pick`` in [0, 1) chooses uniformly among the labelled positives of the batch (``labelled``) or
    among all its examples that are not void (``any``); among all if it has none of these.
    """
    chosen = y != VOID
    if kind == "labelled":
        chosen &= y > 0
    first = chosen.long().argsort(dim=1, descending=True, stable=True)
    count = chosen.sum(1, keepdim=True)
    count = torch.where(count == 0, y.shape[1], count)
    return first.gather(1, (pick * count).long())


def mixing(
    loss: Loss,
    seeds: list[int],
    epoch: int,
    steps: int,
    batch_size: int,
    device: torch.device,
) -> tuple[Tensor, Tensor] | None:
    """Shares (S, steps) and picks (S, steps, B) of an epoch, or None if the loss mixes nothing."""
    if loss.mixup is None:
        return None
    alpha = loss.bare.alpha
    drawn = {}
    for seed in dict.fromkeys(seeds):
        rng = generator(seed, "mixup", epoch)
        share, pick = rng.beta(alpha, alpha, steps), rng.random((steps, batch_size))
        drawn[seed] = torch.tensor(share).float(), torch.tensor(pick).float()
    share, pick = (torch.stack([drawn[seed][i] for seed in seeds]).to(device) for i in (0, 1))
    return share, pick.clamp(max=1 - 1e-6)
