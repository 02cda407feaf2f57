"""Images that stay on the device as uint8, and the float batches drawn from them.

A batch is gathered, shifted and flipped by one index over pixels, then normalised: no worker
processes, no copy an image, the same code on the CPU and a GPU.
"""

import warnings

import numpy as np
import torch
from torch import Tensor

from nbkit import checks
from nbkit.checks import VOID
from nbkit.rng import torch_generator

MEAN = (125.3, 123.0, 113.9)  # of the CIFAR-10 training images, by channel, on the scale 0..255
STD = (63.0, 62.1, 66.7)
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # mean and std of torchvision


def shared(array: np.ndarray) -> Tensor:
    """Return an array as a tensor on the same memory, which is only to be read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


class Images:
    """Examples of an image data set.

    Parameters
    ----------
    pixels : (N, H, W, 3) uint8 tensor
        RGB; shared, never copied or changed.
    rows : (M,) int64 tensor, optional
        Which images are the examples 0..M-1; all by default.
    shift : float
        Largest shift of an augmented image either way, as a share of its side, in [0, 1]: .1 is
        3 pixels of 32. The border is filled with the edge's colours.
    flip : bool
        Whether every other augmented image is mirrored.
    mean, std : three floats
        What is taken from every channel and what it is divided by, on the scale 0..255.

    Raises
    ------
    ValueError
        For pixels of another shape or dtype, or a shift outside its range.
    """

    def __init__(
        self,
        pixels: Tensor,
        rows: Tensor | None = None,
        *,
        shift: float = 0.1,
        flip: bool = True,
        mean: tuple[float, float, float] = MEAN,
        std: tuple[float, float, float] = STD,
    ):
        if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != torch.uint8:
            raise ValueError(
                f"pixels must be uint8 of shape (N, H, W, 3), got {pixels.dtype} "
                f"{tuple(pixels.shape)}"
            )
        self.pixels = pixels.contiguous()
        self.device = pixels.device
        self.rows = torch.arange(len(pixels), device=self.device) if rows is None else rows
        self.shift, self.flip = checks.fraction("shift", shift), flip
        area = pixels.shape[1] * pixels.shape[2]
        # one value a pixel and channel: broadcasting 3 channels alone takes ten times as long
        self.mean, self.std = (
            torch.tensor(values, device=self.device).repeat(area) for values in (mean, std)
        )
        self.moves = None

    def __len__(self) -> int:
        return len(self.rows)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Draw the shifts and flips of every example for an epoch, from the seed and its number."""
        rng, size = torch_generator(seed, "augmentation", epoch), (len(self),)
        down, right = (
            torch.randint(-most, most + 1, size, generator=rng)
            for most in (int(self.shift * side) for side in self.pixels.shape[1:3])
        )
        mirrored = torch.randint(0, 1 + self.flip, size, generator=rng)
        moves = torch.stack([down, right, mirrored])
        if self.moves is None:
            self.moves = moves.to(self.device)
        else:  # where they were: a recorded step reads them there
            self.moves.copy_(moves)

    def augmented(self, index: Tensor) -> Tensor:
        """Return a batch as its shifts and flips of the epoch show it.

        Parameters
        ----------
        index : (B,) int64 tensor
            Examples 0..M-1.

        Returns
        -------
        (B, 3, H, W) float32 tensor
            Normalised, channels last in memory.
        """
        y, x = self._seen(index)
        _, high, wide, _ = self.pixels.shape
        y, x = y.clamp_(0, high - 1), x.clamp_(0, wide - 1)
        first = (self.rows[index, None] * high + y) * wide
        pixel = first[:, :, None] + x[:, None, :]
        return self._normalised(self.pixels.view(-1, 3).index_select(0, pixel.view(-1)))

    def moved(self, index: Tensor, masks: Tensor) -> Tensor:
        """Return the masks of a batch, shifted and flipped as ``augmented`` does its images.

        Parameters
        ----------
        index : (B,) int64 tensor
            Examples 0..M-1.
        masks : (M, H, W) integer tensor
            One an example.

        Returns
        -------
        (B, H, W) tensor
            255 (void) where a pixel comes from beyond the border.
        """
        y, x = self._seen(index)
        _, high, wide, _ = self.pixels.shape
        beyond = ((y < 0) | (y >= high))[:, :, None] | ((x < 0) | (x >= wide))[:, None, :]
        first = (index[:, None] * high + y.clamp_(0, high - 1)) * wide
        pixel = first[:, :, None] + x.clamp_(0, wide - 1)[:, None, :]
        seen = masks.view(-1).index_select(0, pixel.view(-1))  # a tenth of the time of [pixel]
        return seen.view(pixel.shape).masked_fill_(beyond, VOID)

    def plain(self, index: Tensor | slice) -> Tensor:
        """Return a batch as it is, (B, 3, H, W) float32, normalised."""
        return self._normalised(self.pixels[self.rows[index]])

    def _seen(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B, H) and columns (B, W) that a batch shows, some of them beyond the border."""
        _, high, wide, _ = self.pixels.shape
        down, right, mirrored = self.moves[:, index, None]
        y = torch.arange(high, device=self.device) + down
        x = torch.arange(wide, device=self.device) + right
        return y, torch.where(mirrored.bool(), wide - 1 - x, x)

    def _normalised(self, pixels: Tensor) -> Tensor:
        _, high, wide, _ = self.pixels.shape
        values = pixels.view(-1, high * wide * 3).float().sub_(self.mean).div_(self.std)
        return values.view(-1, high, wide, 3).permute(0, 3, 1, 2)
