"""Checks of the exercises of notebook 06, on labels and weights that are transferred."""

from collections.abc import Callable

import numpy as np
import torch

from nbkit import fcn
from nbkit.exercises.answers import NotYetError, called, check, given, number, tried
from nbkit.experiments import transfer
from nbkit.experiments.pretraining import TransferRun

MOMENT = {"images": 120, "objects": 4, "source_epochs": 2, "epochs": 2, "batch_size": 4}


@check
def by_luck(answer: float | None, categories: int = 15) -> None:
    """06 warm-up: the share of instances that random categories leave right."""
    share = number(answer)
    if not 0 <= share <= 1:
        raise NotYetError("a share lies between 0 and 1")
    draw = np.random.default_rng(0)
    true, drawn = draw.integers(1, categories + 1, (2, 400_000))
    if abs((true == drawn).mean() - share) > 0.0035:
        raise NotYetError("400,000 instances drawn at random say something else")


@check
def transferred(answer: Callable | None) -> None:
    """06 core: copy the first layers of a trunk by name, and freeze them."""
    source = fcn.FCN(9, [1], trunk="narrow").state_dict()
    for count in (0, 2, 7):
        layers = list(fcn.TRUNK_LAYERS.values())[:count]
        model = fcn.FCN(3, [0], trunk="narrow")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        changed = called(answer, model, source, layers)
        if not isinstance(changed, fcn.FCN):
            raise NotYetError(f"it returns the model, not {type(changed).__name__}")
        chosen = tuple(f"{name}." for name in layers)
        for name, value in changed.named_parameters():
            wanted = source if name.startswith(chosen) else before
            if not torch.equal(value, wanted[name]):
                raise NotYetError(f"with {count} layers to copy, {name} holds the wrong values")
            if value.requires_grad == name.startswith(chosen):
                raise NotYetError(
                    f"with {count} layers to freeze, {name}.requires_grad is the wrong way"
                )


@check
def outlines(answer: dict | None) -> None:
    """06 open: labels that keep every outline and lose most of the names, trained for a moment."""
    if not isinstance(given(answer), dict):
        raise NotYetError("expected the parameters of a TransferRun, as a dictionary")
    run = tried(TransferRun, **MOMENT | answer)
    if run.source == "random":
        raise NotYetError("that is RandomCategory, a row of the table; find other labels")
    (result,) = tried(transfer.compute, [run], "cpu", resume=False)
    if isinstance(result, Exception):
        raise NotYetError(f"{type(result).__name__}: {result}")
    if "transition" not in result:
        raise NotYetError(
            f"{run.source} has no transition matrix: it sees no masks, or too many classes"
        )
    matrix = np.array(result["transition"])
    if matrix.shape[0] != matrix.shape[1]:
        raise NotYetError(f"it merges categories into {matrix.shape[1] - 1}; keep them all")
    right, lost = np.diag(matrix)[1:].mean(), matrix[1:, 0].mean()
    if lost > 0:
        raise NotYetError(f"{lost:.0%} of the instances became background, without an outline")
    if matrix[0, 0] < 1:
        raise NotYetError(f"{1 - matrix[0, 0]:.0%} of the distractors became objects")
    if right >= 1 / 3:
        raise NotYetError(f"{right:.0%} of the instances still have their name")
