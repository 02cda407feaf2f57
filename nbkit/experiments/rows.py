"""The rows of Table 2, the draft's and ours: what is annotated, and what is trained on it."""

from dataclasses import dataclass, replace

from nbkit import losses


@dataclass(frozen=True)
class Row:
    """A row of Table 2: what is annotated, and what is trained on it."""

    annotation: str = "P+U"
    loss: str = "cross_entropy"
    weight_ratio: float = 1.0
    fade_in: bool = False
    dropout: float = 0.1


DRAFT_ROWS = (
    "Complete",
    "P+N",
    "CrossEntropy",
    "Weighted",
    "Exponential",
    "BootstrapHard",
    "DropoutReg",
)


def rows(
    kept: float = 0.5, prior: float = 0.5, *, dropout: float = 0.1, more_dropout: float = 0.5
) -> dict[str, Row]:
    """Return the rows of the extended Table 2; the first seven are the draft's.

    Every row that weighs its classes at all uses the balanced ratio labelled / unlabelled =
    prior kept / (1 - prior kept), unless its name says otherwise.

    Parameters
    ----------
    kept, prior : float
        Labelled share of the positives, and their share of all examples.
    dropout, more_dropout : float
        Of every row, and of DropoutReg.
    """
    balanced = round(losses.balanced_ratio(prior, kept), 4)
    bayes = round(losses.bayes_ratio("exponential", kept), 4)
    table = {
        "Complete": Row("Complete"),
        "P+N": Row("P+N"),
        "CrossEntropy": Row(),
        "Weighted": Row(loss="weighted", weight_ratio=balanced),
        "Exponential": Row(loss="exponential", weight_ratio=balanced),
        "BootstrapHard": Row(loss="bootstrap_hard", weight_ratio=balanced),
        "DropoutReg": Row(),
        "Weighted, half": Row(loss="weighted", weight_ratio=balanced / 2),
        "Exponential, r = 1": Row(loss="exponential"),
        "Exponential, r = 1, fade-in": Row(loss="exponential", fade_in=True),
        "Exponential, Bayes r": Row(loss="exponential", weight_ratio=bayes),
        "Exponential, fade-in": Row(loss="exponential", weight_ratio=balanced, fade_in=True),
        "BootstrapHard, as run": Row(loss="bootstrap_hard_as_run", weight_ratio=balanced),
        "BootstrapSoft": Row(loss="bootstrap_soft", weight_ratio=balanced),
        "EntropyMin": Row(loss="entropy_min", weight_ratio=balanced),
        "GCE, r = 1": Row(loss="gce"),
        "GCE": Row(loss="gce", weight_ratio=balanced),
        "SymmetricCE": Row(loss="symmetric_ce", weight_ratio=balanced),
        "Forward": Row(loss="forward"),
        "Backward": Row(loss="backward"),
        "NoiseLayer": Row(loss="noise_layer"),
        "uPU": Row(loss="upu"),
        "nnPU": Row(loss="nnpu"),
        "VPU": Row(loss="vpu"),
        "Dist-PU": Row(loss="dist_pu"),
    }
    return {
        name: replace(row, dropout=more_dropout if name == "DropoutReg" else dropout)
        for name, row in table.items()
    }
