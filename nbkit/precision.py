"""In which arithmetic a network computes: fp32, or bf16 where the chip has it."""

import functools
from pathlib import Path

import torch

from nbkit import checks

PRECISIONS = ("auto", "fp32", "bf16", "reference")


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """Return the context in which a network computes in a precision, see ``precision_on``."""
    enabled = precision_on(device, precision) == "bf16"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=enabled)


def precision_on(device: torch.device | str, precision: str) -> str:
    """Return ``fp32`` or ``bf16``: what a precision means on a device.

    Parameters
    ----------
    device : torch.device or str
    precision : {"auto", "fp32", "bf16", "reference"}
        ``auto`` is bf16 where the chip computes in it, and fp32 elsewhere. ``reference`` is fp32,
        by which an experiment means that no other short cut is taken either.

    Raises
    ------
    ValueError
        For an unknown precision, or bf16 on a chip that only emulates it, which is slower.
    """
    kind = torch.device(device).type
    checks.choice("precision", precision, PRECISIONS)
    if precision == "bf16" and not has_bf16(kind):
        raise ValueError(f"this {kind} has no bf16 arithmetic; use precision='fp32'")
    return "bf16" if precision in ("auto", "bf16") and has_bf16(kind) else "fp32"


@functools.cache
def has_bf16(device: str) -> bool:
    """Whether a device, ``cpu`` or ``cuda``, computes in bf16 rather than emulating it."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    text = flags.read_text() if flags.exists() else ""
    return "avx512_bf16" in text or "amx_bf16" in text
