"""Scenes: synthetic images of 20 categories, each a shape with a texture, with true instances.

An image holds a few objects of random colours, sizes and directions, some of them partly hidden,
on a background of gradient, noise and strokes, and distractors of shapes that are no category. The
arithmetic is that of whole numbers, so that a seed gives the same scenes on every machine.
"""

import functools
from collections.abc import Callable

import numpy as np

from nbkit import checks
from nbkit.checks import VOID
from nbkit.data.segmented import Segmented

VERSION = 2  # raise it when the scenes of a seed change: it is part of the fingerprint
ONE = 256  # lengths, sines and cosines are in 256ths
TURN = 64  # directions of a full turn
CONTRAST = (85, 172)  # how far the two colours of a texture are apart, a channel, modulo 256
LEAST = 20  # visible pixels at size 64 below which a remnant becomes void
STROKES = 8  # of clutter, an image
DISTRACTORS = 2  # an image at most


def _disc(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    return u * u + v * v <= r * r


def _square(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), abs(v)) * ONE <= 227 * r


def _triangle(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(v * ONE, 222 * abs(u) - 128 * v) <= 199 * r


def _bar(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(abs(u), 3 * abs(v)) * ONE <= 393 * r


def _half_disc(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    v = v + 154 * r // ONE
    return (v >= 0) & (u * u + v * v <= 2 * r * r)


def _ring(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    square = (u * u + v * v) * 16
    return (square <= 25 * r * r) & (square >= 9 * r * r)


def _cross(u: np.ndarray, v: np.ndarray, r: np.ndarray) -> np.ndarray:
    u, v = abs(u), abs(v)
    return (np.maximum(u, v) * ONE <= 346 * r) & (np.minimum(u, v) * ONE <= 85 * r)


# all of about the area of the disc of radius r, so that size tells nothing
SHAPES = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "bar": _bar,
    "half-disc": _half_disc,
}
OTHERS = {"ring": _ring, "cross": _cross}


def _dots(u: np.ndarray, v: np.ndarray, width: np.ndarray) -> np.ndarray:
    u, v = u % (2 * width) - width, v % (2 * width) - width
    return 16 * (u * u + v * v) < 9 * width * width


# which of its two colours an object has at (u, v), ``width`` being that of a stripe
TEXTURES: dict[str, Callable[..., np.ndarray]] = {
    "plain": lambda u, v, width: np.zeros(u.shape, dtype=bool),
    "striped": lambda u, v, width: (u // width) % 2 == 1,
    "chequered": lambda u, v, width: (u // width + v // width) % 2 == 1,
    "dotted": _dots,
}
# neighbours share a shape or a texture, so that neither alone tells the class within five classes
PAIRS = tuple((i // 2 % 5, (i // 2 % 5 + i // 10 * 2 + i % 2) % 4) for i in range(20))


def fingerprint(
    images: int = 600,
    *,
    size: int = 64,
    seed: int = 0,
    objects: tuple[int, int] = (1, 4),
    validation: float = 1 / 3,
) -> str:
    """Return what identifies ``scenes(...)`` of the same arguments, without making them."""
    low, high = objects
    return f"scenes{VERSION}-{images}-{size}-{seed}-{low}-{high}-{validation:.6g}"


def scenes(
    images: int = 600,
    *,
    size: int = 64,
    seed: int = 0,
    objects: tuple[int, int] = (1, 4),
    validation: float = 1 / 3,
) -> Segmented:
    """Make images of 20 categories with instances, occlusion, clutter and void borders.

    Parameters
    ----------
    images : int
        How many, at least 1.
    size : int
        Height and width in pixels, at least 32; objects grow with it.
    seed : int
        Other seeds give other images.
    objects : (int, int)
        The fewest and the most objects an image, distractors not counted; the categories are dealt
        evenly.
    validation : float
        Share of the images, the last ones, that are for validation, in [0, 1).

    Returns
    -------
    Segmented
        ``classes[k]`` names texture and shape of category k = 1..20. The border of an object is
        void, one pixel wide, and so is a remnant too small to be recognised.

    Raises
    ------
    ValueError
        For fewer than 1 image, a size below 32, a negative seed, objects that are not (fewest,
        most) and at least 1, or a validation share outside [0, 1).

    Examples
    --------
    >>> made = scenes(4)
    >>> made.images.shape, made.classes[:3]
    ((4, 64, 64, 3), ('background', 'plain disc', 'striped disc'))
    """
    checks.count("images", images)
    checks.count("size", size, least=32)
    checks.count("seed", seed, least=0)
    pair = isinstance(objects, (tuple, list)) and len(objects) == 2
    if not pair or checks.count("objects", objects[0]) > checks.count("objects", objects[1]):
        raise ValueError(f"objects must be (fewest, most), got {objects!r}")
    held = round(checks.fraction("validation", validation, high_open=True) * images)
    return _scenes(images, size, seed, *objects, held)


@functools.lru_cache(maxsize=2)
def _scenes(images: int, size: int, seed: int, low: int, high: int, held: int) -> Segmented:
    rng = np.random.default_rng(seed)
    canvas = _background(images, size, rng)
    owners, labels = _place(canvas, size, rng, low, high)
    instances, unit_image, unit_id, slots = _units(owners, LEAST * size**2 // 64**2)
    noise = rng.integers(-10, 11, canvas.shape, dtype=np.int16)
    return Segmented(
        name="scenes",
        classes=("background", *(_name(shape, texture) for shape, texture in PAIRS)),
        images=np.clip(canvas + noise, 0, 255).astype(np.uint8),
        instances=instances,
        unit_image=unit_image,
        unit_id=unit_id,
        unit_labels=labels[unit_image, slots],
        validation=np.arange(images) >= images - held,
        names=tuple(f"scene {i}" for i in range(images)),
    )


def _name(shape: int, texture: int) -> str:
    return f"{list(TEXTURES)[texture]} {list(SHAPES)[shape]}"


def _background(images: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """A gradient between two colours, patches of noise and strokes; (N, size, size, 3) int16."""
    ends = rng.integers(0, 256, (2, images, 1, 1, 3)).astype(np.int32)
    slope = rng.integers(-ONE, ONE + 1, (2, images, 1, 1, 1))
    y, x = np.arange(size)[:, None, None], np.arange(size)[:, None]
    share = ((slope[0] * y + slope[1] * x) // (2 * size) + ONE // 2).astype(np.int32)
    canvas = (ends[0] * (ONE - share) + ends[1] * share) // ONE
    patch = size // 8
    coarse = rng.integers(-16, 17, (images, -(-size // patch), -(-size // patch), 1), np.int32)
    canvas += coarse.repeat(patch, 1).repeat(patch, 2)[:, :size, :size]
    start = rng.integers(0, size * ONE, (2, images, STROKES, 1))
    step = _direction(rng.integers(0, TURN, (images, STROKES, 1)))
    along = np.arange(size // 6)
    at = [(origin + each * along) // ONE for origin, each in zip(start, step, strict=True)]
    rows, columns = (np.clip(place, 0, size - 1) for place in at)
    colours = rng.integers(0, 256, (images, STROKES, 1, 3))
    canvas[np.arange(images)[:, None, None], rows, columns] = colours
    return canvas.astype(np.int16)


def _place(
    canvas: np.ndarray, size: int, rng: np.random.Generator, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw objects and distractors onto ``canvas``, the first object last, so that it is whole.

    Returns
    -------
    owners : (N, size, size) uint8 array
        1 + the slot of the object that is seen, 0 for none.
    labels : (N, slots) int64 array
        The class of the slot, or -1 if it is empty.
    """
    images = len(canvas)
    number = rng.integers(low, high + 1, images)
    labels = np.full((images, high + DISTRACTORS), -1)
    filled = np.arange(high) < number[:, None]
    labels[:, :high][filled] = rng.permutation(np.arange(number.sum()) % len(PAIRS)) + 1
    labels[:, high:][np.arange(DISTRACTORS) < rng.integers(0, DISTRACTORS + 1, (images, 1))] = 0
    owners = np.zeros(canvas.shape[:3], dtype=np.uint8)
    order = np.concatenate([rng.permutation(np.arange(1, labels.shape[1])), [0]])
    for slot in order:
        there = np.flatnonzero(labels[:, slot] >= 0)
        _draw(canvas, owners, there, labels[there, slot], slot + 1, rng)
    return owners, labels


def _draw(
    canvas: np.ndarray,
    owners: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    owner: int,
    rng: np.random.Generator,
) -> None:
    """Draw one object onto each of some images."""
    size, number = canvas.shape[1], images.size
    shapes = np.array([shape for shape, _ in PAIRS])[labels - 1]
    textures = np.array([texture for _, texture in PAIRS])[labels - 1]
    other = labels == 0
    shapes[other] = rng.integers(len(SHAPES), len(SHAPES) + len(OTHERS), other.sum())
    textures[other] = rng.integers(0, len(TEXTURES), other.sum())
    radius = rng.integers(11 * ONE, 17 * ONE, (number, 1, 1)) * size // 64
    width = rng.integers(7 * ONE // 2, 5 * ONE, (number, 1, 1)) * size // 64
    centre = rng.integers(size // 8, size - size // 8, (2, number, 1, 1))
    cosine, sine = _direction(rng.integers(0, TURN, (number, 1, 1)))
    shift = rng.integers(0, 8 * ONE, (2, number, 1, 1))
    colours = rng.integers(0, 256, (number, 1, 3)).repeat(2, 1)
    colours[:, 1] = (colours[:, 1] + rng.integers(*CONTRAST, (number, 3))) % 256

    reach = size * 28 // 64 + 1
    near = np.arange(-reach, reach + 1)
    rows, columns = centre[0] + near[:, None], centre[1] + near
    u = cosine * near[:, None] + sine * near
    v = cosine * near - sine * near[:, None]
    inside = np.zeros(u.shape, dtype=bool)
    second = np.zeros(u.shape, dtype=np.int64)
    for k, covers in enumerate([*SHAPES.values(), *OTHERS.values()]):
        own = shapes == k
        inside[own] = covers(u[own], v[own], radius[own])
    for k, pattern in enumerate(TEXTURES.values()):
        own = textures == k
        second[own] = pattern(u[own] + shift[0, own], v[own] + shift[1, own], width[own])
    inside &= (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    which, i, j = np.nonzero(inside)
    place = images[which], rows[which, i, 0], columns[which, 0, j]
    owners[place] = owner
    canvas[place] = colours[which, second[which, i, j]]


def _direction(turns: np.ndarray) -> np.ndarray:
    """Cosine and sine of some 64ths of a turn, in 256ths; (2, ...) int64."""
    angles = np.arange(TURN) * (2 * np.pi / TURN)
    return np.rint(ONE * np.stack([np.cos(angles), np.sin(angles)])).astype(np.int64)[:, turns]


def _units(owners: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Put void borders round the objects, make remnants void, and number what is left.

    Returns
    -------
    instances : (N, H, W) uint8 array
    unit_image, unit_id, slot : (U,) int64 arrays
    """
    padded = np.pad(owners, ((0, 0), (1, 1), (1, 1)))
    border = np.zeros(owners.shape, dtype=bool)
    for i, j in ((0, 1), (2, 1), (1, 0), (1, 2)):
        beside = padded[:, i : i + owners.shape[1], j : j + owners.shape[2]]
        border |= (beside > 0) & (beside != owners)
    seen = np.where(border, VOID, owners).astype(np.uint8)
    pixels = np.stack([np.bincount(image.ravel(), minlength=VOID + 1) for image in seen])
    large = pixels[:, 1:VOID] >= least
    unit_image, slot = np.nonzero(large)
    table = np.full((len(seen), VOID + 1), VOID, dtype=np.uint8)
    table[:, 0] = 0
    unit_id = np.cumsum(large, axis=1)[unit_image, slot]
    table[unit_image, slot + 1] = unit_id
    instances = table[np.arange(len(seen))[:, None, None], seen]
    return instances, unit_image, unit_id, slot
