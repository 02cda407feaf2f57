"""Small folders in the layout of PASCAL VOC, of made photos."""

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "bus")


def maps(kind, height=24, width=32):
    """Class and instance masks of a picture with an object of ``kind``, and one of the next."""
    classes, objects = np.zeros((2, height, width), dtype=np.uint8)
    for i, (place, own) in enumerate((((4, 4), kind), ((4, 18), kind % len(CLASSES) + 1)), start=1):
        block = tuple(slice(start, start + 10) for start in place)
        classes[block] = objects[block] = 255
        inner = tuple(slice(start + 1, start + 9) for start in place)
        classes[inner], objects[inner] = own, i
    return classes, objects


def write(root, train=6, val=3):
    """Write a folder that is right in everything, and return it."""
    rng = np.random.default_rng(0)
    for part in ("JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    names = [f"photo_{i}" for i in range(train + val)]
    for split, part in (("train", names[:train]), ("val", names[train:])):
        save_list(root, split, part)
    for i, name in enumerate(names):
        classes, objects = maps(i % len(CLASSES) + 1)
        photo = np.where(classes[..., None] > 0, 200, 60) + rng.integers(0, 40, (24, 32, 3))
        Image.fromarray(photo.astype(np.uint8)).save(root / f"JPEGImages/{name}.jpg", quality=95)
        save_mask(root, "SegmentationClass", name, classes)
        save_mask(root, "SegmentationObject", name, objects)
    return root


def save_list(root, split, names):
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    path.write_text("".join(f"{name}\n" for name in names))


def save_mask(root, part, name, ids):
    """Save ids as a palette PNG."""
    image = Image.fromarray(ids)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(root / part / f"{name}.png")
