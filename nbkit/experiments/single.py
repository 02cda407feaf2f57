"""One run of classification on any of its data sets, with what there is to look at afterwards."""

from dataclasses import dataclass

import numpy as np

from nbkit import checks, data
from nbkit.checkpoints import TrainingError
from nbkit.data.split import Split
from nbkit.experiments import cifar, classification
from nbkit.experiments.classification import ClassificationRun
from nbkit.experiments.scoring import results
from nbkit.images import Images, shared
from nbkit.optim import repeatable

DATASETS = (*classification.DATASETS, "cifar")


@dataclass(frozen=True)
class Fitted:
    """A trained classifier and its scores.

    Attributes
    ----------
    result : dict
        As it is stored: ``metrics`` by criterion, ``curves``, ``confusion``.
    probability : (N, C) float64 array
        Of the classes of the test examples, after the last epoch.
    """

    result: dict
    probability: np.ndarray


def load(dataset: str, images: int = 0) -> Split:
    """Return a data set by name; ``images`` are the training images of ``cifar``, 0 for all.

    Raises
    ------
    DataError
        If the images of ``cifar`` are missing and cannot be downloaded, or are broken; the message
        tells the way out.
    """
    checks.choice("dataset", dataset, DATASETS)
    return data.cifar(images) if dataset == "cifar" else classification.load(dataset)


def run(dataset: str, images: int = 0, **parameters) -> ClassificationRun:
    """Return the run of a data set with the parameters of a ``ClassificationRun``."""
    checks.choice("dataset", dataset, DATASETS)
    if dataset == "cifar":
        return cifar.CifarRun(images=images, **parameters)
    return ClassificationRun(dataset=dataset, **parameters)


@repeatable()
def fit(run: ClassificationRun, device: str = "cpu") -> Fitted:
    """Train one run and score it under every selection criterion.

    Raises
    ------
    TrainingError
        If the loss is no longer finite; names the epoch, the loss and the parameters.
    """
    try:
        if isinstance(run, cifar.CifarRun):
            trained = cifar.fit(run, device)
            test = Images(shared(trained.split.test_inputs).to(device))
            probability = cifar.probabilities(trained.model, test, run.precision)
        else:
            trained = classification.fit([run], device)
            probability = classification.test_probabilities(trained)
    except TrainingError as error:
        given = ", ".join(f"{name}={value}" for name, value in run.parameters.items())
        raise TrainingError(f"{error} ({given})") from error
    (result,) = results(trained, probability)
    return Fitted(result, probability[0])
