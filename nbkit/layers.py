"""What the networks are made of: dropout, pooling and initial weights, and their short cuts.

A CPU computes VGG8 faster here than with PyTorch's own layers alone; what each function saves, and
whether it keeps the bits, stands in its own text.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbkit.rng import restart

CACHED = 2**19  # values of a layer in fp32 that a core's cache holds, with their gradients


def only(x: Tensor) -> Tensor:
    """Return the batch of the one network, (1, B, ...) -> (B, ...); ValueError for a stack."""
    if len(x) != 1:
        raise ValueError(f"this network is no stack: expected (1, B, ...), got {tuple(x.shape)}")
    return x[0]


def is_fp32_on_avx512(x: Tensor) -> bool:
    """Whether a network computes in fp32 on a CPU on which ``in_parts`` and ``dense`` pay.

    Without AVX-512 arithmetic takes nearly all of the time, and parts cost more than they save.
    """
    return (
        x.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


def in_parts(layers: Callable[[Tensor], Tensor], x: Tensor, most: int) -> Tensor:
    """Return ``layers(x)``, computed for ``most`` examples at a time, that the cache holds.

    The same dropout masks, and values and gradients but for last digits: weights add up their
    gradients part by part.

    Parameters
    ----------
    layers : callable
        Maps (B, ...) to (B, ...), each example alone.
    x : (B, ...) tensor
    most : int
    """
    if len(x) <= most:
        return layers(x)
    return torch.cat([layers(part) for part in x.split(most)])


def dense(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return ``layer(x)`` of float32 in half the time: by oneDNN, where PyTorch takes MKL.

    The sums have another order. On a CPU only.
    """
    return F.linear(x.to_mkldnn(), layer.weight, layer.bias).to_dense()


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
        left, right = values.unbind(3)
        top, bottom = torch.maximum(left, right).view(batch, high // 2, 2, -1).unbind(2)
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
        top, bottom = rows.unbind(2)
        torch.sub(gradient, torch.mul(gradient, is_top, out=top), out=bottom)
        rows = rows.view(is_left.shape)
        values = gradient.new_empty(batch, high, half, 2, channels)
        left, right = values.unbind(3)
        torch.sub(rows, torch.mul(rows, is_left, out=left), out=right)
        return values.view(batch, high, 2 * half, channels).permute(0, 3, 1, 2)


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


def _stream(generators: Sequence[torch.Generator]) -> torch.Generator:
    if not generators:
        raise ValueError("begin_epoch starts the dropout of a network: call it before training")
    return generators[0]


@torch.no_grad()
def he_normal(layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
    """Draw the weights of a layer with variance 2 / fan-in, cut at two standard deviations.

    Biases become 0. As Keras drew "he_normal" in 2017 (He et al. 2015).
    """
    std = (2 / layer.weight[0].numel()) ** 0.5
    layer.weight.copy_(std * _cut_normal(layer.weight.shape, generator))
    layer.bias.zero_()


def _cut_normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draw from a standard normal distribution cut at two standard deviations."""
    inside = math.erf(2 / math.sqrt(2))  # the share of the uncut one
    uniform = torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
    return math.sqrt(2) * torch.erfinv(inside * uniform)
