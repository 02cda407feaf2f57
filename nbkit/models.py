"""The networks of the study. Small ones come as a stack: S networks, trained at once.

A stack keeps the weights of its networks side by side, (S, out, in) a layer, and does the
arithmetic of all of them in one batched product. Network i of a stack depends on its seed alone,
never on its neighbours.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nbkit import checks
from nbkit.rng import torch_generator


class MLP(nn.Module):
    """A stack of S multilayer perceptrons with ReLU between their layers.

    Parameters
    ----------
    sizes : sequence of int
        Units a layer, input and output included: (2, 8, 8, 2) is the author's moons network.
    seeds : sequence of int
        One a network; S is their number. Equal seeds give equal networks and dropout masks.
    dropout : float
        Share of hidden units dropped in training, in [0, 1).
    bias_std : float
        Standard deviation of the initial biases: 1 in the author's network, 0 by default.

    Notes
    -----
    Weights start Glorot-uniform (Glorot and Bengio 2010), the author's default.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        seeds: Sequence[int],
        *,
        dropout: float = 0.0,
        bias_std: float = 0.0,
    ):
        super().__init__()
        self.sizes = [checks.count("every layer size", size) for size in sizes]
        if len(self.sizes) < 2 or self.sizes[-1] < 2:
            raise ValueError(f"sizes must end in at least 2 classes, got {tuple(sizes)}")
        self.seeds = [checks.count("every seed", seed, least=0) for seed in seeds]
        checks.count("the number of seeds", len(self.seeds))
        self.dropout = checks.fraction("dropout", dropout, high_open=True)
        bias_std = checks.finite("bias_std", bias_std, above=-1e-12)
        distinct = {seed: i for i, seed in enumerate(dict.fromkeys(self.seeds))}
        self.register_buffer("stream", torch.tensor([distinct[seed] for seed in self.seeds]))
        self.distinct, self.generators = list(distinct), []
        drawn = [torch_generator(seed, "weights") for seed in self.distinct]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            limit = (6 / (fan_in + fan_out)) ** 0.5
            weight = [(torch.rand(fan_out, fan_in, generator=g) * 2 - 1) * limit for g in drawn]
            bias = [torch.randn(fan_out, 1, generator=g) * bias_std for g in drawn]
            index = self.stream.cpu()
            self.weights.append(nn.Parameter(torch.stack(weight)[index]))
            self.biases.append(nn.Parameter(torch.stack(bias)[index]))

    def begin_epoch(self, epoch: int) -> None:
        """Start the dropout streams of an epoch, so that training can resume at any epoch."""
        if self.dropout:
            device = self.stream.device.type
            self.generators = [
                torch_generator(seed, "dropout", epoch, device=device) for seed in self.distinct
            ]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        x : (S, B, sizes[0]) tensor

        Returns
        -------
        (S, B, sizes[-1]) tensor
        """
        last = len(self.weights) - 1
        x = x.transpose(1, 2)  # examples innermost: small layers then run 3 to 4 times as fast
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, weight, x)
            if i < last:
                x = x.relu_()
                if self.dropout and self.training:
                    x = x * self._mask(x)
        return x.transpose(1, 2)

    def _mask(self, x: Tensor) -> Tensor:
        drawn = [torch.rand(x.shape[1:], generator=g, device=x.device) for g in self.generators]
        keep = 1 - self.dropout
        return ((torch.stack(drawn) < keep) / keep)[self.stream]


@torch.no_grad()
def positive_probability(model: nn.Module, points: np.ndarray) -> np.ndarray:
    """Return 1 - p_0 of each network of a stack at shared inputs.

    Parameters
    ----------
    model : module
        Maps (S, B, F) to (S, B, C).
    points : (N, F) array

    Returns
    -------
    (S, N) float32 array
    """
    device = next(model.parameters()).device
    inputs = torch.as_tensor(points, dtype=torch.float32, device=device)
    logits = model(inputs.expand(len(model.seeds), -1, -1))
    return (1 - logits.softmax(-1)[..., 0]).cpu().numpy()
