"""Data sets, free of noise: made points and real images, each the same on every machine."""

from nbkit.data.digits import digits
from nbkit.data.toys import Gaussians, gaussians, moons

__all__ = ["Gaussians", "digits", "gaussians", "moons"]
