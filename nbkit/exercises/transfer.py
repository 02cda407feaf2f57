"""Checks of the exercises of notebook 06, on labels and weights that are transferred."""

from collections.abc import Callable

import numpy as np
import torch

from nbkit import fcn
from nbkit.exercises import TODO, check_number, verdict
from nbkit.experiments import transfer
from nbkit.experiments.pretraining import TransferRun

MOMENT = {"images": 120, "objects": 4, "source_epochs": 2, "epochs": 2, "batch_size": 4}


def by_luck(answer: float | None, categories: int = 15) -> None:
    """06 warm-up: the share of instances that random categories leave right."""

    def wrong(share: float) -> str | None:
        if not 0 <= share <= 1:
            return "a share lies between 0 and 1"
        draw = np.random.default_rng(0)
        true, drawn = draw.integers(1, categories + 1, (2, 400_000))
        if abs((true == drawn).mean() - share) > 0.004:
            return "400,000 instances drawn at random say something else"
        return None

    check_number(answer, wrong)


def transferred(answer: Callable | None) -> None:
    """06 core: copy the first layers of a trunk by name, and freeze them."""
    source = fcn.FCN(9, [1], trunk="narrow").state_dict()
    for count in (0, 2, 7):
        names = list(fcn.TRUNK_LAYERS.values())
        model = fcn.FCN(3, [0], trunk="narrow")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        if not callable(answer) or answer(model, source, names[:count]) is None:
            print(TODO)
            return
        chosen = tuple(f"{name}." for name in names[:count])
        for name, value in model.named_parameters():
            wanted = source if name.startswith(chosen) else before
            if not torch.equal(value, wanted[name]):
                verdict(f"with {count} layers to copy, {name} holds the wrong values")
                return
            if value.requires_grad == name.startswith(chosen):
                verdict(f"with {count} layers to freeze, {name}.requires_grad is the wrong way")
                return
    verdict(None)


def outlines(answer: dict | None) -> None:
    """06 open: labels that keep every outline and lose most of the names, trained for a moment."""
    if answer is None or answer is ...:
        print(TODO)
        return
    try:
        run = TransferRun(**MOMENT, **answer)
    except (TypeError, ValueError) as error:
        verdict(str(error))
        return
    (result,) = transfer.compute([run], "cpu")
    if isinstance(result, Exception):
        verdict(f"{type(result).__name__}: {result}")
    elif "transition" not in result:
        verdict(f"{run.source} has no transition matrix: it sees no masks, or too many classes")
    else:
        verdict(_names_only(np.array(result["transition"])))


def _names_only(matrix: np.ndarray) -> str | None:
    if matrix.shape[0] != matrix.shape[1]:
        return f"it merges categories into {matrix.shape[1] - 1}; keep them all"
    right, lost = np.diag(matrix)[1:].mean(), matrix[1:, 0].mean()
    if lost > 0:
        return f"{lost:.0%} of the instances became background: their outlines are lost"
    if matrix[0, 0] < 1:
        return f"{1 - matrix[0, 0]:.0%} of the distractors became objects"
    return None if right < 1 / 3 else f"{right:.0%} of the instances still have their name"
