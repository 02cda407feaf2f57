"""The weights of an AlexNet trained on ImageNet, as torchvision publishes them (244 MB)."""

from collections.abc import Callable
from pathlib import Path

from nbkit import paths
from nbkit.data import fetch
from nbkit.data.fetch import Archive, DataError

FILE = "alexnet-owt-7be5be79.pth"
ALEXNET = Archive(
    FILE,
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    (f"https://download.pytorch.org/models/{FILE}",),
    "or leave the row of ImageNet out",
)


def weights() -> Path:
    """Return where the weights lie in ``paths.cache()``, verified; nothing is downloaded.

    Raises
    ------
    DataError
        If there is no file, or another one.
    """
    path = paths.cache() / ALEXNET.file
    source = (
        f"`nbkit data fetch imagenet`, or download {ALEXNET.mirrors[0]} and put it at {path} "
        f"(SHA-256 {ALEXNET.sha256})"
    )
    if not present():
        raise DataError(f"the ImageNet weights are missing: {source}, {ALEXNET.instead}")
    found = fetch.sha256(path)
    if found != ALEXNET.sha256:
        raise DataError(f"{path} is another file, SHA-256 {found}: delete it, {source}")
    return path


def fetch_weights(show: Callable[[str], None] | None = None) -> list[str]:
    """Download the weights into ``paths.cache()`` if they are not there, and return ``where()``.

    Raises
    ------
    DataError
        If they cannot be had.
    """
    path = paths.cache() / ALEXNET.file
    with fetch.alone(path):
        fetch.download(ALEXNET, path.parent, show=show)
    return where()


def verify() -> tuple[list[str], list[str]]:
    """Check the weights; see ``voc.verify`` for what is returned."""
    try:
        return [f"imagenet: {weights()} is whole"], []
    except DataError as error:
        return [], [str(error)]


def present() -> bool:
    """Whether there is a file of the weights in ``paths.cache()``."""
    path = paths.cache() / ALEXNET.file
    return paths.there(path) and path.is_file()


def where() -> list[str]:
    """Return a line that says where the weights lie, or where they are to be put."""
    missing = f"missing; `nbkit data fetch imagenet` brings 244 MB, SHA-256 {ALEXNET.sha256}"
    return [f"imagenet: {paths.cache() / ALEXNET.file} ({'there' if present() else missing})"]
