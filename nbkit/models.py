"""The networks of the study. Small ones come as a stack: S networks, trained at once.

A stack keeps the weights of its networks side by side, (S, out, in) a layer, and does the
arithmetic of all of them in one batched product. Network i of a stack follows from its seed, its
neighbours have no part in it (but for last bits, see ``sweep.compute``). Every model has ``seeds``
(S of them), ``classes`` and ``begin_epoch``; those for photographs ``generators``, for ``graphs``.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbkit import checks, layers
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

    Raises
    ------
    ValueError
        For sizes that do not end in at least two classes, no seed, or a number outside its range.

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
        self.classes = self.sizes[-1]
        self.seeds = checks.seeds(seeds)
        self.dropout = checks.fraction("dropout", dropout, high_open=True)
        bias_std = checks.finite("bias_std", bias_std, least=0)
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
            self.generators = layers.dropout_streams(
                self.generators, self.distinct, epoch, self.stream.device
            )

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


class VGG8(nn.Module):
    """The author's network for CIFAR: six 3 x 3 convolutions, two dense layers; one, not a stack.

    32, 32, pool, 64, 64, pool, 128, 128, pool, 512, classes: 1,341,739 parameters for 11 classes.
    Leaky ReLU of slope .2 after the convolutions, ReLU after the first dense layer; dropout after
    every pool and before the last layer. (File models.py of the author's CIFAR experiment, 2017.)

    Parameters
    ----------
    classes : int
    seeds : sequence of one int
        Draws initial weights and dropout masks.
    dropout : float
        Share dropped before the last layer, in [0, 1); the pools drop 40, 60 and 80 % of it. The
        author's .2, .3, .4 and .5 are the default.
    reference : bool
        Drop as PyTorch does and take no short cut in fp32: slower, to check the others against.

    Raises
    ------
    ValueError
        For fewer than two classes, other than one seed, or a dropout outside its range.

    Notes
    -----
    Weights start from a normal distribution of variance 2 / fan-in, cut at two standard deviations,
    as Keras drew "he_normal" in 2017 (He et al. 2015); biases start at 0.
    """

    channels = (3, 32, 32, 64, 64, 128, 128)

    def __init__(
        self,
        classes: int,
        seeds: Sequence[int],
        *,
        dropout: float = 0.5,
        reference: bool = False,
    ):
        super().__init__()
        self.reference = reference
        self.drop = layers.usually_dropped if reference else layers.dropped
        self.classes = checks.count("classes", classes, least=2)
        self.seeds = checks.seeds(seeds)
        if len(self.seeds) != 1:
            raise ValueError(f"VGG8 is no stack: it takes one seed, got {len(self.seeds)}")
        last = checks.fraction("dropout", dropout, high_open=True)
        self.rates = tuple(last * share for share in (0.4, 0.6, 0.8, 1.0))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in itertools.pairwise(self.channels)
        )
        self.hidden = nn.Linear(16 * self.channels[-1], 512)
        self.output = nn.Linear(512, self.classes)
        self.generators = []
        start = torch_generator(self.seeds[0], "weights")
        for layer in (*self.convolutions, self.hidden, self.output):
            layers.he_normal(layer, start)
        for layer in self.convolutions:  # in memory as their inputs lie: fewer copies
            weight = layer.weight.detach().contiguous(memory_format=torch.channels_last)
            layer.weight = nn.Parameter(weight)

    def begin_epoch(self, epoch: int) -> None:
        """Start the dropout stream of an epoch, so that training can resume at any epoch."""
        device = self.output.weight.device
        self.generators = layers.dropout_streams(self.generators, self.seeds, epoch, device)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        x : (1, B, 3, 32, 32) tensor

        Returns
        -------
        (1, B, classes) tensor
        """
        x = layers.only(x).contiguous(memory_format=torch.channels_last)
        quick = layers.is_fp32_on_avx512(x) and not self.reference
        for block, width in enumerate(self.channels[2::2]):
            most = layers.CACHED // (width * x[0, 0].numel()) if quick else len(x)
            x = layers.in_parts(functools.partial(self._block, block), x, most)
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = (layers.dense(self.hidden, x) if quick else self.hidden(x)).relu_()
        x = self._drop(x, self.rates[3])
        with torch.autocast(x.device.type, enabled=False):  # logits keep all their digits
            return self.output(x.float())[None]

    def _block(self, block: int, x: Tensor) -> Tensor:
        first, second = self.convolutions[2 * block : 2 * block + 2]
        x = F.leaky_relu_(first(x), 0.2)
        # pooling before the activation is the same, and a quarter of the work
        x = F.leaky_relu_(layers.pooled(second(x)), 0.2)
        return self._drop(x, self.rates[block])

    def _drop(self, x: Tensor, rate: float) -> Tensor:
        return self.drop(x, rate * self.training, self.generators)


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
