"""Random streams by name: the same seed and name give the same numbers, whatever else is drawn.

Every source of randomness in a run has a stream of its own (``generator(seed, "weights")``), so
that two runs of one seed share their data, mask, initial weights and batches even if they differ in
the loss: their results are paired.
"""

import hashlib

import numpy as np
import torch


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the NumPy generator of a named stream."""
    return np.random.default_rng(_entropy(seed, names))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Return the torch generator of a named stream, on the CPU."""
    return restart(torch.Generator(), seed, *names)


def restart(generator: torch.Generator, seed: int, *names: str | int) -> torch.Generator:
    """Let a torch generator begin a named stream, and return it."""
    return generator.manual_seed(_entropy(seed, names))


def held_out(seed: int, size: int) -> np.ndarray:
    """Draw the tenth that is kept for selection, at least one example, as a (size,) bool array."""
    order = generator(seed, "held out").permutation(size)
    chosen = np.zeros(size, dtype=bool)
    chosen[order[: max(1, round(0.1 * size))]] = True
    return chosen


def _entropy(seed: int, names: tuple) -> int:
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
