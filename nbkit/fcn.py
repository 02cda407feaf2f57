"""FCN-AlexNet: a network that classifies every pixel, and the transfer of its trunk.

Long, Shelhamer and Darrell 2015 turned AlexNet into a fully convolutional network: its dense layers
become convolutions, a 1 x 1 layer scores the classes and the scores are upsampled to the image. The
first five layers have the shapes and names of torchvision's AlexNet, so that its weights load.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nbkit import checks, images
from nbkit.data import imagenet
from nbkit.layers import dropout_streams, dropped, he_normal, only
from nbkit.rng import torch_generator

# the layers that can be transferred, in order, and the names of their parameters
TRUNK_LAYERS = {f"conv{i + 1}": f"features.{place}" for i, place in enumerate((0, 3, 6, 8, 10))}
TRUNK_LAYERS |= {"fc6": "fc6", "fc7": "fc7"}
HEADS = ("pixels", "image", "reconstruction")
LAYOUT = torch.channels_last


@dataclass(frozen=True)
class Trunk:
    """The sizes of a trunk.

    Attributes
    ----------
    widths : five ints
        Channels of conv1..conv5.
    kernels : six ints
        Sides of the filters of conv1..conv5 and fc6.
    step : int
        Stride of conv1.
    dense : int
        Channels of fc6 and fc7 by default.
    stride : int
        Pixels between two cells of the output by default.
    """

    widths: tuple[int, int, int, int, int]
    kernels: tuple[int, int, int, int, int, int]
    step: int
    dense: int
    stride: int


TRUNKS = {
    "alexnet": Trunk((64, 192, 384, 256, 256), (11, 5, 3, 3, 3, 6), step=4, dense=1024, stride=32),
    "half": Trunk((32, 96, 192, 128, 128), (11, 5, 3, 3, 3, 3), step=4, dense=256, stride=16),
    "narrow": Trunk((16, 32, 48, 48, 48), (5, 3, 3, 3, 3, 1), step=2, dense=64, stride=8),
}


class FCN(nn.Module):
    """A fully convolutional AlexNet; one, not a stack.

    Parameters
    ----------
    classes : int
        C, background included.
    seeds : sequence of one int
        Draws initial weights and dropout masks. Networks of one seed and other classes start with
        the same trunk.
    trunk : {"alexnet", "half", "narrow"} or Trunk
        The widths; ``half`` of AlexNet for a CPU, ``narrow`` for images of 64 x 64.
    dense : int, optional
        Channels of fc6 and fc7, 4096 in AlexNet; the trunk's own number by default.
    stride : int, optional
        Pixels between two cells of the output: that of the whole trunk (32; ``narrow`` 16), half of
        it or a quarter. A pool that would go beyond it keeps its size, and the layers after it are
        dilated instead (Chen et al. 2015). The trunk's own number by default.
    dropout : float
        Share dropped after fc6 and fc7, in [0, 1).
    head : {"pixels", "image", "reconstruction"}
        What is learnt; see ``forward``. The latter two pre-train a trunk without masks.

    Attributes
    ----------
    classes : int
        Classes of a position of the output: C, or 2 for the head ``image``.

    Raises
    ------
    ValueError
        For an argument outside its range, or more than one seed.

    Notes
    -----
    Deviations from the network of the draft, which is Caffe's: ordinary padding, so that the output
    covers the image, instead of 100 pixels all around; no local response normalisation, as in
    torchvision; weights start from the cut normal distribution of ``layers.he_normal`` instead of
    Glorot's, biases at 0; bilinear upsampling has no parameters.
    """

    def __init__(
        self,
        classes: int,
        seeds: Sequence[int],
        *,
        trunk: str | Trunk = "alexnet",
        dense: int | None = None,
        stride: int | None = None,
        dropout: float = 0.5,
        head: str = "pixels",
    ):
        super().__init__()
        classes = checks.count("classes", classes, least=2)
        self.seeds = checks.seeds(seeds)
        if len(self.seeds) != 1:
            raise ValueError(f"FCN is no stack: it takes one seed, got {len(self.seeds)}")
        if not isinstance(trunk, Trunk):
            trunk = TRUNKS[checks.choice("trunk", trunk, TRUNKS)]
        self.dropout = checks.fraction("dropout", dropout, high_open=True)
        self.head = checks.choice("head", head, HEADS)
        self.stride = _stride(trunk, stride)
        dense = trunk.dense if dense is None else checks.count("dense", dense)
        self.classes = 2 if head == "image" else classes
        self.features, dilation = _features(trunk, self.stride)
        margin = dilation * (trunk.kernels[5] - 1)
        self.margin = (math.ceil(margin / 2), margin // 2) * 2
        self.fc6 = nn.Conv2d(trunk.widths[-1], dense, trunk.kernels[5], dilation=dilation)
        self.fc7 = nn.Conv2d(dense, dense, 1)
        outputs = {"pixels": classes, "image": classes - 1, "reconstruction": 3 * self.stride**2}
        self.score = nn.Conv2d(dense, outputs[head], 1)
        self.generators = []
        start = torch_generator(self.seeds[0], "weights")
        for name in (*TRUNK_LAYERS.values(), "score"):
            he_normal(self.get_submodule(name), start)

    def begin_epoch(self, epoch: int) -> None:
        """Start the dropout stream of an epoch, so that training can resume at any epoch."""
        device = self.score.weight.device
        self.generators = dropout_streams(self.generators, self.seeds, epoch, device)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the head makes of images.

        Parameters
        ----------
        x : (1, B, 3, H, W) tensor
            Sides that are multiples of the stride.

        Returns
        -------
        tensor
            ``pixels``: logits of every pixel, (1, B, C, H, W). ``image``: for each of the K
            categories the logits of "absent" and "present", (1, B, 2, K), the mean score of the
            cells; their cross-entropy is that of a sigmoid a category. ``reconstruction``: the
            image again, (1, B, 3, H, W), every cell filling its own square (Shi et al. 2016).

        Raises
        ------
        ValueError
            If the stride does not divide a side.
        """
        high, wide = x.shape[-2:]
        if high % self.stride or wide % self.stride:
            near = [max(1, round(side / self.stride)) * self.stride for side in (high, wide)]
            raise ValueError(
                f"images of {high} x {wide} cannot be divided by the stride {self.stride}: use "
                f"{near[0]} x {near[1]}, or another stride"
            )
        x = F.pad(self.features(only(x).contiguous(memory_format=LAYOUT)), self.margin)
        for layer in (self.fc6, self.fc7):
            x = dropped(layer(x).relu_(), self.dropout * self.training, self.generators)
        x = self.score(x)
        if self.head == "image":
            present = x.mean((2, 3))
            return torch.stack([torch.zeros_like(present), present], 1)[None]
        if self.head == "reconstruction":
            return F.pixel_shuffle(x, self.stride)[None]
        return upsampled(x, self.stride)[None]


