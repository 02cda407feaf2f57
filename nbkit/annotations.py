"""What an annotator made of a segmentation data set: named annotations of its instances.

Every annotation flips whole units, by the verbs of ``nbkit.noise``, and is drawn once for a data
set. The draft's Table 1 has Complete, SingleCategory, PixelObjectness and RandomCategory; its
Figure 2 goes from one group of categories to every instance its own class.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nbkit import checks, noise
from nbkit.checks import VOID
from nbkit.data.segmented import Segmented
from nbkit.rng import generator


@dataclass(frozen=True)
class Annotated:
    """The observed labels of the units of a data set.

    Attributes
    ----------
    labels : (U,) int64 array
        Observed class of each unit, 0 for not annotated; ``data.masks(labels)`` paints them.
    num_classes : int
        C', how many classes a network needs for them, background included.
    transition : (C, C') float64 array
        The realised row-stochastic matrix in instances: ``transition[i, j]`` is the share of the
        units of true class i that are labelled j. Row 0 is that of the distractors.
    pixel_transition : (C, C') float64 array
        The same in pixels; row 0 is that of the distractors and of the background.
    """

    labels: np.ndarray
    num_classes: int
    transition: np.ndarray
    pixel_transition: np.ndarray


@dataclass(frozen=True)
class _Setting:
    """What an annotation may look at."""

    data: Segmented
    rate: float
    groups: int
    rng: np.random.Generator

    @property
    def labels(self) -> np.ndarray:
        return self.data.unit_labels

    @property
    def positive(self) -> np.ndarray:
        return (self.labels > 0) & (self.labels != VOID)

    @property
    def num_classes(self) -> int:
        return len(self.data.classes)


def _objectness(to: _Setting) -> np.ndarray:
    return np.where(to.positive, 1, to.labels)


def _one_category(to: _Setting) -> np.ndarray:
    return np.where(to.positive & (to.labels != 1), 0, to.labels)


def _random(to: _Setting) -> np.ndarray:
    categories = to.num_classes - 1
    rate = (categories - 1) / categories
    return noise.misclassified(to.labels, rate, to.num_classes, rng=to.rng).labels


def _missing(to: _Setting) -> np.ndarray:
    return noise.missing(to.labels, to.rate, rng=to.rng).labels


def _missing_hard(to: _Setting) -> np.ndarray:
    difficulty = to.data.difficulty()
    return noise.missing(to.labels, to.rate, rng=to.rng, difficulty=difficulty).labels


def _misclassified(to: _Setting) -> np.ndarray:
    return noise.misclassified(to.labels, to.rate, to.num_classes, rng=to.rng).labels


def _misannotated(to: _Setting) -> np.ndarray:
    return noise.misannotated(to.labels, to.rate, to.num_classes, rng=to.rng).labels


def _groups(to: _Setting) -> np.ndarray:
    categories = to.num_classes - 1
    if checks.count("groups", to.groups) > categories:
        raise ValueError(f"groups must be 1..{categories}, the categories, got {to.groups}")
    return np.where(to.positive, (to.labels - 1) * to.groups // categories + 1, to.labels)


def _instance(to: _Setting) -> np.ndarray:
    own = np.cumsum(to.positive)
    return np.where(to.positive, own + (own >= VOID), to.labels)  # no class has the number of void


ANNOTATIONS: dict[str, Callable[[_Setting], np.ndarray]] = {
    "complete": lambda to: to.labels,
    "objectness": _objectness,
    "one_category": _one_category,
    "random": _random,
    "missing": _missing,
    "missing_hard": _missing_hard,
    "misclassified": _misclassified,
    "misannotated": _misannotated,
    "groups": _groups,
    "instance": _instance,
}
KEEPS_CLASSES = ("complete", "random", "missing", "missing_hard", "misclassified", "misannotated")


def annotate(
    data: Segmented, name: str, *, rate: float = 0.0, groups: int = 1, seed: int = 0
) -> Annotated:
    """Annotate the units of a data set, with the errors of a name.

    Parameters
    ----------
    data : Segmented
        All its units are annotated; give ``data.select(~data.validation)`` for the training images
        alone.
    name : str
        - "complete": every unit correctly.
        - "objectness": every category is class 1 (the draft's PixelObjectness). Its SingleCategory,
          read as one category as which all others are misannotated, has the same labels.
        - "one_category": the other reading: category 1 alone is annotated, all else is background.
        - "random": every instance gets a category drawn uniformly (RandomCategory).
        - "missing": instances lose their label, k -> 0, at random; "missing_hard": the small ones
          and those at the border (``data.difficulty``).
        - "misclassified": i -> j; "misannotated": distractors become targets, 0 -> k.
        - "groups": the categories merged into ``groups`` runs.
        - "instance": every instance is its own class; number 255 is left out, since it means void.
    rate : float
        Share of the units that a verb ("missing" ... "misannotated") errs on, in [0, 1].
    groups : int
        1..K, for "groups".
    seed : int
        Fixes the draw. Of two rates with one seed, the smaller flips a part of what the larger
        flips.

    Raises
    ------
    ValueError
        For an unknown name, a rate outside [0, 1], or an error that leaves no positive, or that
        nothing in the data can make.

    Examples
    --------
    >>> from nbkit.data import scenes
    >>> noisy = annotate(scenes(40), "groups", groups=4)
    >>> noisy.num_classes, noisy.transition.shape
    (5, (21, 5))
    """
    checks.choice("name", name, ANNOTATIONS)
    setting = _Setting(data, checks.fraction("rate", rate), groups, generator(seed, "annotation"))
    if not setting.positive.any():
        raise ValueError(f"{data.name} holds no instance of a category: nothing to annotate")
    if name == "misannotated" and not (data.unit_labels == 0).any():
        raise ValueError(
            f"{data.name} has no distractor to misannotate; use scenes, or a fold, where the "
            "objects of other classes are distractors"
        )
    after = ANNOTATIONS[name](setting).astype(np.int64)
    known = after[after != VOID]
    classes = setting.num_classes if name in KEEPS_CLASSES else max(2, int(known.max()) + 1)
    shape = setting.num_classes, classes
    areas, background = data.areas(), int((data.instances == 0).sum())
    return Annotated(
        labels=after,
        num_classes=classes,
        transition=_transition(setting.labels, after, shape, np.ones(after.size), 0),
        pixel_transition=_transition(setting.labels, after, shape, areas, background),
    )


def _transition(
    before: np.ndarray,
    after: np.ndarray,
    shape: tuple[int, int],
    weights: np.ndarray,
    background: int,
) -> np.ndarray:
    both = (before != VOID) & (after != VOID)
    counts = np.zeros(shape)
    np.add.at(counts, (before[both], after[both]), weights[both])
    counts[0, 0] += background
    return noise.row_stochastic(counts)
