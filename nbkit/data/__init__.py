"""Data sets, free of noise: synthetic points and real images, each the same on every machine."""

from nbkit.data.cifar import cifar, vehicles
from nbkit.data.digits import digits
from nbkit.data.fetch import DataError
from nbkit.data.scenes import scenes
from nbkit.data.segmented import Segmented
from nbkit.data.toys import Gaussians, gaussians, moons
from nbkit.data.voc import folder

__all__ = [
    "DataError",
    "Gaussians",
    "Segmented",
    "cifar",
    "digits",
    "folder",
    "gaussians",
    "moons",
    "scenes",
    "vehicles",
]