def upsampled(x: Tensor, stride: int) -> Tensor:
    """Return (B, C, h, w) bilinearly enlarged by ``stride``, (B, C, H, W).

    As ``F.interpolate`` with ``align_corners=False``, which takes five times as long on a CPU: one
    product with a fixed matrix a side.
    """
    down, right = (
        F.interpolate(
            torch.eye(side, device=x.device, dtype=x.dtype)[None],
            scale_factor=stride,
            mode="linear",
            align_corners=False,
        )[0]
        for side in x.shape[2:]
    )
    return down.T @ (x.contiguous() @ right)


def transfer(
    model: FCN,
    state: dict[str, Tensor],
    layers: int = len(TRUNK_LAYERS),
    *,
    freeze: bool = False,
) -> None:
    """Copy the first layers of a trunk; every other layer, and the score layer, stays as it is.

    Parameters
    ----------
    model : FCN
        Changed in place.
    state : dict of tensors
        ``state_dict()`` of another FCN, of whatever classes and head, or ``imagenet_state()``.
    layers : int
        How many of ``TRUNK_LAYERS``, from the first on.
    freeze : bool
        Whether the copied layers are left as they are in training. Random layers are frozen by a
        transfer of the model's own state.

    Raises
    ------
    ValueError
        For another number of layers, or a state that lacks one or has it in another shape; the
        model is then unchanged.
    """
    if checks.count("layers", layers, least=0) > len(TRUNK_LAYERS):
        raise ValueError(f"layers must be at most {len(TRUNK_LAYERS)}, got {layers}")
    own = dict(model.named_parameters())
    places = [*TRUNK_LAYERS.values()][:layers]
    keys = [f"{place}.{kind}" for place in places for kind in ("weight", "bias")]
    missing = [key for key in keys if key not in state]
    if missing:
        raise ValueError(
            f"the weights hold no {', '.join(missing)}; give the state_dict of an FCN, or the "
            "imagenet_state, or transfer fewer layers"
        )
    for key in keys:
        if state[key].shape != own[key].shape:
            raise ValueError(
                f"{key} is {tuple(state[key].shape)} in the weights and {tuple(own[key].shape)} in "
                "the network: make both with the same trunk and dense, or transfer only the "
                "layers before it"
            )
    with torch.no_grad():
        for key in keys:
            own[key].copy_(state[key])
            own[key].requires_grad_(own[key].requires_grad and not freeze)


