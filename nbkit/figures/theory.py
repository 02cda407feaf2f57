"""Losses, their pull, and the thresholds that follow from them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nbkit import losses
from nbkit.figures.style import COLORS, POSITIVE, grid, legend_beside, trace
from nbkit.losses.thresholds import CORRECTED, SHARE_OF_U

TOP = 1.02  # of an axis of probabilities


def loss_curves(
    curves: Mapping[str, np.ndarray], slopes: Mapping[str, np.ndarray], f: np.ndarray
) -> Figure:
    """Figure 4 of the draft: losses, and their derivatives by the positive logit.

    Parameters
    ----------
    curves, slopes : mapping of str to (N,) array
    f : (N,) array
        The logits are (-f, f).
    """
    figure, axes = grid(1, 2, (9, 3.9))
    styles = ["-", "--", ":", "-."]
    colors = [POSITIVE, COLORS["CrossEntropy"], COLORS["Weighted"], COLORS["Exponential"]]
    for axis, group, label in zip(
        axes[0], (curves, slopes), ("loss", "derivative by the positive logit"), strict=True
    ):
        for (name, values), style, color in zip(group.items(), styles, colors, strict=True):
            axis.plot(f, values, style, color=color, label=name)
        axis.set(xlabel="output f, logits (-f, f)", ylabel=label)
    axes[0, 0].set(ylim=(-0.2, 6), title="The loss of one example")
    axes[0, 1].set_title("Of the three on U, the exponential lets go")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def labelling(posterior: np.ndarray, kept: float, thresholds: Mapping[str, float]) -> Figure:
    """The posterior of two Gaussians, what is left of it when labels go missing, and thresholds.

    Parameters
    ----------
    posterior : (N,) array
        At the points ``numpy.linspace(-4, 4, N)``.
    kept : float
    thresholds : mapping of str to float
        A posterior for each loss; those above 1 are listed as "never".
    """
    x = np.linspace(-4, 4, len(posterior))
    figure, axes = grid(1, 1, (7.2, 3.6))
    axis = axes[0, 0]
    axis.plot(x, posterior, color=POSITIVE, label="P(positive | x)")
    axis.plot(x, kept * posterior, ":", color="#555555", label="P(labelled | x)")
    for place, (name, threshold) in enumerate(thresholds.items()):
        found = threshold < posterior.max()
        at = np.interp(threshold, posterior, x) if found else np.nan
        says = "positive from {:.2f}" if found else "never positive (needs {:.2f})"
        style = {"label": f"{name}: {says.format(threshold)}", "linestyle": "--", "linewidth": 1.2}
        trace(axis, [at] * 3, [0, threshold, TOP], name, place, markevery=[1], **style)
    axis.set(xlabel="x", ylabel="probability", ylim=(0, TOP), title="Where each loss decides")
    legend_beside(axis)
    return figure


FAMILIES = (
    "cross-entropy and its kin",
    "exponential, hard bootstrapping",
    "forward and backward correction",
    "PU risks",
)


def _family(loss: str) -> str:
    """The losses that share a closed form, as ``losses.thresholds`` sorts them."""
    if loss in CORRECTED:
        return FAMILIES[2]
    return {1.0: FAMILIES[0], 0.5: FAMILIES[1]}.get(SHARE_OF_U.get(loss), FAMILIES[3])


def measured_thresholds(frame: pd.DataFrame) -> Figure:
    """Measured against closed-form thresholds, a marker a setting, of one kind a family.

    Parameters
    ----------
    frame : DataFrame
        Columns ``loss``, ``kept``, ``value``, ``closed_form``, ``threshold``; one row a run.
    """
    figure, axes = grid(1, 1, (5.6, 4.6))
    axis = axes[0, 0]
    axis.plot([0.2, 0.85], [0.2, 0.85], color="#777777", linewidth=1, zorder=1)
    settings = ["loss", "kept", "value", "closed_form"]
    groups = frame.groupby(settings, sort=False)["threshold"].agg(["mean", "std"])
    groups = groups.reset_index(settings[1:])
    for i, family in enumerate(FAMILIES):
        part = groups[groups.index.map(_family) == family]
        style = {"markersize": 5, "markerfacecolor": "none", "linewidth": 1, "label": family}
        axis.errorbar(part["closed_form"], part["mean"], part["std"], fmt="osD^"[i], **style)
    axis.set(
        xlabel="threshold by the formula",
        ylabel="threshold of trained networks",
        title="Decision thresholds: formula and networks",
    )
    axis.legend(loc="upper left", fontsize=8.5)
    return figure


def balance(kept: float) -> Figure:
    """Thresholds of balanced weights over the prior: right for one prior only."""
    prior = np.linspace(0.02, 0.9, 100)
    figure, axes = grid(1, 1, (6.4, 3.6))
    for name, row in (("weighted", "Weighted"), ("exponential", "Exponential")):
        values = [
            losses.threshold(name, kept=kept, weight_ratio=losses.balanced_ratio(p, kept))
            for p in prior
        ]
        trace(axes[0, 0], prior, values, row, label=f"{row}, balanced weights")
    axes[0, 0].axhline(0.5, color="#999999", linewidth=1, label="Bayes")
    axes[0, 0].set(
        xlabel="share of positives (prior)",
        ylabel="decision threshold",
        ylim=(0, 1),
        title="Balanced weights are right only where two errors cancel",
    )
    axes[0, 0].legend()
    return figure
