"""How a step is taken: Adam, its learning rate, and memory that is reused."""

import contextlib
import ctypes
import functools
import math
import sys
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.optim.adam import adam

from nbkit import checks

SCHEDULES = ("constant", "one_cycle")


class Adam:
    """The function behind ``torch.optim.Adam`` with its state, and nothing else.

    The class itself loads the compiler the first time one is made: seconds in every worker and
    every kernel, more than some of the trainings here take.
    """

    def __init__(self, parameters: list[nn.Parameter], *, fused: bool):
        self.parameters, self.fused = parameters, fused
        self.means = [torch.zeros_like(p) for p in parameters]
        self.squares = [torch.zeros_like(p) for p in parameters]
        self.steps = [torch.zeros((), device=p.device if fused else "cpu") for p in parameters]

    @torch.no_grad()
    def step(self, learning_rate: float | torch.Tensor) -> None:
        """Move the parameters along their gradients, and forget the gradients."""
        adam(
            self.parameters,
            [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters],
            self.means,
            self.squares,
            [],
            self.steps,
            foreach=not self.fused,
            fused=self.fused,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        for parameter in self.parameters:
            parameter.grad = None

    @property
    def state(self) -> list[torch.Tensor]:
        """What a checkpoint has to keep."""
        return [*self.means, *self.squares, *self.steps]


def learning_rate_at(schedule: str, peak: float, total: int) -> Callable[[int], float]:
    """Return the learning rate as a function of the step, 0..total-1."""
    peak = checks.finite("learning_rate", peak, above=0)
    checks.count("total", total)
    if checks.choice("schedule", schedule, SCHEDULES) == "constant":
        return lambda step: peak
    rise = max(1, round(0.3 * total))

    def one_cycle(step: int) -> float:
        if step < rise:
            return peak * (step + 1) / rise
        return peak * 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / (total - rise + 1)))

    return one_cycle


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Compute the same bits every time: one thread on the CPU, fixed kernels on a card.

    The arithmetic of small layers is too short to share; two threads on a busy machine can cost ten
    times one. Several runs at once use the other cores. On a card cuDNN would choose kernels whose
    sums have no order, and take fp32 for TF32, which has three digits.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def tune_allocator() -> None:
    """Let the C library reuse freed memory instead of returning it to the system every step.

    Fresh pages cost more than the arithmetic of a small layer. Linux with glibc only; elsewhere it
    does nothing. The process keeps its peak memory until it ends.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