def imagenet_state() -> dict[str, Tensor]:
    """Return the weights of torchvision's AlexNet under the names of an FCN.

    They fit the trunk ``alexnet``, fc6 and fc7 only with ``dense=4096``; otherwise transfer the
    first five layers. conv1 is rewritten for the normalisation of ``images``, which is another one.

    Raises
    ------
    DataError
        If their file is missing from the data cache, or another one.
    """
    state = torch.load(imagenet.weights(), map_location="cpu", weights_only=True)
    dense = state["classifier.1.weight"].shape[0]
    shapes = {"fc6": (1, (dense, -1, 6, 6)), "fc7": (4, (dense, -1, 1, 1))}
    for name, (place, shape) in shapes.items():
        state[f"{name}.weight"] = state[f"classifier.{place}.weight"].reshape(shape)
        state[f"{name}.bias"] = state[f"classifier.{place}.bias"]
    weight = state["features.0.weight"]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in images.IMAGENET)
    ours_mean, ours_std = (
        torch.tensor(values).view(3, 1, 1) for values in (images.MEAN, images.STD)
    )
    state["features.0.bias"] += (weight * (ours_mean - mean) / std).sum((1, 2, 3))
    state["features.0.weight"] = weight * ours_std / std
    return {key: value for key, value in state.items() if not key.startswith("classifier")}


def _stride(trunk: Trunk, stride: int | None) -> int:
    whole = 8 * trunk.step
    stride = trunk.stride if stride is None else stride
    if stride not in (whole, whole // 2, whole // 4):
        raise ValueError(
            f"stride must be {whole}, {whole // 2} or {whole // 4} with this trunk, got {stride!r}"
        )
    return stride


def _features(trunk: Trunk, stride: int) -> tuple[nn.Sequential, int]:
    """The layers of torchvision's AlexNet in its places, and the dilation that follows them."""
    layers, before, reached, dilation = [], 3, trunk.step, 1
    for i, (width, kernel) in enumerate(zip(trunk.widths, trunk.kernels[:5], strict=True)):
        step = trunk.step if i == 0 else 1
        edge = math.ceil((kernel - step) / 2) * dilation
        layers.append(nn.Conv2d(before, width, kernel, step, edge, dilation))
        before = width
        if i in (0, 1, 4):  # pooling before the activation is the same, and a quarter of the work
            if reached < stride:
                # padding the first pool alone keeps the cells nearest to where they are upsampled
                layers.append(nn.MaxPool2d(3, 2, padding=int(i == 0), ceil_mode=i > 0))
                reached *= 2
            else:
                layers.append(nn.MaxPool2d(3, 1, padding=1))
                dilation *= 2
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers), dilation
