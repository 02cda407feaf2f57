"""The draft's Table 1 and Figures 1 and 2: do wrong labels make bad features?

A network is pre-trained on the images without the classes of a fold, with labels that are wrong in
a chosen way; its trunk is copied, and the network learns the classes of the fold from clean labels.
How well it then does is what its features were worth.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nbkit import fcn, losses, metrics, paths, presets, runs, train
from nbkit.experiments import joined, pixels
from nbkit.experiments.pretraining import (
    VERBS,
    Source,
    TransferRun,
    divide,
    draw_images,
    pretrain,
)

STACK_LIMIT = 20  # fine-tunings of one pre-trained network
# SingleCategory by section 3 of the draft: all other objects are taken for the target category.
# Its labels are then those of PixelObjectness, and one run stands under both names.
TABLE = {
    "ImageNetModel": "imagenet",
    "CompleteCategory": "complete",
    "SingleCategory": "objectness",
    "PixelObjectness": "objectness",
    "OneCategory": "one_category",
    "RandomCategory": "random",
    "Autoencoder": "autoencoder",
    "ImageLabels": "image_labels",
    "FromScratch": "scratch",
}


def table(preset: str) -> dict[tuple[str, int, int], TransferRun]:
    """Return the runs of Table 1 by (initialisation, fold, seed)."""
    size = presets.sizes(preset, "transfer")
    return {
        (name, fold, seed): _run(size, fold, seed, source)
        for seed in range(size["seeds"])
        for fold in range(1, size["folds"] + 1)
        for name, source in TABLE.items()
        if source != "imagenet" or size["imagenet"]
    }


def categories(preset: str) -> dict[tuple[str, int, int], TransferRun]:
    """Return the runs of Figure 2 by (number of categories, fold, seed).

    The number is a text: 1, 2, 4, ..., ``all`` and ``instance``.
    """
    size = presets.sizes(preset, "transfer")
    wanted = {str(n): {"source": "groups", "groups": n} for n in size["groups"]}
    wanted |= {"all": {"source": "complete"}, "instance": {"source": "instance"}}
    return {
        (name, fold, seed): replace(_run(size, fold, seed), **changes)
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for name, changes in wanted.items()
    }


def rates(preset: str) -> dict[tuple[str, float, int, int], TransferRun]:
    """Return the runs of the rate curves by (verb, rate, fold, seed)."""
    size = presets.sizes(preset, "transfer")
    return {
        (verb, rate, fold, seed): replace(
            _run(size, fold, seed),
            source=verb if rate else "complete",
            rate=rate,
            distractors=size["distractors"] if verb == "misannotated" else 0,
        )
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for verb in VERBS
        for rate in size["rates"]
    }


def layers(preset: str) -> dict[tuple[str, int, bool, int, int], TransferRun]:
    """Return the runs layer by layer by (initialisation, layers copied, frozen, fold, seed).

    After Yosinski et al. 2014; FromScratch with frozen layers is the control of random features.
    """
    size = presets.sizes(preset, "transfer")
    return {
        (name, count, frozen, fold, seed): replace(
            _run(size, fold, seed, TABLE[name]), layers=count, frozen=frozen
        )
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"][:1]
        for name in ("CompleteCategory", "RandomCategory", "FromScratch")
        for frozen in (False, True)
        for count in range(1, len(fcn.TRUNK_LAYERS) + 1)
        if frozen or name != "FromScratch"
    }


def worth(preset: str) -> dict[tuple[str, int, int, int], TransferRun]:
    """Return the runs with fewer or more clean images by (initialisation, images, fold, seed)."""
    size = presets.sizes(preset, "transfer")
    return {
        (name, images, fold, seed): replace(
            _run(size, fold, seed, TABLE[name]), target_images=images
        )
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for images in size["worth_images"]
        for name in ("CompleteCategory", "PixelObjectness", "RandomCategory", "FromScratch")
    }


def missing(preset: str) -> dict[tuple[str, int, int], TransferRun]:
    """Return the runs pre-trained with half of the instances missing by (loss, fold, seed).

    The thesis's question: do the features of a PU loss transfer better than cross-entropy's?
    """
    size = presets.sizes(preset, "transfer")
    wanted = {
        "CrossEntropy": {},
        "Weighted": {"loss": "weighted", "balance": "balanced"},
        "Exponential, fade-in": {"loss": "exponential", "balance": "balanced", "fade_in": True},
        "nnPU, fade-in": {"loss": "nnpu", "fade_in": True},
    }
    return {
        (name, fold, seed): replace(_run(size, fold, seed), source="missing", rate=0.5, **changes)
        for seed in range(size["curve_seeds"])
        for fold in size["curve_folds"]
        for name, changes in wanted.items()
    }


PARTS = {part.__name__: part for part in (table, rates, categories, missing, layers, worth)}


def grid(preset: str) -> dict[tuple, TransferRun]:
    """Return every run of a preset by (part, ...), in the order in which they are worth having."""
    return joined(PARTS, preset)


def realised(store: runs.Store, grid: Mapping[tuple, TransferRun]) -> pd.DataFrame:
    """Return what the labels of the rate curves became, from the stored transition matrices.

    Parameters
    ----------
    grid : mapping
        As from ``rates``; unfinished runs are left out.

    Returns
    -------
    DataFrame
        ``verb``, ``rate``, and the shares of instances: ``right`` (of a category, labelled so),
        ``lost`` (of a category, labelled background) and ``other`` (of a category, labelled
        another), each the mean over categories; and ``invented``, of distractors, labelled as any.
    """
    rows = []
    for (verb, rate, *_), run in grid.items():
        record = store.load(run)
        if record is None or "transition" not in record:
            continue
        matrix = np.array(record["transition"])
        right, lost = np.diag(matrix)[1:].mean(), matrix[1:, 0].mean()
        shares = {"right": right, "lost": lost, "other": max(0.0, 1 - right - lost)}
        rows.append({"verb": verb, "rate": rate} | shares | {"invented": matrix[0, 1:].sum()})
    columns = ["verb", "rate", "right", "lost", "other", "invented"]
    return pd.DataFrame(rows, columns=columns).round(6)


def _run(size: dict, fold: int, seed: int, source: str = "complete") -> TransferRun:
    return TransferRun(
        **size["data"],
        **size["network"],
        folds=size["folds"],
        fold=fold,
        seed=seed,
        source=source,
        layers=5 if source == "imagenet" else 7,  # torchvision's fc6 and fc7 are wider
    )


def finetune(
    run: TransferRun, source: Source, device: str = "cpu", checkpoint: Path | None = None
) -> tuple[fcn.FCN, dict]:
    """Copy the trunk, learn the classes of the fold from clean labels, scoring on the way.

    With a checkpoint it goes on where it was interrupted.

    Returns
    -------
    model : fcn.FCN
    result : dict
        As ``experiments.compute`` wants it.
    """
    _, whole = divide(run)
    validation = whole.select(whole.validation)
    chosen = draw_images(whole, run.seed, run.target_images, "target images")
    classes = len(whole.classes)
    model = fcn.FCN(classes, [run.seed], trunk=run.network, dropout=run.dropout)
    state = source.state or model.state_dict()
    fcn.transfer(model, state, run.layers, freeze=run.frozen)
    model = model.to(device)
    true = validation.masks()

    def confusions() -> np.ndarray:
        return pixels.confusions(model, validation.images, true, classes)

    history = pixels.fit(
        model,
        run,
        chosen.images,
        chosen.masks(),
        losses.create("cross_entropy"),
        epochs=run.epochs,
        device=device,
        on_epoch=pixels.every(
            run.epochs, lambda: {"confusion": torch.from_numpy(confusions().sum(0))}
        ),
        checkpoint=checkpoint,
    )
    per_image = confusions()
    result = pixels.result(history, per_image, run.seed)
    result["class_iu"] = np.nan_to_num(metrics.class_iu(per_image.sum(0)), nan=-1)
    result["images"] = {"target": len(chosen.images), "validation": len(validation.images)}
    return model, result


def compute(
    stack: list[TransferRun], device: str, *, resume: bool = True
) -> list[dict | Exception]:
    """Pre-train once and fine-tune each run of a stack; see ``experiments.compute``.

    Without ``resume`` nothing is kept for a run that is interrupted, nor read from an earlier one.
    """
    pretraining = paths.checkpoint(stack[0].checkpoints()[1]) if resume else None
    source = pretrain(stack[0], device, pretraining)
    results = []
    for run in stack:
        try:
            _, result = finetune(run, source, device, paths.checkpoint(run.key) if resume else None)
        except (train.TrainingError, ValueError) as error:
            results.append(error)
            continue
        filters = source.state.get("features.0.weight")
        if run.seed == 0 and run.fold == 1 and filters is not None:  # those of Figure 1
            result["filters"] = np.round(filters.cpu().numpy(), 3)
        for name in ("transition", "pixel_transition"):
            matrix = getattr(source, name)
            if matrix is not None and max(matrix.shape) <= 32:  # not of a class an instance
                result[name] = np.round(matrix, 4)
        results.append(result)
    return results
