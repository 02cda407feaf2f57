"""The networks of the study. Small ones come as a stack: S networks, trained at once.

A stack keeps the weights of its networks side by side, (S, out, in) a layer, and does the
arithmetic of all of them in one batched product. Network i of a stack follows from its seed, its
neighbours have no part in it (but for last bits, see ``sweep.compute``). Every model has ``seeds``
(S of them), ``classes`` and ``begin_epoch``; those for photographs ``generators``, for ``graphs``.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbkit import checks
from nbkit.rng import restart, torch_generator


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
            self.generators = dropout_streams(
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
    usual_dropout : bool
        Drop as PyTorch does, not as ``dropped``: slower, to check the latter against.

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
        usual_dropout: bool = False,
    ):
        super().__init__()
        self.drop = usually_dropped if usual_dropout else dropped
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
            he_normal(layer, start)
        for layer in self.convolutions:  # in memory as their inputs lie: fewer copies
            weight = layer.weight.detach().contiguous(memory_format=torch.channels_last)
            layer.weight = nn.Parameter(weight)

    def begin_epoch(self, epoch: int) -> None:
        """Start the dropout stream of an epoch, so that training can resume at any epoch."""
        device = self.output.weight.device
        self.generators = dropout_streams(self.generators, self.seeds, epoch, device)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        x : (1, B, 3, 32, 32) tensor

        Returns
        -------
        (1, B, classes) tensor
        """
        x = only(x).contiguous(memory_format=torch.channels_last)
        for block in range(3):
            first, second = self.convolutions[2 * block : 2 * block + 2]
            x = F.leaky_relu_(first(x), 0.2)
            # pooling before the activation is the same, and a quarter of the work
            x = F.leaky_relu_(pooled(second(x)), 0.2)
            x = self._drop(x, self.rates[block])
        x = self.hidden(x.permute(0, 2, 3, 1).flatten(1)).relu_()
        x = self._drop(x, self.rates[3])
        with torch.autocast(x.device.type, enabled=False):  # logits keep all their digits
            return self.output(x.float())[None]

    def _drop(self, x: Tensor, rate: float) -> Tensor:
        return self.drop(x, rate * self.training, self.generators)


def pooled(x: Tensor) -> Tensor:
    """Return the maxima of squares of 2 x 2: ``F.max_pool2d(x, 2)``, in less time on a CPU.

    Values and gradients have the same bits; where a maximum is tied the first takes the gradient.

    Parameters
    ----------
    x : (B, C, H, W) tensor
        With even H and W; quickest with channels last in memory.
    """
    if x.device.type != "cpu" or not x.requires_grad:
        return F.max_pool2d(x, 2)
    return _MaxPool.apply(x)


class _MaxPool(torch.autograd.Function):
    """Maxima of neighbours in a row, then of rows, and which of the two each of them was.

    Its two masks of 0 and 1 replace the int64 places of the maxima, and the values themselves.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        batch, channels, high, wide = x.shape
        values = x.permute(0, 2, 3, 1).contiguous().view(batch, high, wide // 2, 2, channels)
        left, right = values[:, :, :, 0], values[:, :, :, 1]
        rows = torch.maximum(left, right).view(batch, high // 2, 2, -1)
        top, bottom = rows[:, :, 0], rows[:, :, 1]
        # a comparison into booleans takes several times as long
        is_left = torch.ge(left, right, out=torch.empty_like(left))
        is_top = torch.ge(top, bottom, out=torch.empty_like(top))
        ctx.save_for_backward(is_left, is_top)
        shape = (batch, channels, high // 2, wide // 2)
        result = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        torch.maximum(top, bottom, out=result.permute(0, 2, 3, 1).view(top.shape))
        return result

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        is_left, is_top = ctx.saved_tensors
        batch, high, half, channels = is_left.shape
        gradient = gradient.permute(0, 2, 3, 1).reshape(is_top.shape)
        rows = gradient.new_empty(batch, high // 2, 2, half * channels)
        torch.sub(gradient, torch.mul(gradient, is_top, out=rows[:, :, 0]), out=rows[:, :, 1])
        rows = rows.view(is_left.shape)
        values = gradient.new_empty(batch, high, half, 2, channels)
        torch.sub(rows, torch.mul(rows, is_left, out=values[..., 0, :]), out=values[..., 1, :])
        return values.view(batch, high, 2 * half, channels).permute(0, 3, 1, 2)


@torch.no_grad()
def he_normal(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """Draw the weights of a layer with variance 2 / fan-in, cut at two standard deviations.

    Biases become 0. As Keras drew "he_normal" in 2017 (He et al. 2015).
    """
    std = (2 / layer.weight[0].numel()) ** 0.5
    layer.weight.copy_(std * _cut_normal(layer.weight.shape, generator))
    layer.bias.zero_()


def dropout_streams(
    generators: list[torch.Generator], seeds: Sequence[int], epoch: int, device: torch.device
) -> list[torch.Generator]:
    """Start the dropout stream of each seed for an epoch; generators that are there are reused.

    A recorded step keeps the generators that it was recorded with.
    """
    if not generators or generators[0].device.type != device.type:
        generators = [torch.Generator(device.type) for _ in seeds]
    return [
        restart(generator, seed, "dropout", epoch)
        for generator, seed in zip(generators, seeds, strict=True)
    ]


def only(x: Tensor) -> Tensor:
    """Return the batch of the one network, (1, B, ...) -> (B, ...); ValueError for a stack."""
    if len(x) != 1:
        raise ValueError(f"this network is no stack: expected (1, B, ...), got {tuple(x.shape)}")
    return x[0]


def _stream(generators: Sequence[torch.Generator]) -> torch.Generator:
    if not generators:
        raise ValueError("begin_epoch starts the dropout of a network: call it before training")
    return generators[0]


def dropped(x: Tensor, rate: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Drop a share of the values of (B, C, ...), and scale the others up to keep the mean.

    From 16 random bits a value, a quarter of the usual cost of its random numbers.
    """
    if rate == 0:
        return x
    x = x.movedim(1, -1)  # as it lies in memory
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    bits = words.random_(-(2**63), None, generator=_stream(generators)).view(torch.int16)
    cut = min(max(1, round(rate * 2**16)), 2**16 - 1)
    last = cut - 1 - 2**15  # the last value that is dropped
    # 0 or 1 by clamping: comparisons and booleans take several times as long
    keep = bits[: x.numel()].view(x.shape).clamp(last, last + 1).sub_(last)
    return (x * keep.to(x.dtype).mul_(2**16 / (2**16 - cut))).movedim(-1, 1)


def usually_dropped(x: Tensor, rate: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Do as ``dropped`` by the operations of ``F.dropout``, which takes no generator."""
    if rate == 0:
        return x
    kept = torch.empty_like(x).bernoulli_(1 - rate, generator=_stream(generators))
    return x * kept.div_(1 - rate)


def _cut_normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draw from a standard normal distribution cut at two standard deviations."""
    inside = math.erf(2 / math.sqrt(2))  # the share of the uncut one
    uniform = torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
    return math.sqrt(2) * torch.erfinv(inside * uniform)


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
