"""Made-up results of transfers: nobody trained them, and they say so."""

import numpy as np

from nbkit import fcn, metrics

WORTH = {"complete": 0.2, "objectness": 0.18, "scratch": 0.0, "autoencoder": 0.02}
CATEGORIES = 15


def made_up(run):
    """A result whose scores follow from the run and its key, marked as fake."""
    draw = np.random.default_rng(int(run.key, 16))
    gain = WORTH.get(run.source, 0.12) * (1 - 0.5 * run.rate) * run.layers / 7
    end = 0.3 + gain + 0.02 * run.fold + 0.01 * draw.normal()
    end += 0.04 * np.log2((run.target_images or 60) / 60) - 0.1 * run.frozen
    epochs = np.arange(3, run.epochs + 1, 3)
    curve = end * (1 - np.exp(-epochs / (15 if gain < 0.1 else 8)))
    scores = dict.fromkeys(metrics.STATISTICS, end) | {"mean_iu_low": end - 0.1}
    result = {
        "metrics": {"last": scores, "test": scores},
        "curves": {"loss": [1.0], "epoch": epochs, "mean_iu": curve},
        "provenance": {"device": "fake"},
    }
    if run.seed == 0 and run.fold == 1 and run.source != "scratch":
        trunk = fcn.TRUNKS[run.network]
        shape = trunk.widths[0], 3, trunk.kernels[0], trunk.kernels[0]
        result["filters"] = draw.normal(size=shape).round(3)
    if run.source in ("misclassified", "missing", "misannotated", "random", "complete"):
        result["transition"] = transition(run.source, run.rate)
    return result


def transition(source, rate):
    """The matrix of a verb at a rate, as if it were met exactly."""
    matrix = np.eye(CATEGORIES + 1)
    if source == "missing":
        matrix[1:] *= 1 - rate
        matrix[1:, 0] = rate
    elif source == "misannotated":
        matrix[0] = [1 - rate] + [rate / CATEGORIES] * CATEGORIES
    elif source == "misclassified":
        others = np.full((CATEGORIES, CATEGORIES), rate / (CATEGORIES - 1))
        np.fill_diagonal(others, 1 - rate)
        matrix[1:, 1:] = others
    return matrix


def write_results(store, runs):
    """Store made-up results."""
    for run in runs:
        store.save(run, made_up(run))
